import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.checks import InputError
from jaxrec.nets.history import HISTORY_ENCODERS, ProfileHistory, make_history_encoder, sums_of_rows

LENGTH, ROW, KINDS, WIDTH = 6, 5, 2, 8
encoders = pytest.mark.parametrize("name", HISTORY_ENCODERS)


class Compiled(NamedTuple):
    """An encoder's `apply`, compiled: these tests would otherwise compile every operation by itself."""

    apply: Callable


def compiled(module: nn.Module) -> Compiled:
    return Compiled(jax.jit(module.apply, static_argnames="last"))


@functools.cache
def make(name: str):
    """An encoder with parameters and a random full history."""
    key_rows, key_feedback, key_params = jax.random.split(jax.random.key(0), 3)
    rows = jax.random.normal(key_rows, (3, LENGTH, ROW))
    feedback = jax.random.bernoulli(key_feedback, 0.5, (3, LENGTH, KINDS)).astype(jnp.float32)
    mask = jnp.ones((3, LENGTH), bool)
    module = make_history_encoder(name, WIDTH, layers=2, heads=2)
    return compiled(module), jax.jit(module.init)(key_params, rows, feedback, mask), rows, feedback, mask


def pad_left(x: jax.Array, value: float = 0) -> jax.Array:
    return jnp.concatenate([jnp.full_like(x, value), x], axis=1)  # twice as long


@encoders
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_there_is_one_state_more_than_positions_for_any_leading_axes(name: str, lead: tuple) -> None:
    module, params, *_ = make(name)
    inputs = jnp.zeros((*lead, LENGTH, ROW)), jnp.zeros((*lead, LENGTH, KINDS)), jnp.ones((*lead, LENGTH), bool)
    assert jax.eval_shape(module.apply, params, *inputs).shape == (*lead, LENGTH + 1, WIDTH)
    last = functools.partial(module.apply, last=True)
    assert jax.eval_shape(last, params, *inputs).shape == (*lead, WIDTH)


@encoders
def test_a_batch_answers_as_its_members_do(name: str) -> None:
    module, params, rows, feedback, mask = make(name)
    whole = module.apply(params, rows, feedback, mask)
    np.testing.assert_allclose(whole[1], module.apply(params, rows[1], feedback[1], mask[1]), atol=1e-5)


@encoders
def test_left_padding_gives_the_same_last_state(name: str) -> None:
    module, params, rows, feedback, mask = make(name)
    want = module.apply(params, rows, feedback, mask)[:, -1]
    padded = pad_left(rows, 7.0), pad_left(feedback, 1.0), pad_left(mask)
    np.testing.assert_allclose(module.apply(params, *padded)[:, -1], want, atol=1e-5)
    np.testing.assert_allclose(module.apply(params, *padded, last=True), want, atol=1e-5)


@encoders
def test_an_empty_position_in_the_middle_repeats_the_state_before_it(name: str) -> None:
    module, params, rows, feedback, mask = make(name)
    without = module.apply(params, *(jnp.delete(x, 2, axis=1) for x in (rows, feedback, mask)))
    states = module.apply(params, rows, feedback, mask.at[:, 2].set(False))
    np.testing.assert_allclose(states[:, 3], states[:, 2], atol=1e-6)
    np.testing.assert_allclose(jnp.delete(states, 3, axis=1), without, atol=1e-5)


@encoders
def test_a_state_has_seen_the_positions_before_it_and_no_other(name: str) -> None:
    module, params, rows, feedback, mask = make(name)
    before = module.apply(params, rows, feedback, mask)
    for changed in (
        module.apply(params, rows.at[:, 3].set(-rows[:, 3]), feedback, mask),
        module.apply(params, rows, feedback.at[:, 3].add(1.0), mask),
    ):
        np.testing.assert_array_equal(changed[:, :4], before[:, :4])
        assert (jnp.abs(changed[:, 4:] - before[:, 4:]).max(-1) > 1e-4).all()


