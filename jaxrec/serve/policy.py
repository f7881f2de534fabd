"""The `policy/` folder: written by training, opened by `load_policy`, and readable by any JAX program.

policy/arrays/           params (nested dict), item_table [I, E], recommendable [R], usual_context [C]; with
                         `learner.policy.belief`, tastes (nested dict, fields of jaxrec.nets.tastes.Tastes)
policy/description.json  environment sizes, network, feedback kinds, step, columns of item features if there are any
policy/items.json        {"ids": [...], "titles": [...]}, in the order of the table's rows; "texts" too, where the
                         encoder read more than the titles
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import FeedbackKind
from jaxrec.config.load import build_section, to_dict
from jaxrec.config.policy import PolicyConfig
from jaxrec.data.item_features import Encodings, encodings_as_json, encodings_from_json
from jaxrec.nets.policy import Items, Policy, make_policy
from jaxrec.nets.tastes import as_arrays
from jaxrec.serve.explain import Explainer
from jaxrec.serve.history import Entry, HistoryReader, Unknown
from jaxrec.serve.policy_arrays import check_params, check_world, read_tastes
from jaxrec.serve.reasons import Facts, Reason
from jaxrec.serve.slates import Slate, Slates, Visit
from jaxrec.storage.digests import sealed_folder
from jaxrec.storage.files import read_json_object, write_json
from jaxrec.storage.portable import ITEMS_BYTES, load_portable, write_portable
from jaxrec.storage.saved_spec import saved_spec
from jaxrec.storage.schemas import check_description
from jaxrec.types import EnvSpec, Params, World

KIND = "policy"


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """One item of a slate."""

    id: str
    title: str
    score: float  # logit; higher is better, but with `learner.policy.diversity` slates are not in the order of scores


@dataclasses.dataclass(frozen=True)
class SavedPolicy:
    """A trained policy with all that it reads."""

    network: PolicyConfig
    params: Params
    world: World
    spec: EnvSpec
    feedback: dict[str, FeedbackKind]
    ids: tuple[str, ...]
    titles: tuple[str, ...]
    step: int
    item_features: Encodings = dataclasses.field(default_factory=dict)  # blocks of the item table after the text
    texts: tuple[str, ...] = ()  # beginnings of what the encoder read of the items; empty: their titles

    @functools.cached_property
    def policy(self) -> Policy:
        """The network as pure functions."""
        return make_policy(self.spec, self.network)

    @functools.cached_property
    def items(self) -> Items:
        """The item tower's output for the whole table."""
        return self.policy.items(self.params, self.world)

    @functools.cached_property
    def slates(self) -> Slates:
        """The compiled programs from histories to slates; raises InputError if the policy reads no history."""
        self.check_reads_history_only()
        return Slates(self.policy, self.params, self.items, self.world, self.spec, self.network)

    def recommend(
        self,
        history: Sequence[Entry] = (),
        k: int = 10,
        context: np.ndarray | None = None,
        *,
        seed: int = 0,
        exclude: Sequence[str] = (),
        include: Sequence[str] | None = None,
        unknown: Unknown = "refuse",
    ) -> list[Recommendation]:
        """Recommend the k best items for a history of item ids as in the log, oldest first.

        An item alone counts as a success. "318:2.5" and {"item": "318", "rating": 2.5} say what the user thought of it
        (`jaxrec.serve.history`). Items of the history are not shown again, nor are those of `exclude`; with `include`,
        only its items are shown. `context` [C] is that of the visit, by default the mean context of the training log.
        With `serving_temperature`, slates are drawn: the same seed and history give the same slate. Raises InputError
        for ids that are not in the catalogue, unless `unknown` is "ignore".
        """
        contexts = None if context is None else [context]
        return self.recommend_many(
            [history], k, contexts, seed=seed, exclude=exclude, include=include, unknown=unknown
        )[0]

    def recommend_many(
        self,
        histories: Sequence[Sequence[Entry]],
        k: int = 10,
        contexts: Sequence[np.ndarray | None] | None = None,
        *,
        seed: int = 0,
        exclude: Sequence[str] = (),
        include: Sequence[str] | None = None,
        unknown: Unknown = "refuse",
    ) -> list[list[Recommendation]]:
        """Recommend like `recommend`, for many users at once; each slate is bit for bit that of the user alone.

        `contexts` has one context [C], or None for the mean one, for each history. `exclude` and `include` hold for all
        of them. An empty history is one of a new user. Raises InputError for what cannot be read, for k out of range,
        and if scores are not finite, and ValueError if the number of contexts is not that of histories.
        """
        reader = self.histories
        hidden = reader.rows(exclude, unknown)
        only = None if include is None else reader.rows(include, unknown)
        given = [None] * len(histories) if contexts is None else contexts
        visits = [
            Visit(*reader.read(reader.known(history, unknown)[0]), k, context, hidden, only, seed)
            for history, context in zip(histories, given, strict=True)
        ]
        return [self.titled(slate) for slate in self.slates.choose(visits)]

    def explain(
        self,
        history: Sequence[Entry],
        items: Sequence[str],
        context: np.ndarray | None = None,
        *,
        unknown: Unknown = "refuse",
    ) -> list[Reason]:
        """Give a reason for each of the recommended `items` (ids): what in the history moved its score, and how much.

        `history` and `context` are those of `recommend`. Each row of the history is left out once. Raises InputError
        for ids that are not in the catalogue or may not be recommended after this history.
        """
        rows = self.histories.rows(items)
        return self.explainer.explain(*self.histories.read(self.histories.known(history, unknown)[0]), rows, context)

    @property
    def texts_of_items(self) -> dict[str, str]:
        """The texts that reasons read, by the ids of the items."""
        return dict(zip(self.ids, self.texts or self.titles, strict=True))

    @functools.cached_property
    def explainer(self) -> Explainer:
        """The compiled programs of `explain`; raises InputError if the policy reads no history."""
        self.check_reads_history_only()
        statistics = 1 + len(self.spec.feedback)  # the last columns of the item table
        facts = Facts(self.texts or self.titles, np.asarray(self.world.item_table), self.item_features, statistics)
        arrays = self.params, self.items, self.world
        return Explainer(self.policy, arrays, self.spec, facts, (self.ids, self.titles))

    def recommend_rows(
        self, items: np.ndarray, feedback: np.ndarray, k: int = 10, context: np.ndarray | None = None, *, seed: int = 0
    ) -> list[Recommendation]:
        """Recommend like `recommend`, for a history of item rows [N] int32 with feedback [N, F]."""
        return self.titled(self.slates.choose([Visit(items, feedback, k, context, seed=seed)])[0])

    def titled(self, slate: Slate) -> list[Recommendation]:
        """Give the items of a slate with their ids and titles."""
        pairs = zip(slate.rows.tolist(), slate.scores.tolist(), strict=True)
        return [Recommendation(self.ids[row], self.titles[row], score) for row, score in pairs]

    @functools.cached_property
    def histories(self) -> HistoryReader:
        """Reads histories of items of the catalogue; raises InputError where there are none."""
        if not self.ids:
            raise InputError(f"recommend: policies of {self.spec.name} rank fresh documents, not items of a catalogue.")
        self._check_history()
        rewarded = [weight > 0 for weight in self.spec.reward_weights] or [True]
        return HistoryReader(self.ids, self.feedback, rewarded)

    def check_reads_history_only(self) -> None:
        """Raise InputError unless histories, with the context of the visit, are all that the policy reads."""
        self._check_history()
        if self.spec.user_size:
            raise InputError(
                f"recommend: policies of {self.spec.name} also read a simulated user's state, not only a history."
            )

    def _check_history(self) -> None:
        if not self.spec.history_length:
            raise InputError(f"recommend: policies of {self.spec.name} read interests, not a history of items.")


