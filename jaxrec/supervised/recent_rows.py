"""Fading sums over the rows of a user before each row, at several rates: what effects read of a log."""

from collections.abc import Callable

import numpy as np

from jaxrec.data.log import Log

RATES = (0.5, 0.8, 0.9, 0.95, 0.98)  # shares kept from row to row that are tried
CELLS = 2**26  # of directions, rows times columns, that are added up at once: half a gigabyte


def recent_sums(log: Log, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the values [R, K] of a user's rows before each moment, at every rate: [R, Q, K]; and over the user: [R, K].

    Rows that were shown together do not see each other.
    """
    found = np.zeros((len(log), len(RATES), values.shape[1]), np.float32)

    def keep(rows: np.ndarray, visible: np.ndarray) -> None:
        found[rows] = visible

    return found, _walk(log, values, keep)


def recent_products(log: Log, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multiply each row's direction, of [I, k], with the sums of `recent_sums` [R, Q], and of the other rows [R].

    A few columns at a time, since all of a long log do not fit into memory.
    """
    found, others = np.zeros((len(log), len(RATES)), np.float32), np.zeros(len(log))
    width = max(1, CELLS // max(len(log), 1))
    for first in range(0, directions.shape[1], width):
        own = directions[:, first : first + width][log.item]

        def multiply(rows: np.ndarray, visible: np.ndarray, own: np.ndarray = own) -> None:
            found[rows] += np.einsum("rqk,rk->rq", visible, own[rows])

        others += ((_walk(log, own, multiply) - own) * own).sum(1)
    return found, others


def _walk(log: Log, values: np.ndarray, look: Callable[[np.ndarray, np.ndarray], None]) -> np.ndarray:
    """Call `look` with rows [n] and the sums [n, Q, K] before them, for all rows; gives the sums of users [R, K]."""
    lengths = np.diff(log.offsets)
    users = np.argsort(-lengths, kind="stable")  # those with rows at a place are the first ones
    begin, moment, keep = log.offsets, log.moments, np.array(RATES)[:, None]
    sums = np.zeros((len(users), len(RATES), values.shape[1]))
    visible, last = np.zeros_like(sums), np.full(len(users), -1)
    for place in range(int(lengths.max(initial=0))):
        here = int(np.searchsorted(-lengths[users], -place, side="left"))
        rows = begin[users[:here]] + place
        new = moment[rows] != last[:here]
        visible[:here][new] = sums[:here][new]
        last[:here] = moment[rows]
        look(rows, visible[:here])
        sums[:here] = keep * sums[:here] + values[rows][:, None]
    totals = np.stack([np.bincount(log.user, column, log.num_users) for column in values.T], axis=1)
    return totals[log.user]
