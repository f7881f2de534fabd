"""Folders of codes and of generators: written by `jaxrec tokens` and `jaxrec pretrain`, readable by any JAX program.

TOKENS/arrays/           codes [I, L + 1], codebooks [L, C, d], prices [L, C], mean [E], encode and decode of an RQ-VAE
TOKENS/description.json  sizes of the vocabularies, settings, the report
TOKENS/items.json        {"ids": [...], "titles": [...]}, in the order of the codes

POLICY/arrays/           params (nested dict), codes [I, L + 1], item_table [I, E], recommendable [R],
                         usual_context [C]; with the dense check, dense (nested dict, fields of `DenseItems`)
POLICY/description.json  shape of the network, sizes, feedback kinds, step
POLICY/items.json        as above
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_range, check_shape
from jaxrec.config.data import FeedbackKind
from jaxrec.config.load import build_section, to_dict
from jaxrec.data.windows import latest_rows
from jaxrec.generate.codes import add_last_code, check_codes
from jaxrec.generate.dense import NAME, DenseItems, dense_arrays, dense_items_of, has_own, init_towers
from jaxrec.generate.quantise import Autoencoder, Quantiser, quantised
from jaxrec.generate.recommender import Catalogue, slates
from jaxrec.generate.trie import make_trie
from jaxrec.nets.generator import Shape, init_generator
from jaxrec.sharding.compile import compiled
from jaxrec.storage.digests import sealed_folder
from jaxrec.storage.files import read_json_object, write_json
from jaxrec.storage.portable import ITEMS_BYTES, load_portable, write_portable, wrong_shape
from jaxrec.storage.stage_folders import GENERATOR, TOKENS
from jaxrec.types import EnvSpec, Observation, Params


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The codes of a catalogue, and what gives codes to new items."""

    codes: np.ndarray  # [I, L + 1] int32
    sizes: tuple[int, ...]  # of the L + 1 vocabularies
    quantiser: Quantiser
    ids: tuple[str, ...]
    description: dict[str, Any]

    def of_new(self, vectors: np.ndarray) -> np.ndarray:
        """Codes [N, L + 1] of items that were not there when the codebooks were fitted, from their vectors [N, E].

        The codebooks and the codes of the catalogue stay as they are. Raises InputError if more items have the same
        codes than the last vocabulary can tell apart.
        """
        check_shape("vectors", vectors, (None, self.quantiser.mean.shape[0]))
        if not np.isfinite(vectors).all():
            raise InputError("vectors: expected finite numbers; encode the texts of the new items again.")
        found = compiled(quantised)(self.quantiser, jnp.asarray(vectors, jnp.float32))
        codes = add_last_code(np.asarray(found.codes), self.codes)
        if codes[:, -1].max(initial=0) >= self.sizes[-1]:
            raise InputError(
                f"vectors: {int(codes[:, -1].max()) + 1} items have the same codes, and the tokens have room for "
                f"{self.sizes[-1]}; make the tokens of the whole catalogue with `jaxrec tokens`."
            )
        return codes


def save_tokens(
    folder: Path,
    quantiser: Quantiser,
    codes: np.ndarray,
    sizes: tuple[int, ...],
    items: tuple[Sequence[str], Sequence[str]],
    description: dict[str, Any],
) -> None:
    """Write the folder completely or not at all; `items` are ids and titles."""
    arrays: dict[str, Any] = {name: getattr(quantiser, name) for name in ("mean", "codebooks", "prices")}
    arrays["codes"] = codes
    if quantiser.autoencoder is not None:
        arrays |= {"encode": quantiser.autoencoder.encode, "decode": quantiser.autoencoder.decode}
    with sealed_folder(Path(folder).absolute()) as temporary:
        write_portable(temporary, TOKENS, arrays, {"sizes": list(sizes), **description})
        write_json(temporary / "items.json", {"ids": list(items[0]), "titles": list(items[1])}, indent=None)


