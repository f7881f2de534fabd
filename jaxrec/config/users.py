"""Which section belongs to which user model."""

from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.recsim import InterestEvolutionConfig, InterestExplorationConfig, LongTermSatisfactionConfig
from jaxrec.config.sardine import SardineConfig

ENV_CONFIGS = {
    "full_matrix": FullMatrixConfig,
    "interest_evolution": InterestEvolutionConfig,
    "interest_exploration": InterestExplorationConfig,
    "logged": LoggedConfig,
    "long_term_satisfaction": LongTermSatisfactionConfig,
    "sardine": SardineConfig,
}
