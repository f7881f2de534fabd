"""From a history to a slate, with the policy that a training run saved in `policy/`."""

from jaxrec.serve.policy import Recommendation, SavedPolicy, load_policy, policy_is_whole, save_policy

__all__ = ["Recommendation", "SavedPolicy", "load_policy", "policy_is_whole", "save_policy"]
