import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.generate.beam import Slate, beam_search, free_search, scores_of_items
from jaxrec.generate.codes import add_last_code, vocabulary
from jaxrec.generate.trie import Trie, children, make_trie, size_in_bytes, used_up
from jaxrec.sharding.compile import compiled
from jaxrec.types import PADDING

ITEMS = 200


def catalogue(items: int = ITEMS, size: int = 6, seed: int = 0) -> tuple[np.ndarray, tuple[int, ...]]:
    codes = add_last_code(np.random.default_rng(seed).integers(0, size, (items, 2)))
    return codes, vocabulary(codes, size)


def prefix_logits(sizes: tuple[int, ...], seed: int = 0):
    """Logits of every prefix, and a step that reads them: a model whose logits depend on all earlier codes."""
    rng = np.random.default_rng(seed)
    tables = [
        jnp.asarray(rng.normal(size=(int(np.prod(sizes[:level], initial=1)), size)), jnp.float32)
        for level, size in enumerate(sizes)
    ]

    def step(level, carried, code, parent):
        prefix = jnp.zeros(1, jnp.int32) if code is None else carried[parent] * sizes[level - 1] + code
        return tables[level][prefix], prefix

    return [np.asarray(table) for table in tables], step


def brute_force(codes: np.ndarray, tables: list[np.ndarray], sizes: tuple[int, ...]) -> np.ndarray:
    """Log chance of every item, by the softmax over the codes that some item has after each prefix."""
    total = np.zeros(len(codes))
    for item, own in enumerate(codes):
        prefix = 0
        for level, size in enumerate(sizes):
            same = (codes[:, :level] == own[:level]).all(1)
            allowed = np.unique(codes[same, level])
            logits = tables[level][prefix].astype(np.float64)
            total[item] += logits[own[level]] - np.log(np.exp(logits[allowed]).sum())
            prefix = prefix * size + own[level]
    return total


def found(trie: Trie, step, history: list[int], beams: int, **options) -> Slate:
    return compiled(lambda h: beam_search(step, trie, h, beams, **options))(jnp.asarray(history, jnp.int32))


def test_children_are_the_codes_that_come_after_a_prefix() -> None:
    codes = np.array([[1, 0], [0, 2], [1, 3], [0, 1], [2, 2]])
    trie = make_trie(codes, (4, 4))
    assert trie.codes[0].tolist() == [0, 1, 2] and trie.widest == (3, 2) and trie.items.tolist() == [3, 1, 0, 2, 4]
    below = children(trie, 1, jnp.array([0, 2]))
    assert below.real.tolist() == [[True, True], [True, False]]
    assert below.codes[0].tolist() == [1, 2] and int(below.codes[1, 0]) == 2
    assert trie.leaf.tolist() == [2, 1, 3, 0, 4]


def test_a_full_beam_equals_brute_force_on_200_items() -> None:
    codes, sizes = catalogue()
    trie, (tables, step) = make_trie(codes, sizes), prefix_logits(sizes)
    want = brute_force(codes, tables, sizes)
    assert np.exp(want).sum() == pytest.approx(1.0)
    slate = found(trie, step, [PADDING], ITEMS)
    assert sorted(slate.items.tolist()) == list(range(ITEMS))
    np.testing.assert_allclose(slate.scores, want[np.asarray(slate.items)], atol=2e-5)
    assert (np.diff(np.asarray(slate.scores)) <= 0).all()
    np.testing.assert_allclose(scores_of_items(slate, ITEMS), want, atol=2e-5)


