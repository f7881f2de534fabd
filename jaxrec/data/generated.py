"""A generated log with item texts: users with few, strong tastes meet a catalogue of topics."""

import dataclasses

import numpy as np

from jaxrec.checks import InputError, suggest
from jaxrec.config.data import DataConfig, FeedbackKind, GeneratedLog
from jaxrec.data.clean import RawLog
from jaxrec.data.context import context_columns, visit_context
from jaxrec.data.generated_visits import visits_of
from jaxrec.data.item_text import ItemTable, check_template
from jaxrec.data.log import Dataset, Log, counted
from jaxrec.data.readers import assemble
from jaxrec.data.topics import DESCRIPTIONS, TITLES, TOPICS
from jaxrec.data.values import binary_feedback
from jaxrec.foreign import quoted

FEEDBACK = "liked"  # the only column of feedback, 0 or 1
OWN_SHARE = 0.5  # share of a user's shown items that come from liked topics; the rest is from the whole catalogue
POPULARITY = 0.5  # exponent of item exposure: chance ~ rank ** -POPULARITY
TOPIC_SKEW = 0.25  # the same for the topics that users like
FIRST_SECOND, DAYS, DAY_S = 1_600_000_000, 365, 86_400.0  # users start within a year, and see one item per day


@dataclasses.dataclass(frozen=True)
class Tastes:
    """The hidden causes of the log: topics and qualities of items, and interests of users."""

    topic: np.ndarray  # [I] int, topic of each item
    quality: np.ndarray  # [I] float
    interest: np.ndarray  # [U, topics] float: positive for liked topics, clearly negative for the others

    def like_probability(self, user: int) -> np.ndarray:
        """Chance [I] that the user likes each item: sigmoid of interest in its topic plus its quality."""
        return 1 / (1 + np.exp(-(self.interest[user, self.topic] + self.quality)))


def read_generated(config: DataConfig, seed: int) -> Dataset:
    """Generate the log; the same sizes and seed give the same data set. Item columns: title, description.

    Feedback kinds read the column `liked`, even if they name no column. The users are not real people, so a user's
    number, as text, is the pseudonym.
    """
    for setting, column in context_columns(config, config.columns).items():
        raise InputError(
            f"{setting}: no column {quoted(column)} in the generated log; remove it (known: hour, weekday)."
        )
    items_key, _, log_key = np.random.SeedSequence(seed).spawn(3)
    sizes = config.generated
    tastes = hidden_tastes(sizes, seed)
    items = _item_table(tastes.topic, np.random.default_rng(items_key))
    check_template(config.text, list(items.columns), items.name)
    rows = _draw_rows(sizes, tastes, np.random.default_rng(log_key))
    context, context_names = visit_context(config, rows["time"], {})
    log = Log(
        user=rows["user"],
        item=rows["item"],
        time=rows["time"],
        feedback=answers(config, rows["liked"]),
        feedback_names=tuple(config.feedback),
        num_users=sizes.users,
        num_items=len(items.ids),
        context=context,
        context_names=context_names,
    )
    users = tuple(str(n) for n in range(sizes.users))
    raw = RawLog(log, users, items.ids, (f"generated {counted(len(rows['liked']), 'row')} (seed {seed})",))
    return assemble(raw, items, config, [])


def answers(config: DataConfig, liked: np.ndarray) -> np.ndarray:
    """Feedback of the recipe's kinds [R, F] for values [R] of the column `liked`."""
    kinds = {name: _kind(name, kind) for name, kind in config.feedback.items()}
    return binary_feedback(kinds, {FEEDBACK: liked}, np.ones(len(liked), bool), lambda row: f"generated row {row}")


def hidden_tastes(sizes: GeneratedLog, seed: int) -> Tastes:
    """The hidden causes of the log that `read_generated` gives for the same sizes and seed."""
    return draw_tastes(sizes, np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[1]))


