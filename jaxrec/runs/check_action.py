"""Checks that the actions of users and the learner of a recipe fit together, before any work."""

from jaxrec.checks import InputError
from jaxrec.config.on_policy import OnPolicyConfig
from jaxrec.config.replay_learners import ActorCriticConfig
from jaxrec.config.schema import Config


def check(config: Config) -> None:
    """Raise InputError if the learner has no actions of the kind that the users take."""
    action, learner, users = getattr(config.env, "action", None), config.learner, config.env.name
    if action is None:
        size = getattr(getattr(config.env, "values", config.env), "slate_size", 1)
        learner.policy.check_retrieval(size)
        if isinstance(learner, ActorCriticConfig):
            raise InputError(
                f"learner.name: {learner.name} acts with vectors, but {users} takes slates; set env.action (of sardine "
                "or logged), or use ppo or dqn."
            )
        return
    if not isinstance(learner, ActorCriticConfig | OnPolicyConfig):
        raise InputError(
            f"learner.name: {learner.name} values items of slates, but env.action says that vectors name them; remove "
            "env.action, or use ppo, a2c, reinforce, ddpg or td3."
        )
    learner.policy.check_vectors(users, action.name, action.low, action.high)
    if getattr(learner, "credit", "slate") == "item":
        raise InputError("learner.credit: item, but a vector is one action without picks; set it to slate.")
    if learner.start_from:
        raise InputError(
            "learner.start_from: pretrained policies score items and have no vectors; remove it, or env.action."
        )
    if config.train.held_out_share:
        raise InputError("train.held_out_share: policies of vectors have no start on the log; set it to 0.")
    if action.name == "behaviours" and config.train.continue_from:
        raise InputError(
            "train.continue_from: weights of behaviours rank no held-out rows, by which old and new policies are "
            "compared; start another run."
        )