def load_tokens(folder: str | Path) -> Tokens:
    """Open a folder of `jaxrec tokens`; raises InputError if there is none or it is damaged."""
    folder = Path(folder)
    arrays, description = load_portable(folder, TOKENS)
    try:
        both = Autoencoder(arrays["encode"], arrays["decode"]) if "encode" in arrays else None
        quantiser = Quantiser(arrays["mean"], arrays["codebooks"], arrays["prices"], both)
        quantiser = jax.tree.map(jnp.asarray, quantiser)
        sizes, codes = tuple(int(size) for size in description["sizes"]), arrays["codes"]
        ids = tuple(_items(folder)["ids"])
        check_shape("codebooks", quantiser.codebooks, (len(sizes) - 1, sizes[0], None))
        check_shape("prices", quantiser.prices, (len(sizes) - 1, sizes[0]))
        check_shape("codes", codes, (len(ids), len(sizes)))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, "tokens", error) from None
    check_codes(codes, sizes)
    return Tokens(codes, sizes, quantiser, ids, description)


@dataclasses.dataclass(frozen=True)
class SavedGenerator:
    """A trained generator with all that it reads."""

    shape: Shape
    rows: int  # latest rows of a history that it reads
    beams: int
    params: Params
    codes: np.ndarray  # [I, L]
    table: np.ndarray | None  # [I, E]
    recommendable: np.ndarray  # [R] int32
    usual_context: np.ndarray | None  # [C]
    spec: EnvSpec
    feedback: dict[str, FeedbackKind]
    ids: tuple[str, ...]
    titles: tuple[str, ...]
    step: int
    dense: DenseItems | None = None  # of the dense check

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """The items on the device."""
        return catalogue_of(self.codes, self.shape, self.table, self.recommendable, self.dense)

    def best(
        self, items: np.ndarray, feedback: np.ndarray, k: int = 10, context: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Items [k] and scores [k], highest first, after a history of items [N] int32 with feedback [N, F].

        Scores are logs of chances, unless towers order the items (`jaxrec.generate.dense`).

        Fewer than k if the catalogue without the history has fewer. Raises InputError if k is larger than the beam or
        the parameters give no numbers.
        """
        check_range("k", k, 1, len(self.ids))
        if k > self.beams:
            raise InputError(
                f"k: expected at most {self.beams}, the beams of this generator, got {k}; pretrain it with a larger "
                "generative.beams, or ask for fewer items."
            )
        length = max(1 << max(len(items) - 1, 0).bit_length(), self.rows)  # few shapes are compiled
        ends = np.array([len(items)])
        window, values = latest_rows((items, feedback), np.zeros_like(ends), ends, length)
        visit = self.usual_context if context is None else context
        if visit is not None:
            check_shape("context", visit, (self.spec.context_size,))
        obs = Observation(
            context=None if visit is None else jnp.asarray(visit, jnp.float32)[None],
            history_items=jnp.asarray(window),
            history_feedback=jnp.asarray(values),
        )
        found = self._program(self.params, self.catalogue, obs)
        chosen, scores = np.asarray(found.items[0]), np.asarray(found.scores[0])
        if np.isnan(scores).any():
            raise InputError("recommend: the generator's scores are not numbers; it diverged, so train it again.")
        real = np.flatnonzero(chosen >= 0)[:k]
        return chosen[real], scores[real]

    @functools.cached_property
    def _program(self) -> Any:
        def program(params: Params, catalogue: Catalogue, obs: Observation):
            return slates(self.shape, params, catalogue, obs, self.rows, self.beams, repeats=self.spec.repeats)

        return compiled(program)


def catalogue_of(
    codes: np.ndarray,
    shape: Shape,
    table: np.ndarray | None,
    recommendable: np.ndarray,
    dense: DenseItems | None = None,
) -> Catalogue:
    """The items of a generator on the device; with the dense check, cold items are not in the tree."""
    trie = make_trie(codes, shape.sizes, recommendable if dense is None else np.setdiff1d(recommendable, dense.cold))
    own = jnp.asarray(table) if table is not None and shape.item_rows else None
    return Catalogue(jnp.asarray(codes, jnp.int32), own, trie, jax.tree.map(jnp.asarray, dense))


def save_generator(folder: Path, saved: SavedGenerator) -> None:
    """Write the folder completely or not at all."""
    arrays: dict[str, Any] = {"params": saved.params, "codes": saved.codes, "recommendable": saved.recommendable}
    optional = {"item_table": saved.table, "usual_context": saved.usual_context}
    arrays |= {name: value for name, value in optional.items() if value is not None} | dense_arrays(saved.dense)
    description = {
        "network": {**saved.shape._asdict(), "sizes": list(saved.shape.sizes)},
        "rows": saved.rows,
        "beams": saved.beams,
        "spec": {name: value for name, value in to_dict(saved.spec).items() if name not in RANGES},
        "feedback": to_dict(saved.feedback),
        "step": saved.step,
    }
    with sealed_folder(Path(folder).absolute()) as temporary:
        write_portable(temporary, GENERATOR, arrays, description)
        write_json(temporary / "items.json", {"ids": list(saved.ids), "titles": list(saved.titles)}, indent=None)


RANGES = ("action", "feedback_range", "user_range", "candidate_range", "context_range")  # with infinities; not read


def load_generator(folder: str | Path) -> SavedGenerator:
    """Open the `policy/` folder of a generative run; raises InputError if there is none or it is damaged."""
    folder = Path(folder)
    where = str(folder / "description.json")
    arrays, description = load_portable(folder, GENERATOR)
    try:
        network = dict(description["network"])
        shape = Shape(**{**network, "sizes": tuple(int(size) for size in network["sizes"])})
        spec = build_section(EnvSpec, {**description["spec"], "action": {"name": "slate", "size": 1}}, "spec", where)
        feedback = {n: build_section(FeedbackKind, k, n, where) for n, k in description["feedback"].items()}
        items = _items(folder)
        saved = SavedGenerator(
            shape=shape,
            rows=int(description["rows"]),
            beams=int(description["beams"]),
            params=jax.tree.map(jnp.asarray, arrays["params"]),
            codes=arrays["codes"],
            table=arrays.get("item_table"),
            recommendable=arrays["recommendable"],
            usual_context=arrays.get("usual_context"),
            spec=spec,
            feedback=feedback,
            ids=tuple(items["ids"]),
            titles=tuple(items["titles"]),
            step=int(description["step"]),
            dense=dense_items_of(arrays["dense"]) if "dense" in arrays else None,
        )
        check_shape("codes", saved.codes, (len(saved.ids), shape.levels))
        _check_params(saved)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, "generator", error) from None
    check_codes(saved.codes, shape.sizes)
    return saved


def _check_params(saved: SavedGenerator) -> None:
    """Raise ValueError unless the arrays are parameters of the network in the description."""
    vectors = 0 if saved.table is None or not saved.shape.item_rows else saved.table.shape[1]
    sizes = len(saved.spec.feedback), vectors, saved.spec.context_size
    want = jax.eval_shape(functools.partial(init_generator, saved.shape, feedback=sizes[0], vectors=sizes[1],
                                            context=sizes[2]), jax.random.key(0))  # fmt: skip
    if saved.dense is not None:
        check_shape("dense.vectors", saved.dense.vectors, (len(saved.ids), None))
        check_shape("dense.order", saved.dense.order, ())
        if not 0 <= float(saved.dense.order) < np.inf:
            raise ValueError(f"dense.order is {float(saved.dense.order):g}, expected a finite number of at least 0")
        items, own = np.shape(saved.dense.vectors), has_own(saved.params)
        tower = functools.partial(init_towers, width=saved.shape.width, items=items, own=own)  # type: ignore[arg-type]
        want = {**want, NAME: jax.eval_shape(tower, jax.random.key(0))}
    if wrong := wrong_shape(want, saved.params):
        raise ValueError(wrong)
    count, groups = len(saved.ids), {"recommendable": saved.recommendable}
    if saved.dense is not None:
        groups |= {"dense.known": saved.dense.known, "dense.cold": saved.dense.cold}
    for name, some in groups.items():
        if (not len(some) and name != "dense.cold") or (len(some) and (some.min() < 0 or some.max() >= count)):
            raise ValueError(f"{name} has no numbers, or some outside 0 to {count - 1}")
    if saved.rows < 1 or saved.beams < 1:
        raise ValueError(f"rows and beams are {saved.rows} and {saved.beams}, expected at least 1")


def _items(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / "items.json", "make the folder again", most=ITEMS_BYTES)


def _damaged(folder: Path, what: str, error: Exception) -> InputError:
    return InputError(f"{folder}: damaged {what} ({type(error).__name__}: {error}); make or copy it again.")
