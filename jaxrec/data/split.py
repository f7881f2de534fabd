"""Splits of a log into training, validation and test rows; a test row is never earlier than its user's history."""

import numpy as np

from jaxrec.checks import InputError, check_range
from jaxrec.config.data import DataConfig
from jaxrec.data.log import Log, Split, counted

FEW_POSITIVE = 0.3  # share of positive test rows below which another split is advised


def make_split(config: DataConfig, log: Log) -> Split:
    """Split as `data.split` says; raises InputError if there are no training or no test rows."""
    split = SPLITS[config.split](config, log)
    if not len(split.train) or not len(split.test):
        raise InputError(
            f"data.split={config.split}: {len(split.train)} training and {len(split.test)} test rows from a "
            f"log of {len(log):,} rows; give a longer log (leave_one_out needs users with at least 3 rows)."
        )
    return split


def few_targets(config: DataConfig, split: Split) -> str:
    """A line that advises another split if few test rows are positive; empty otherwise."""
    share = split.test.positive.mean()
    if config.split != "leave_one_out" or share >= FEW_POSITIVE:
        return ""
    return (
        f"only {share:.0%} of the test rows have '{split.test.feedback_names[0]}'; data.split=leave_positive_out tests "
        "each user's last row that has it"
    )


def leave_one_out(log: Log) -> Split:
    """Test is each user's last row, validation the one before; users with fewer than 3 rows are in training only."""
    offsets = log.offsets
    from_end = offsets[log.user + 1] - 1 - np.arange(len(log))
    judged = np.diff(offsets)[log.user] >= 3
    test, validation = judged & (from_end == 0), judged & (from_end == 1)
    return Split(train=log.take(~(test | validation)), validation=log.take(validation), test=log.take(test))


def leave_positive_out(log: Log) -> Split:
    """Test is each user's last positive row and all later ones, validation the same of the rows before.

    Rows without success that were shown together with that positive row are test rows too, as its answer and theirs
    were given at once. For logs that say what was shown: the last row of such a log is rarely a success. Users with
    fewer than 3 positive rows are in training only. A log of successes is split as by `leave_one_out`.
    """
    test = _from_last_positive(log, np.ones(len(log), bool))
    validation = _from_last_positive(log, ~test)
    judged = (np.bincount(log.user[log.positive], minlength=log.num_users) >= 3)[log.user]
    test, validation = test & judged, validation & judged
    return Split(train=log.take(~(test | validation)), validation=log.take(validation), test=log.take(test))


def _from_last_positive(log: Log, among: np.ndarray) -> np.ndarray:
    """Rows `among` [R] from each user's last positive one on, and those without success of its moment: [R] bool."""
    last = np.full(log.num_users, -1)
    rows = np.flatnonzero(among & log.positive)
    last[log.user[rows]] = rows  # the last assignment stays
    last = last[log.user]
    here = np.arange(len(log))
    together = (log.moments == log.moments[last]) & ~log.positive
    return among & (last >= 0) & ((here >= last) | together)


def global_time(log: Log, test_share: float) -> Split:
    """Test is the latest `test_share` of all rows, validation the latest `test_share` of the rest.

    Rows of equal time stay in the order of the log, so a boundary may fall between them.
    """
    check_range("test_share", test_share, 0, 1)
    latest_last = np.argsort(log.time, kind="stable")
    tests = round(len(log) * test_share)
    validations = round((len(log) - tests) * test_share)
    ends = len(log) - tests - validations, len(log) - tests
    train, validation, test = (np.sort(rows) for rows in np.split(latest_last, ends))
    return Split(train=log.take(train), validation=log.take(validation), test=log.take(test))


def split_users(log: Log, share: float, seed: int, before: np.ndarray | None = None) -> tuple[Log, Log]:
    """Split into two logs of disjoint users, `share` of them in the first; users and items keep their numbers.

    Response models fitted to the two sides have no users in common, so one can judge a policy that was trained on the
    other. `before` [num_users] is the side of each user in an earlier split, 0 or 1, or -1 for new users. Old users
    keep their side; otherwise the judge would be fitted to users whom the earlier policy was trained on. New users
    fill the sides up to their shares.
    """
    check_range("share", share, 0, 1)
    users = np.unique(log.user)
    side = np.full(len(users), -1) if before is None else before[users]
    new = np.random.default_rng(seed).permutation(users[side < 0])
    wanted = round(len(users) * share) - (side == 0).sum()
    first = np.r_[users[side == 0], new[: max(wanted, 0)]]
    if not 0 < len(first) < len(users):
        raise InputError(
            f"evaluate.judge_share: {share} of {counted(len(users), 'user')} leaves nobody to "
            f"{'train on' if len(first) else 'judge'}; set another share, or give a log of more users."
        )
    in_first = np.isin(log.user, first)
    return log.take(in_first), log.take(~in_first)


SPLITS = {
    "leave_one_out": lambda config, log: leave_one_out(log),
    "leave_positive_out": lambda config, log: leave_positive_out(log),
    "global_time": lambda config, log: global_time(log, config.test_share),
}
