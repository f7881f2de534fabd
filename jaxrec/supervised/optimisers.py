"""Optimisers of supervised trainings, by name, with a rate that rises and then falls."""

from collections.abc import Callable
from typing import Protocol

import optax

from jaxrec.types import Params


class Options(Protocol):
    """The fields of a section that describe an optimiser."""

    @property
    def optimiser(self) -> str: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def warm_up(self) -> float: ...  # noqa: D102
    @property
    def decay(self) -> str: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102
    @property
    def clip(self) -> float: ...  # noqa: D102


def make_optimiser(options: Options, steps: int, decayed: Callable[[Params], Params]) -> optax.GradientTransformation:
    """Clip, then take steps at a rate that rises, then falls; `decayed` selects the parameters that decay."""
    warm = round(options.warm_up * steps)
    after = max(1, steps - warm)
    fall = {
        "cosine": optax.cosine_decay_schedule(options.learning_rate, after),
        "linear": optax.linear_schedule(options.learning_rate, 0.0, after),
        "constant": optax.constant_schedule(options.learning_rate),
    }[options.decay]
    # The first step already has a rate above 0.
    rise = optax.linear_schedule(options.learning_rate / max(1, warm), options.learning_rate, max(1, warm - 1))
    rate = optax.join_schedules([rise, fall], [warm])
    if options.optimiser == "adafactor":
        # The rate means the same as for AdamW: steps are not scaled by the size of a weight.
        step = optax.adafactor(
            rate,
            multiply_by_parameter_scale=False,
            weight_decay_rate=options.weight_decay or None,
            weight_decay_mask=decayed,
        )
    else:
        make = {"adamw": optax.adamw, "lion": optax.lion}[options.optimiser]
        step = make(rate, weight_decay=options.weight_decay, mask=decayed)
    return optax.chain(optax.clip_by_global_norm(options.clip), step)