def save_policy(
    folder: Path,
    *,
    params: Params,
    world: World,
    spec: EnvSpec,
    config: PolicyConfig,
    feedback: dict[str, FeedbackKind],
    items: tuple[Sequence[str], Sequence[str]],
    step: int,
    item_features: Encodings | None = None,
    texts: Sequence[str] = (),
) -> None:
    """Write the folder completely or not at all; `items` are ids and titles. Only a folder of ours is replaced.

    `texts` are beginnings of what the encoder read of the items, if that is more than their titles.
    """
    arrays: dict[str, Any] = {"params": params, "item_table": world.item_table}
    optional = {"recommendable": world.recommendable, "usual_context": world.usual_context}
    arrays |= {name: value for name, value in optional.items() if value is not None}
    if config.belief:
        arrays["tastes"] = as_arrays(world.tastes)
    description = {
        "spec": _without_infinities(to_dict(spec)),
        "network": to_dict(config),
        "feedback": to_dict(feedback),
        "step": step,
        **({"item_features": encodings_as_json(item_features)} if item_features else {}),
    }
    with sealed_folder(Path(folder).absolute()) as temporary:
        write_portable(temporary, KIND, arrays, description)
        named = {"ids": list(items[0]), "titles": list(items[1])}
        named |= {"texts": list(texts)} if texts else {}
        write_json(temporary / "items.json", named, indent=None)


