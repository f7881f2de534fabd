"""Rank what held-out users liked next among sampled candidates, or candidates for one history, by a language model."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_range
from jaxrec.config.load import Overrides
from jaxrec.config.schema import Config
from jaxrec.data.log import Log
from jaxrec.data.windows import latest_rows
from jaxrec.evaluation.measures import mean_and_half_width
from jaxrec.evaluation.scorers import compiled_scores, fit_simple, simple_scorer
from jaxrec.language import LanguageModel, load_language_model
from jaxrec.language.rank import Prompting, rank_titles
from jaxrec.ops.ranking import mid_rank
from jaxrec.progress import note, track
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.recipe import Recipe, log_config, read_recipe
from jaxrec.serve import Recommendation
from jaxrec.serve.history import HistoryReader
from jaxrec.supervised.simple import SIMPLE_RECOMMENDERS, most_popular
from jaxrec.types import Observation

RIVALS = ("most_popular", "item_knn")
LANGUAGE_MODEL = "language_model"
WINDOW = 200  # rows of a history that the rivals read, at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class LmSettings:
    """How a language model ranks; counts are of users, of candidates for each, and of titles in a prompt."""

    users: int = 200
    candidates: int = 20
    history_length: int = 10
    prompting: Prompting = dataclasses.field(default_factory=Prompting)
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        check_range("--users", self.users, 1)
        check_range("--candidates", self.candidates, 2)
        check_range("--history-length", self.history_length, 1)
        _ = self.prompting.text  # raises for a template without its place


class Case(NamedTuple):
    """One held-out user."""

    user: int
    history: np.ndarray  # [N] items that the user liked, oldest first
    candidates: np.ndarray  # [C] items, the target first


@dataclasses.dataclass(frozen=True, kw_only=True)
class LmReport:
    """Ranking of the next item by each recommender, over the same users and candidates."""

    users: int
    candidates: int
    table: dict[str, dict[str, tuple[float, float]]]  # recommender -> hr@1, mrr -> mean, half of the 95% interval
    lead: dict[str, tuple[float, float]]  # the language model's MRR minus that of each rival, paired by user
    seconds: float  # of the language model


def rank_held_out(
    model: str, recipe: Recipe, overrides: Overrides = (), settings: LmSettings | None = None
) -> LmReport:
    """Rank the next liked item of held-out users among candidates drawn by popularity.

    For each of some users with a liked test row, the target is the first of them in time; the other candidates are
    drawn without repetition, by their rows in training, among the items that the user has no row of. The language model
    reads the titles of the liked rows before it. The rivals are fitted to the training rows, and read the latest 200
    rows of the user, liked or not. Raises InputError for bad input.
    """
    settings = settings or LmSettings()
    lm, _, corpus = _opened(model, recipe, overrides, settings)
    cases = draw_cases(corpus, settings)
    titles = corpus.dataset.catalogue.titles
    histories = [[titles[i] for i in case.history[-settings.history_length :]] for case in cases]
    candidates = [[titles[i] for i in case.candidates] for case in cases]
    started = time.perf_counter()
    with track("ranking by the language model, users", len(cases)) as advance:
        scores = {LANGUAGE_MODEL: np.array(rank_titles(lm, histories, candidates, settings.prompting, advance))}
    seconds = time.perf_counter() - started
    scores |= _rival_scores(corpus, cases)
    first = {name: ranks_of_first(one) for name, one in scores.items()}
    table = {
        name: {
            "hr@1": mean_and_half_width((ranks < 1).astype(float)),
            "mrr": mean_and_half_width(1 / (1 + ranks)),
        }
        for name, ranks in first.items()
    }
    own = 1 / (1 + first[LANGUAGE_MODEL])
    lead = {name: mean_and_half_width(own - 1 / (1 + first[name])) for name in RIVALS}
    return LmReport(users=len(cases), candidates=settings.candidates, table=table, lead=lead, seconds=seconds)


def rank_for_history(
    model: str, recipe: Recipe, history: str, k: int, overrides: Overrides = (), settings: LmSettings | None = None
) -> list[Recommendation]:
    """The k best of the most popular items that are not in a history 'ID,ID', by a language model.

    `settings.candidates` items are ranked. Raises InputError for unknown ids, and without any.
    """
    settings = settings or LmSettings()
    check_range("-k", k, 1, settings.candidates)
    lm, config, corpus = _opened(model, recipe, overrides, settings)
    catalogue, kinds = corpus.dataset.catalogue, corpus.split.train.feedback_names
    reader = HistoryReader(catalogue.ids, log_config(config).feedback, [True] * len(kinds))
    items, feedback = reader.read(reader.split(history))
    liked = items[feedback[:, 0] > 0]
    if not len(liked):
        raise InputError("--history: no liked item in it; give at least one id, as in --history 318,296.")
    counts = most_popular(corpus.split.train).astype(np.float64)
    counts[items] = -1
    offered = np.argsort(-counts, kind="stable")[: min(settings.candidates, int((counts > 0).sum()))]
    titles = catalogue.titles
    past = [titles[i] for i in liked[-settings.history_length :]]
    (scores,) = rank_titles(lm, [past], [[titles[i] for i in offered]], settings.prompting)
    best = np.argsort(-scores, kind="stable")[:k]
    pairs = zip(offered[best], scores[best], strict=True)
    return [Recommendation(catalogue.ids[i], titles[i], float(s)) for i, s in pairs]


def _opened(
    model: str, recipe: Recipe, overrides: Overrides, settings: LmSettings
) -> tuple[LanguageModel, Config, Corpus]:
    config = read_recipe(recipe, overrides)
    lm = load_language_model(model, settings.dtype)
    if settings.prompting.chat and not lm.has_chat:
        raise InputError(f"--chat: {lm.path} has no chat template; leave --chat out, or take a model for chats.")
    return lm, config, read_corpus(config)


def draw_cases(corpus: Corpus, settings: LmSettings) -> list[Case]:
    """Held-out users with a history and a liked test row, in random order, with their candidates."""
    split, rng = corpus.split, np.random.default_rng(settings.seed)
    test = split.test.take(split.test.positive) if split.test.positive.any() else split.test
    history = split.train.merge(split.validation)
    counts = most_popular(split.train).astype(np.float64)
    cases: list[Case] = []
    for user in rng.permutation(np.unique(test.user)):
        target = test.item[test.user == user][0]
        past = history.take(history.user == user)
        liked = past.item[past.positive] if history.positive.any() else past.item
        weights = counts.copy()
        weights[past.item] = weights[split.test.item[split.test.user == user]] = 0
        if not len(liked) or (weights > 0).sum() < settings.candidates - 1:
            continue
        others = rng.choice(len(weights), settings.candidates - 1, replace=False, p=weights / weights.sum())
        cases.append(Case(int(user), liked, np.r_[target, others]))
        if len(cases) == settings.users:
            break
    if not cases:
        raise InputError(
            f"data: no held-out user with a liked test row, a history and {settings.candidates} candidates; choose "
            "another data.split, a longer log, or fewer --candidates."
        )
    if len(cases) < settings.users:
        note(f"  {len(cases)} users have a liked test row and a history, fewer than --users {settings.users}")
    return cases


def _rival_scores(corpus: Corpus, cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """Scores [users, C] of the candidates by the simple recommenders."""
    split = corpus.split
    history = split.train.merge(split.validation)
    scorers = {}
    for name in RIVALS:
        arrays, _ = fit_simple(SIMPLE_RECOMMENDERS[name], split.train, split.validation)
        scorers[name] = simple_scorer(SIMPLE_RECOMMENDERS[name], arrays)
    programs = compiled_scores(scorers)
    found: dict[str, list[np.ndarray]] = {name: [] for name in RIVALS}
    for case in cases:
        obs = _observed(history, case.user)
        for name, score in programs.items():
            found[name].append(np.asarray(score(obs))[0][case.candidates])
    return {name: np.array(rows) for name, rows in found.items()}


def _observed(history: Log, user: int) -> Observation:
    starts = history.offsets
    rows = latest_rows((history.item, history.feedback), starts[[user]], starts[[user + 1]], WINDOW)
    return Observation(history_items=jnp.asarray(rows[0]), history_feedback=jnp.asarray(rows[1]))


def ranks_of_first(scores: np.ndarray) -> np.ndarray:
    """Rank of the first of C candidates, from 0, ties by their middle; scores [users, C] -> [users]."""
    first = jnp.zeros((len(scores), 1), jnp.int32)
    ranks = mid_rank(jnp.asarray(scores, jnp.float32), first, jnp.zeros(scores.shape, bool))
    return np.asarray(ranks, np.float64)[:, 0]


def as_json(report: LmReport) -> dict[str, Any]:
    """The report as plain data."""
    return dataclasses.asdict(report)
