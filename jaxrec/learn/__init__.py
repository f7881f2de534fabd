"""Learners behind `make_learner`, and the host loop that runs them."""

from jaxrec.learn.registry import list_learners, make_learner

__all__ = ["list_learners", "make_learner"]
