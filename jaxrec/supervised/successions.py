"""Which items users have soon after which: counts over a log, and vectors of items made of them."""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import svds

from jaxrec.data.log import Log


def successions(log: Log, reach: int, *, file_order: bool = False) -> scipy.sparse.csr_array:
    """C[i, j] = sum of 1 / d over rows of item j that are d <= reach rows after one of item i: [I, I] float32.

    These are the sequential rules of Ludewig and Jannach (2018, arXiv 1803.09587, section 3.1.3). Rows of one moment
    were shown together, so they are not counted as pairs, unless `file_order` says that their order means something or
    the log has successes alone. An item does not follow itself.
    """
    moment = np.arange(len(log)) if file_order or log.feedback.all() else log.moments
    total = scipy.sparse.csr_array((log.num_items, log.num_items), dtype=np.float32)
    for distance in range(1, min(reach, len(log) - 1) + 1):
        first, second = slice(None, -distance), slice(distance, None)
        pairs = (log.user[first] == log.user[second]) & (moment[first] != moment[second])
        pairs &= log.item[first] != log.item[second]
        rows, columns = log.item[first][pairs], log.item[second][pairs]
        weights = np.full(len(rows), 1.0 / distance, np.float32)
        total += scipy.sparse.csr_array((weights, (rows, columns)), shape=total.shape)
    return total.tocsr()


def succession_vectors(log: Log, size: int, reach: int, *, file_order: bool = False) -> np.ndarray:
    """Vectors of items whose products say which items are near each other in users' rows: [I, size] float32.

    With C symmetric, the matrix of max(0, log(C_ij C / (C_i C_j))) C_ij / (C_ij + 1) is factorised by a truncated SVD,
    and the vectors are U sqrt(S): positive pointwise mutual information (Levy, Goldberg and Dagan, 2015), with the
    discount of rare pairs of Pantel and Lin (2002). Items without pairs have zeros.
    """
    counts = successions(log, reach, file_order=file_order)
    pairs = (counts + counts.T).tocoo()
    sums = np.bincount(pairs.row, pairs.data, minlength=log.num_items)
    information = np.log(pairs.data * sums.sum() / (sums[pairs.row] * sums[pairs.col]))
    weights = np.maximum(information, 0.0) * pairs.data / (pairs.data + 1.0)
    matrix = scipy.sparse.csr_array((weights, (pairs.row, pairs.col)), shape=counts.shape)
    count = min(size, log.num_items - 1)
    vectors = np.zeros((log.num_items, size), np.float32)
    if matrix.count_nonzero() and count > 0:
        start = np.random.default_rng(0).normal(size=log.num_items)  # the same vectors at every call
        left, values, _ = svds(matrix, count, v0=start)
        vectors[:, :count] = (left * np.sqrt(np.maximum(values, 0.0)))[:, ::-1]
    return vectors


def residuals_of_successions(log: Log, vectors: np.ndarray, reach: int, *, file_order: bool = False) -> np.ndarray:
    """`succession_vectors` as first residuals of items with the vectors [I, W], in the root mean square as long."""
    own = succession_vectors(log, vectors.shape[1], reach, file_order=file_order)
    length = np.sqrt(np.square(own).sum(1).mean())
    return own * (np.sqrt(np.square(vectors).sum(1).mean()) / length if length else 0.0)