def load_policy(path: str | Path) -> SavedPolicy:
    """Open a run folder or its `policy/` folder; raises InputError if there is no policy or it is damaged."""
    folder = Path(path)
    if (folder / "policy").is_dir():
        folder = folder / "policy"
    elif (folder / "config.yaml").is_file():
        raise InputError(f"{folder}: no policy yet; `jaxrec train --resume` continues to the first checkpoint.")
    where = str(folder / "description.json")
    arrays, description = load_portable(folder, KIND)
    check_description(folder / "description.json", description)
    try:
        spec = build_section(EnvSpec, saved_spec(description), "spec", where)
        config = build_section(PolicyConfig, description["network"], "network", where)
        feedback = {n: build_section(FeedbackKind, k, n, where) for n, k in description["feedback"].items()}
        items = read_json_object(folder / "items.json", "train the policy or copy it again", most=ITEMS_BYTES)
        ids, titles, texts = tuple(items["ids"]), tuple(items["titles"]), tuple(items.get("texts", ()))
        optional = {"item_table", "recommendable", "usual_context"} & arrays.keys()
        tastes = read_tastes(arrays["tastes"], spec) if config.belief else None
        world = World(**{name: jnp.asarray(arrays[name]) for name in optional}, tastes=tastes)
        params = jax.tree.map(jnp.asarray, arrays["params"])
        features = encodings_from_json(description.get("item_features", {}), where)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{folder}: damaged policy ({type(error).__name__}: {error}); train or copy it again."
        ) from None
    if len(ids) != spec.num_items and spec.history_length:
        raise InputError(f"{folder / 'items.json'}: expected {spec.num_items} ids, got {len(ids)}; copy it again.")
    if texts and len(texts) != len(ids):
        raise InputError(f"{folder / 'items.json'}: expected {len(ids)} texts, got {len(texts)}; copy it again.")
    check_world(folder, spec, world)
    check_params(folder, make_policy(spec, config), params, world)
    return SavedPolicy(config, params, world, spec, feedback, ids, titles, description["step"], features, texts)


def policy_is_whole(folder: Path) -> bool:
    """True if a policy can be loaded from a `policy/` folder."""
    try:
        load_policy(folder)
    except InputError:
        return False
    return True


def _without_infinities(value: Any) -> Any:
    """Replace infinite numbers, which JSON lacks, by the texts "inf" and "-inf", which number fields read back."""
    if isinstance(value, dict):
        return {key: _without_infinities(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_infinities(inner) for inner in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
