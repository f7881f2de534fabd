"""Learners by name: `make_learner` builds one."""

from jaxrec.learn.registry import list_learners, make_learner

__all__ = ["list_learners", "make_learner"]
