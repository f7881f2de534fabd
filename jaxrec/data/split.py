"""Splits of a log into training, validation and test rows; a test row is never earlier than its user's history."""

import numpy as np

from jaxrec.checks import InputError, check_range
from jaxrec.config.data import DataConfig
from jaxrec.data.log import Log, Split


def make_split(config: DataConfig, log: Log) -> Split:
    """Split as `data.split` says; raises InputError if there are no training or no test rows."""
    split = SPLITS[config.split](config, log)
    if not len(split.train) or not len(split.test):
        raise InputError(
            f"data.split={config.split}: {len(split.train)} training and {len(split.test)} test rows from a "
            f"log of {len(log):,} rows; give a longer log (leave_one_out needs users with at least 3 rows)."
        )
    return split


def leave_one_out(log: Log) -> Split:
    """Test is each user's last row, validation the one before; users with fewer than 3 rows are in training only."""
    offsets = log.offsets
    from_end = offsets[log.user + 1] - 1 - np.arange(len(log))
    judged = np.diff(offsets)[log.user] >= 3
    test, validation = judged & (from_end == 0), judged & (from_end == 1)
    return Split(train=log.take(~(test | validation)), validation=log.take(validation), test=log.take(test))


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
        raise InputError(f"share: {share} of {len(users)} users leaves one side empty; choose another share.")
    in_first = np.isin(log.user, first)
    return log.take(in_first), log.take(~in_first)


SPLITS = {
    "leave_one_out": lambda config, log: leave_one_out(log),
    "global_time": lambda config, log: global_time(log, config.test_share),
}
