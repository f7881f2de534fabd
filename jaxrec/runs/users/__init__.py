"""One bundle of functions for each kind of users."""
