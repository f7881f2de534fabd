"""Quality of semantic ids: reconstruction, use of the codes, collisions, what a shared prefix says; on the host."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.generate.codes import groups
from jaxrec.ops.vectors import unit_rows


def tokens_report(
    codes: np.ndarray, size: int, vectors: np.ndarray, remade: np.ndarray, categories: Sequence[Any] | None
) -> dict[str, Any]:
    """Figures of codes [I, L + 1] whose levels have `size` codes, of vectors [I, E] and what is remade of them.

    - `error`: squared error as a share of the squared distance to the mean vector. 0: nothing is lost.
    - `levels`: for each level, codes in use, the perplexity of their use (as many equally used codes would have it),
      and items of the most used one.
    - `collisions`: items that share the codes of all levels but the last with another one, and after the last.
    - `prefixes`: for prefixes of 1 to L codes, over the pairs of different items that share one: how many pairs, their
      mean cosine, and the share that also shares the category, next to both for all pairs (`pairs`).
    """
    levels = []
    for level in range(codes.shape[1] - 1):
        loads = np.bincount(codes[:, level], minlength=size)
        share = loads[loads > 0] / len(codes)
        levels.append(
            {
                "used": int((loads > 0).sum()),
                "used_share": float((loads > 0).mean()),
                "perplexity": float(np.exp(-(share * np.log(share)).sum())),
                "most_items": int(loads.max()),
            }
        )
    unit = unit_rows(vectors - vectors.mean(0))
    labels = (
        None if categories is None else np.unique(np.asarray(categories, object).astype(str), return_inverse=True)[1]
    )
    prefixes = [_pairs(groups(codes[:, :n]), unit, labels) for n in range(1, codes.shape[1])]
    spread = np.square(vectors - vectors.mean(0)).sum()
    return {
        "items": len(codes),
        "error": float(np.square(vectors - remade).sum() / max(spread, 1e-12)),
        "levels": levels,
        "collisions": {"before_last": _sharing(codes[:, :-1]), "after_last": _sharing(codes)},
        "last_level_used": int(codes[:, -1].max()) + 1,
        "prefixes": prefixes,
        "pairs": _pairs(np.zeros(len(codes), int), unit, labels),
    }


def _sharing(codes: np.ndarray) -> int:
    """Items whose codes another item has too."""
    sizes = np.bincount(groups(codes))
    return int(sizes[sizes > 1].sum())


def _pairs(group: np.ndarray, unit: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    """Pairs of different items of one group [I]: how many, mean cosine of unit rows [I, E], share with one label."""
    sizes = np.bincount(group).astype(float)
    pairs = (sizes * (sizes - 1)).sum() / 2
    sums = np.zeros((len(sizes), unit.shape[1]))
    np.add.at(sums, group, unit)
    own = np.bincount(group, np.square(unit).sum(1))
    cosine = ((np.square(sums).sum(1) - own).sum() / 2) / max(pairs, 1.0)
    found: dict[str, Any] = {"pairs": int(pairs), "cosine": float(cosine) if pairs else None}
    if labels is not None:
        both = np.bincount(np.unique(np.stack([group, labels], 1), axis=0, return_inverse=True)[1].reshape(-1))
        same = (both.astype(float) * (both - 1)).sum() / 2
        found["same_category"] = float(same / pairs) if pairs else None
    return found
