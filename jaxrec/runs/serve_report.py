"""Compare the policies of a service by what users did: reward per request, with intervals over users."""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxrec.checks import InputError
from jaxrec.data.log import counted
from jaxrec.evaluation.measures import Z95, mean_and_half_width
from jaxrec.runs.recommend_generative import open_policy
from jaxrec.runs.serve import Plan
from jaxrec.serve.arms import Served
from jaxrec.serve.history import ITEM
from jaxrec.serve.slate_log import NAME


class Request(NamedTuple):
    """One slate, and the reward of all feedback on it."""

    user: str
    version: str
    reward: float


class Arm(NamedTuple):
    """What users did with the slates of one version."""

    version: str
    requests: int
    users: int
    reward: float  # per request
    half_width: float  # of its 95% interval; NaN for a single user


class Difference(NamedTuple):
    """Reward per request of a version, minus that of the first one."""

    version: str
    reward: float
    half_width: float  # NaN if there is no interval
    users: int  # who met one of the two versions
    paired_users: int  # who met both versions
    paired: float  # mean over these users; NaN without any
    paired_half_width: float


class Watched(NamedTuple):
    """Slates of a shadow policy, compared with those that were shown."""

    version: str
    requests: int
    overlap: float  # mean share of its slate that was shown too
    rewarded: float  # share of the reward that fell on items of its slates; NaN without any reward


class Report(NamedTuple):
    """Everything that `jaxrec serve-report` says."""

    arms: list[Arm]
    differences: list[Difference]
    watched: list[Watched]
    verdict: str


def serve_report(run: str | Path, plan: Plan) -> Report:
    """Read the logs in the state of a service; raises InputError if there is no log of slates."""
    slates = _read(plan.state / NAME, "slates-*.parquet")
    if slates is None:
        raise InputError(
            f"{plan.state / NAME}: no log of slates yet; serve with serve.split=RUN or serve.shadow=RUN, and ask again "
            "when a part is written (serve.part_seconds) or the service stopped."
        )
    feedback = _read(plan.state / "log", "feedback-*.parquet")
    rows = [] if feedback is None else feedback.to_pylist()
    item = plan.data.columns.item if plan.data.source == "files" else "item"
    rewards = item_rewards(open_policy(run), rows, item)
    return compare(slates.sort_by("time").to_pylist(), rewards)


def item_rewards(saved: Served, rows: Iterable[Mapping[str, Any]], item: str) -> dict[tuple[str, str], float]:
    """Reward of each shown item, {(request, item): reward}, from rows of the feedback log; `item` is their column.

    Rows of one shown item are joined. A column holds its latest value; with several columns, its latest value that is
    not 0 or empty, since a row has a value in one of them alone. What the policy cannot read earns nothing.
    """
    weights = np.asarray(saved.spec.reward_weights or (1.0,), np.float32)
    columns = [kind.column for kind in saved.feedback.values() if kind.column is not None]
    joined: dict[tuple[str, str], dict[str, Any]] = collections.defaultdict(dict)
    for row in rows:
        entry = joined[row["serve_request"], row[item]]
        alone = len(columns) == 1
        entry.update({name: row.get(name) for name in columns if alone or row.get(name) or name not in entry})
    found = {}
    known = set(saved.ids)
    for (request, item_id), entry in joined.items():
        if item_id in known:  # else it is of an earlier catalogue
            given = {ITEM: item_id, **{name: value for name, value in entry.items() if value is not None}}
            legible = saved.histories.legible([given]) if columns else [given]
            if legible:
                _, values = saved.histories.read(legible)
                found[request, item_id] = float(values[0, : len(weights)] @ weights)
    return found


def compare(slates: Sequence[Mapping[str, Any]], rewards: Mapping[tuple[str, str], float]) -> Report:
    """Compare the versions in rows of the log of slates, oldest first; the first version is the baseline."""
    total: dict[str, float] = collections.defaultdict(float)
    for (request, _), reward in rewards.items():
        total[request] += reward
    requests = [Request(row["user"], row["version"], total.get(row["request"], 0.0)) for row in slates]
    versions = list(dict.fromkeys(one.version for one in requests))
    users = {user: n for n, user in enumerate(dict.fromkeys(one.user for one in requests))}
    sums = {version: np.zeros((len(users), 2)) for version in versions}  # requests and reward of each user
    for one in requests:
        sums[one.version][users[one.user]] += 1.0, one.reward
    arms = [_arm(version, sums[version]) for version in versions]
    differences = [_difference(version, sums[version], sums[versions[0]]) for version in versions[1:]]
    return Report(arms, differences, _watched(slates, rewards), _verdict(arms, differences))


