"""One bundle for each kind of users: what the stages of a run ask of it."""
