"""The only place that calls `jax.jit`; library functions stay plain."""

from collections.abc import Callable
from typing import Any

import jax


def compiled(
    function: Callable[..., Any],
    *,
    donate: int | tuple[int, ...] = (),
    static: int | tuple[int, ...] = (),
    out_shardings: Any = None,
) -> Any:
    """Compile `function`; arguments `donate` give up their buffers, outputs are laid out as `out_shardings`."""
    options = {} if out_shardings is None else {"out_shardings": out_shardings}
    return jax.jit(function, donate_argnums=donate, static_argnums=static, **options)


def repeated(update: Callable[..., tuple[Any, Any]], times: int) -> Callable[..., tuple[Any, Any]]:
    """Scan `update(state, *arguments) -> (state, metrics)` over `times` steps; metrics are then [times, ...]."""

    def many(state: Any, *arguments: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda s, _: update(s, *arguments), state, None, length=times)

    return many
