"""Evaluation: simulated returns with confidence intervals, held-out ranking, and reports of both."""
