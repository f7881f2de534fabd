"""Gymnasium's ids of the environments; imports gymnasium and no JAX.

Importing this module registers them: `jaxrec/InterestEvolution-v0` and so on, one for every name of `make_env`. Where
gymnasium is imported first, `import jaxrec` does it.
"""

import gymnasium

from jaxrec.config.users import ENV_CONFIGS

MODULE = "jaxrec.envs.adapters"


def env_id(name: str) -> str:
    """Give Gymnasium's id of an environment of `make_env`: "interest_evolution" -> "jaxrec/InterestEvolution-v0"."""
    return f"jaxrec/{''.join(part.capitalize() for part in name.split('_'))}-v0"


def register() -> None:
    """Make the ids known to Gymnasium, once."""
    for name in ENV_CONFIGS:
        if env_id(name) not in gymnasium.registry:
            gymnasium.register(
                env_id(name),
                entry_point=f"{MODULE}:make_user",
                vector_entry_point=f"{MODULE}:make_users",
                kwargs={"name": name},
            )


register()