@encoders
def test_the_last_state_alone_equals_the_last_of_all(name: str) -> None:
    module, params, rows, feedback, mask = make(name)
    mask = mask.at[0, :4].set(False).at[1, 5].set(False)  # left padding, and a hole at the end
    want = module.apply(params, rows, feedback, mask)[:, -1]
    np.testing.assert_allclose(module.apply(params, rows, feedback, mask, last=True), want, atol=1e-5)


@encoders
def test_an_empty_history_and_its_gradient_are_finite(name: str) -> None:
    module, params, rows, feedback, mask = make(name)
    nothing, zeros = jnp.zeros_like(mask), jnp.zeros_like(rows)
    states = module.apply(params, zeros, feedback, nothing)
    np.testing.assert_array_equal(states, jnp.broadcast_to(states[:1, :1], states.shape))
    gradient = jax.jit(jax.grad(lambda p: (module.apply(p, zeros, feedback, nothing) ** 2).sum()))(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in [states, *jax.tree.leaves(gradient)])


@pytest.mark.parametrize("name", [name for name in HISTORY_ENCODERS if name != "profile"])
def test_rows_reach_the_weights_at_unit_size_whatever_their_length(name: str) -> None:
    module, params, rows, feedback, mask = make(name)
    want = module.apply(params, rows, feedback, mask)
    np.testing.assert_allclose(module.apply(params, rows * 30, feedback, mask), want, atol=1e-4)


def features_of(rates: tuple[float, ...], rows, feedback, mask, last: bool = False) -> np.ndarray:
    """What the profile's only layer reads: GELU of it, with the identity in the layer's place."""
    module = ProfileHistory(width=2 * len(rates) * feedback.shape[-1] * (rows.shape[-1] + 1), rates=rates)
    identity = {"params": {"read": {"kernel": jnp.eye(module.width), "bias": jnp.zeros(module.width)}}}
    return np.asarray(module.apply(identity, rows, feedback, mask, last=last))


def test_a_profile_of_two_items_is_worked_by_hand() -> None:
    rows, feedback = jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.array([[1.0], [0.0]])
    states = features_of((0.5,), rows, feedback, jnp.ones(2, bool))
    # Means with and then without the answer, then log1p of both counts. First nothing; then the first item alone,
    # counted once: [2, 0] / 2. Then it counts a half: [1, 0] / 1.5, and the other, without the answer, [0, 4] / 2.
    want = [
        [0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, np.log(2), 0],
        [2 / 3, 0, 0, 2, np.log(1.5), np.log(2)],
    ]
    np.testing.assert_allclose(states, nn.gelu(jnp.array(want)), atol=1e-6)
    np.testing.assert_allclose(features_of((0.5,), rows, feedback, jnp.ones(2, bool), last=True), states[-1], atol=1e-6)


def test_a_profile_reads_rows_as_they_are_and_joins_its_rates() -> None:
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.normal(size=(3, LENGTH, ROW)), jnp.float32)
    feedback = jnp.asarray(rng.random((3, LENGTH, KINDS)) < 0.5, jnp.float32)
    mask = jnp.asarray(rng.random((3, LENGTH)) < 0.6)
    got = features_of((0.0, 0.3), rows, feedback, mask, last=True)
    want = []
    for user in range(3):
        seen, parts = np.flatnonzero(mask[user]), []
        for rate in (0.0, 0.3):
            weight = (1 - rate) ** np.arange(len(seen))[::-1]  # padding anywhere makes nobody older
            kinds = np.concatenate([feedback[user], 1 - feedback[user]], 1)[seen] * weight[:, None]
            count = kinds.sum(0)
            parts += [((kinds.T @ np.asarray(rows[user])[seen]) / (count[:, None] + 1)).ravel(), np.log1p(count)]
        want.append(np.concatenate(parts))
    np.testing.assert_allclose(got, nn.gelu(jnp.asarray(np.array(want), jnp.float32)), atol=1e-5)


def test_a_profile_of_feedback_outside_zero_and_one_stays_finite() -> None:
    feedback = jnp.array([[30.0], [-1.0]])
    got = features_of((0.0,), jnp.eye(2), feedback, jnp.ones(2, bool), last=True)
    want = [30 / 31, 0, 0, 2 / 3, np.log(31), np.log(3)]  # counts as 30 with the answer, and as two without it
    np.testing.assert_allclose(got, nn.gelu(jnp.array(want)), atol=1e-5)


