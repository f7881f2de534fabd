"""Judging: simulated returns with intervals, held-out ranking, the account of both."""