def _influence(sums: np.ndarray) -> np.ndarray:
    """What each user adds to the error of the ratio of reward to requests (the delta method), [U]."""
    count = sums[:, 0].sum()
    return (sums[:, 1] - sums[:, 1].sum() / count * sums[:, 0]) / count


def _half_width(influence: np.ndarray, users: int) -> float:
    """Half of the 95% interval (normal approximation) of a figure with these influences of `users` users."""
    return Z95 * math.sqrt(users / (users - 1) * float((influence**2).sum())) if users > 1 else math.nan


def _arm(version: str, sums: np.ndarray) -> Arm:
    users = int((sums[:, 0] > 0).sum())
    requests, reward = sums.sum(0)
    return Arm(version, int(requests), users, float(reward / requests), _half_width(_influence(sums), users))


def _difference(version: str, sums: np.ndarray, first: np.ndarray) -> Difference:
    """Users count once, also those who met both versions, so the interval holds for any way to share them out."""
    rewards = [part[:, 1].sum() / part[:, 0].sum() for part in (sums, first)]
    users = int(((sums + first)[:, 0] > 0).sum())
    alone = min(int((part[:, 0] > 0).sum()) for part in (sums, first)) < 2  # one user has no spread
    half_width = math.nan if alone else _half_width(_influence(sums) - _influence(first), users)
    both = (sums[:, 0] > 0) & (first[:, 0] > 0)
    means = [part[both, 1] / part[both, 0] for part in (sums, first)]
    paired, paired_half_width = mean_and_half_width(means[0] - means[1]) if both.any() else (math.nan, math.nan)
    lead = float(rewards[0] - rewards[1])
    return Difference(version, lead, half_width, users, int(both.sum()), float(paired), paired_half_width)


def _watched(slates: Sequence[Mapping[str, Any]], rewards: Mapping[tuple[str, str], float]) -> list[Watched]:
    groups: dict[str, list[Mapping[str, Any]]] = collections.defaultdict(list)
    for row in slates:
        if row["shadow_version"] is not None:
            groups[row["shadow_version"]].append(row)
    found = []
    for version, rows in groups.items():
        shares = [len(set(row["shadow_items"]) & set(row["items"])) / max(1, len(row["shadow_items"])) for row in rows]
        gains = [
            (row, item, max(0.0, rewards.get((row["request"], item), 0.0))) for row in rows for item in row["items"]
        ]
        everything = sum(reward for *_, reward in gains)
        kept = sum(reward for row, item, reward in gains if item in row["shadow_items"])
        found.append(
            Watched(version, len(rows), float(np.mean(shares)), kept / everything if everything > 0 else math.nan)
        )
    return found


def _verdict(arms: Sequence[Arm], differences: Sequence[Difference]) -> str:
    if not differences:
        return f"Only version {arms[0].version} answered, so there is nothing to compare."
    best = max(differences, key=lambda one: abs(one.reward) - one.half_width if one.half_width >= 0 else -math.inf)
    first = arms[0].version
    if math.isnan(best.half_width):
        return f"Too few users to compare {best.version} with {first}."
    low, high = best.reward - best.half_width, best.reward + best.half_width
    interval = f"95% interval {low:+.4g} to {high:+.4g}, {counted(best.users, 'user')}"
    if low <= 0 <= high:
        return f"No difference between {best.version} and {first} can be seen ({interval})."
    word = "more" if best.reward > 0 else "less"
    return f"{best.version} earned {word} reward per request than {first}: {best.reward:+.4g} ({interval})."


def _read(folder: Path, pattern: str) -> pa.Table | None:
    """All parts of a log; None without any. Raises InputError for a damaged one."""
    tables = []
    for path in sorted(folder.glob(pattern)):
        try:
            tables.append(pq.read_table(path))
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read ({error}); restore it or move it away.") from None
    return pa.concat_tables(tables, promote_options="default") if tables else None