@pytest.mark.parametrize("beams", [10, 40])
def test_a_narrow_beam_equals_a_search_in_numpy(beams: int) -> None:
    codes, sizes = catalogue(seed=1)
    trie, (tables, step) = make_trie(codes, sizes), prefix_logits(sizes, 1)
    history = {5, 17, 60}
    live = [((), 0.0)]
    for level in range(len(sizes)):
        longer = []
        for own, score in live:
            same = (codes[:, :level] == own).all(1) if own else np.ones(ITEMS, bool)
            prefix = int(np.ravel_multi_index(own, sizes[:level])) if own else 0
            logits = tables[level][prefix].astype(np.float64)
            allowed = np.unique(codes[same, level])
            norm = np.log(np.exp(logits[allowed]).sum())
            for code in allowed:
                items = set(np.flatnonzero(same & (codes[:, level] == code)))
                if items - history:
                    longer.append(((*own, int(code)), score + logits[code] - norm))
        live = sorted(longer, key=lambda one: -one[1])[:beams]
    items = [int(np.flatnonzero((codes == own).all(1))[0]) for own, _ in live]
    slate = found(trie, step, sorted(history), beams)
    assert slate.items.tolist() == items
    np.testing.assert_allclose(slate.scores, [score for _, score in live], atol=2e-5)


def test_prefixes_of_the_history_alone_are_used_up() -> None:
    codes = np.array([[0, 0], [0, 1], [1, 0], [2, 0]])
    trie = make_trie(codes, (3, 2), np.array([0, 1, 2, 3]))
    top, leaves = used_up(trie, jnp.array([PADDING, 0, 2, 2]))
    assert sorted(np.asarray(top[0])[np.asarray(top[1])].tolist()) == [1]  # of code 0, item 1 is left
    assert sorted(np.asarray(leaves[0])[np.asarray(leaves[1])].tolist()) == [0, 2]
    _, step = prefix_logits((3, 2))
    assert sorted(found(trie, step, [PADDING, 0, 2, 2], 4).items.tolist()) == [PADDING, PADDING, 1, 3]
    assert found(trie, step, [0, 1, 2, 3], 2).items.tolist() == [PADDING] * 2  # nothing is left
    assert sorted(found(trie, step, [0, 1, 2, 3], 4, repeats=True).items.tolist()) == [0, 1, 2, 3]


def test_many_slates_have_no_invalid_double_or_seen_item() -> None:
    codes, sizes = catalogue(150, 8)
    some = np.arange(0, 150, 2)
    trie, (_, step) = make_trie(codes, sizes, some), prefix_logits(sizes)
    rng = np.random.default_rng(0)
    history = rng.integers(-1, 150, (2000, 20)).astype(np.int32)
    noise = jnp.asarray(rng.normal(size=(2000, max(sizes))), jnp.float32)

    def one(seen, own):
        def noisy(level, carried, code, parent):
            logits, left = step(level, carried, code, parent)
            return logits + own[None, : sizes[level]], left

        return beam_search(noisy, trie, seen, 12)

    items = np.asarray(compiled(jax.vmap(one))(history, noise).items)
    assert (items != PADDING).all() and np.isin(items, some).all()
    assert (np.diff(np.sort(items, axis=1), axis=1) > 0).all()
    assert not (items[:, :, None] == history[:, None]).any()


def test_search_without_the_tree_finds_codes_of_no_item() -> None:
    codes, sizes = catalogue(30, 6)
    _, step = prefix_logits(sizes)
    free, scores = compiled(lambda: free_search(step, sizes, 50))()
    known = {tuple(row) for row in codes.tolist()}
    valid = [tuple(row) in known for row in np.asarray(free).tolist()]
    assert len({tuple(row) for row in np.asarray(free).tolist()}) == 50 and 0 < sum(valid) < 25
    best = np.asarray(scores)
    assert (best[1:] <= best[:-1]).all()


def test_the_tree_of_a_million_items_is_below_100_megabytes() -> None:
    codes = add_last_code(np.random.default_rng(0).integers(0, 256, (1_000_000, 3)))
    trie = make_trie(codes, vocabulary(codes, 256))
    assert 16e6 < size_in_bytes(trie) < 100e6


def test_two_items_with_one_code_are_refused() -> None:
    with pytest.raises(InputError, match="same code"):
        make_trie(np.array([[0, 1], [0, 1]]), (2, 2))