def test_the_mean_forgets_order_and_the_others_do_not() -> None:
    for name in HISTORY_ENCODERS:
        module, params, rows, feedback, mask = make(name)
        forward = module.apply(params, rows, feedback, mask, last=True)
        backward = module.apply(params, rows[:, ::-1], feedback[:, ::-1], mask, last=True)
        assert bool(jnp.allclose(forward, backward, atol=1e-5)) == (name == "mean")


def test_dropout_acts_only_where_a_key_is_given() -> None:
    _, params, rows, feedback, mask = make("transformer")
    module = compiled(make_history_encoder("transformer", WIDTH, layers=2, heads=2, dropout=0.5))
    quiet = module.apply(params, rows, feedback, mask)
    np.testing.assert_array_equal(quiet, make("transformer")[0].apply(params, rows, feedback, mask))
    noisy = module.apply(params, rows, feedback, mask, rngs={"dropout": jax.random.key(1)})
    assert not jnp.allclose(quiet, noisy)


def test_kernels_can_start_orthogonal() -> None:
    module = make_history_encoder("gru", WIDTH, kernel_init=nn.initializers.orthogonal())
    rows, feedback = jnp.ones((1, LENGTH, ROW)), jnp.ones((1, LENGTH, KINDS))
    p = jax.jit(module.init)(jax.random.key(0), rows, feedback, jnp.ones((1, LENGTH), bool))["params"]
    np.testing.assert_allclose(p["kernel"] @ p["kernel"].T, np.eye(ROW + KINDS), atol=1e-5)
    for gate in jnp.split(p["recurrent"], 3, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(WIDTH), atol=1e-5)


def test_bad_names_widths_and_shapes_are_named() -> None:
    with pytest.raises(InputError, match="did you mean 'transformer'"):
        make_history_encoder("transfomer", 8)
    with pytest.raises(InputError, match="a width that 3 heads divide, got 8"):
        make_history_encoder("transformer", 8, heads=3)
    module, params, rows, feedback, mask = make("mean")
    with pytest.raises(InputError, match=r"mask: expected shape \(3, 6\), got \(3, 5\)"):
        module.apply(params, rows, feedback, mask[:, 1:])


@pytest.mark.parametrize("items", [5, 500])  # a product with the whole table, and a gather
def test_a_profile_of_a_table_is_that_of_its_rows(items: int) -> None:
    keys = jax.random.split(jax.random.key(3), 4)
    table, ids = jax.random.normal(keys[0], (items, 3)), jax.random.randint(keys[1], (2, 3, 7), 0, items)
    feedback = jax.random.uniform(keys[2], (2, 3, 7, 2))
    mask = jnp.arange(7)[None, None] >= jnp.array([[0, 3, 7], [1, 2, 6]])[..., None]  # one history is empty
    module = ProfileHistory(width=4)
    params = module.init(keys[3], table[ids], feedback, mask, last=True)

    def by_rows(table):
        return module.apply(params, table[ids], feedback, mask, last=True)

    def by_table(table):
        return module.apply(params, table, feedback, mask, last=True, ids=ids)

    np.testing.assert_allclose(by_table(table), by_rows(table), rtol=1e-5, atol=1e-6)
    got, want = (jax.grad(lambda x, f=f: (f(x) ** 2).sum())(table) for f in (by_table, by_rows))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_weighted_sums_of_rows_by_hand() -> None:
    table, ids = jnp.array([[1.0, 0.0], [0.0, 2.0], [5.0, 5.0]]), jnp.array([1, 0, 1])
    weights = jnp.array([[1.0, 0.0], [3.0, 1.0], [0.5, 2.0]])  # [H, C]
    # Column 0: 1.5 of row 1 and 3 of row 0. Column 1: 2 of row 1 and 1 of row 0.
    np.testing.assert_array_equal(sums_of_rows(weights, table, ids), [[3.0, 3.0], [1.0, 4.0]])