def draw_tastes(sizes: GeneratedLog, rng: np.random.Generator) -> Tastes:
    """Draw a topic and quality for each item, and `topics_liked` topics for each user; some topics are more popular."""
    topic = rng.permutation(np.arange(sizes.items) % sizes.topics)
    quality = rng.normal(0.0, sizes.quality, sizes.items)
    chance = np.log(np.arange(1.0, sizes.topics + 1) ** -TOPIC_SKEW)
    drawn = np.argsort(-(chance + rng.gumbel(size=(sizes.users, sizes.topics))), axis=1)
    liked = drawn[:, : sizes.topics_liked]
    interest = rng.normal(sizes.disliking, 0.5, (sizes.users, sizes.topics))
    np.put_along_axis(interest, liked, rng.normal(sizes.liking, 0.5, liked.shape), axis=1)
    return Tastes(topic, quality, interest)


def _draw_rows(sizes: GeneratedLog, tastes: Tastes, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw rows user by user: each item at most once, half from liked topics, all skewed towards popular items."""
    popularity = rng.permutation(np.arange(1.0, sizes.items + 1) ** -POPULARITY)
    lengths = np.clip(rng.negative_binomial(4, 4 / (4 + sizes.interactions), sizes.users), 5, sizes.items // 2)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("user", "item", "time", "liked")}
    for user, length in enumerate(lengths):
        own = popularity * (tastes.interest[user, tastes.topic] > 0)
        exposure = OWN_SHARE * own / max(own.sum(), 1e-9) + (1 - OWN_SHARE) * popularity / popularity.sum()
        # Samples without repetition: the largest log-weights plus Gumbel noise.
        shown = np.argsort(-(np.log(exposure) + rng.gumbel(size=sizes.items)))[:length]
        rows["user"].append(np.full(length, user))
        order = rng.permutation(shown)
        rows["item"].append(order)
        start = FIRST_SECOND + rng.uniform(0, DAYS * DAY_S)
        if sizes.visits is None:
            times = (start + rng.exponential(DAY_S, length).cumsum()).astype(np.int64)
            liked = rng.random(length) < tastes.like_probability(user)[order]
        else:
            hidden = tastes.topic, tastes.interest[user], tastes.quality
            liked, times = visits_of(sizes.visits, *hidden, order, start, rng)
        rows["time"].append(times)
        rows["liked"].append(liked)
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _item_table(topic: np.ndarray, rng: np.random.Generator) -> ItemTable:
    """Write ids, titles and descriptions with words of each item's topic; every title is unique."""
    ids, titles, descriptions, seen = [], [], [], {}
    for n, words in enumerate(TOPICS[t] for t in topic):
        a, b = rng.choice(words.subjects, 2, replace=False)
        c, d, e = rng.choice(words.details, 3, replace=False)
        title = str(rng.choice(TITLES)).format(a=a, b=b)
        seen[title] = seen.get(title, 0) + 1
        ids.append(str(n + 1))
        titles.append(title if seen[title] == 1 else f"{title}, Part {seen[title]}")
        descriptions.append(str(rng.choice(DESCRIPTIONS)).format(c=c, d=d, e=e))
    return ItemTable("generated items", tuple(ids), {"title": titles, "description": descriptions})


def _kind(name: str, kind: FeedbackKind) -> FeedbackKind:
    if kind.column not in (None, FEEDBACK):
        raise InputError(
            f"data.feedback.{name}.column: no column {quoted(kind.column)} in the generated log"
            f"{suggest(str(kind.column), [FEEDBACK])}; its only column of feedback is {FEEDBACK!r}."
        )
    if kind.weights:
        raise InputError(f"data.feedback.{name}.weights: {FEEDBACK!r} of the generated log is 0 or 1; remove them.")
    if kind.over is not None:
        raise InputError(f"data.feedback.{name}.over: {FEEDBACK!r} of the generated log is 0 or 1; remove `over`.")
    return dataclasses.replace(kind, column=FEEDBACK)
