"""Learning from rewards in a log that another policy chose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import GeneratedLog
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.pretrain import PretrainConfig
from jaxrec.data import Log
from jaxrec.data.generated import draw_tastes
from jaxrec.nets.policy import make_policy
from jaxrec.nets.scores import Items
from jaxrec.ops.losses import corrected_weights
from jaxrec.ops.softmax import log_chances
from jaxrec.supervised.off_policy import Rows, fresh_behaviour, off_policy_loss, returns_of_rows
from jaxrec.supervised.pretrain import PretrainData, make_pretraining
from jaxrec.supervised.pretrain_batches import Plan, steps_per_epoch
from jaxrec.supervised.user_windows import make_windows
from jaxrec.types import EnvSpec, Observation, SlateAction, World


def test_weights_are_worked_by_hand() -> None:
    pi, beta = jnp.log(jnp.array([0.2, 0.5, 0.9])), jnp.log(jnp.array([0.4, 0.1, 0.3]))
    np.testing.assert_allclose(corrected_weights(pi, beta, 4.0, 1), [0.5, 4.0, 3.0], rtol=1e-6)  # the second is 5
    # K (1 - pi)^(K - 1) for K = 3: 3 x .8^2, 3 x .5^2, 3 x .1^2
    np.testing.assert_allclose(corrected_weights(pi, beta, 4.0, 3), [0.5 * 1.92, 4 * 0.75, 3 * 0.03], rtol=1e-5)


def test_the_top_k_multiplier_is_the_slope_of_the_chance_to_be_among_k() -> None:
    pi = jnp.array([0.05, 0.3, 0.7])
    slope = jax.vmap(jax.grad(lambda p: 1 - (1 - p) ** 4))(pi)
    np.testing.assert_allclose(corrected_weights(jnp.log(pi), jnp.log(pi), 2.0, 4), slope, rtol=1e-5)


def test_log_chances_are_those_of_the_softmax_whatever_the_chunk() -> None:
    rng = np.random.default_rng(0)
    queries, vectors, bias = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((7, 3), (5, 3), (5,)))
    targets = jnp.array([0, 4, 2, 2, 1, 3, 0])
    want = jax.nn.log_softmax(queries @ vectors.T + bias[None])[jnp.arange(7), targets]
    for chunk in (1, 3, 7, 100):
        np.testing.assert_allclose(log_chances(queries, vectors, bias, targets, chunk), want, rtol=1e-5)


def test_the_loss_and_its_gradient_are_those_of_the_equations() -> None:
    rng = np.random.default_rng(1)
    queries, vectors, bias = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((4, 3), (5, 3), (5,)))
    behaviour = fresh_behaviour(jax.random.key(0), 5, 3)
    behaviour = behaviour | {"bias": jnp.array([1.0, 0.0, -1.0, 0.5, 0.0])}
    target, valid, reward = jnp.array([0, 2, 4, 1]), jnp.array([1.0, 1.0, 1.0, 0.0]), jnp.array([1.0, 0.5, -1.0, 9.0])

    def loss(queries, vectors, bias, behaviour, cap=1.5):
        rows = Rows(queries, target, valid, reward)
        return off_policy_loss(rows, Items(vectors, bias), behaviour, cap=cap, top_k=2, chunk=2)

    (got, metrics), slopes = jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True)(queries, vectors, bias, behaviour)
    hidden = np.tanh(queries @ behaviour["hidden"]["kernel"])
    own = hidden @ behaviour["query"]["kernel"]
    log_pi, log_beta = (
        np.asarray(jax.nn.log_softmax(x))
        for x in (queries @ vectors.T + bias[None], own @ vectors.T + behaviour["bias"][None])
    )
    at = np.arange(3), np.asarray(target[:3])
    pi, beta = np.exp(log_pi[at]), np.exp(log_beta[at])
    weight = np.minimum(pi / beta, 1.5) * 2 * (1 - pi)
    policy = -(weight * np.asarray(reward[:3]) * log_pi[at]).sum() / 3
    assert float(metrics["policy_loss"]) == pytest.approx(policy, rel=1e-5)
    assert float(metrics["behaviour_loss"]) == pytest.approx(-log_beta[at].mean(), rel=1e-5)
    assert float(got) == pytest.approx(policy - log_beta[at].mean(), rel=1e-5)
    assert float(metrics["capped"]) == pytest.approx((pi / beta > 1.5).mean())
    # The gradient by the bias of the policy: -mean w R (one-hot - pi); that of the behaviour: mean (beta - one-hot).
    chosen, every = np.eye(5)[np.asarray(target[:3])], np.exp(log_pi[:3])
    want = -((weight * np.asarray(reward[:3]))[:, None] * (chosen - every)).sum(0) / 3
    np.testing.assert_allclose(slopes[2], want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(slopes[3]["bias"], (np.exp(log_beta[:3]) - chosen).mean(0), rtol=1e-4, atol=1e-6)


def test_rewards_of_later_rows_of_the_same_user_are_discounted() -> None:
    user = np.array([0, 0, 0, 1, 1], np.int32)
    log = Log(user, np.zeros(5, np.int32), np.arange(5), np.ones((5, 1), np.float32), ("liked",), 2, 1)
    reward = np.array([1.0, 0.0, 2.0, 0.0, 4.0])
    np.testing.assert_array_equal(returns_of_rows(log, reward, 0.5), [1.5, 1.0, 2.0, 2.0, 4.0])
    np.testing.assert_array_equal(returns_of_rows(log, reward, 0.0), reward)


def test_fields_that_the_loss_does_not_read_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"pretrain\.top_k: not read with pretrain\.loss=cross_entropy; remove it"):
        PretrainConfig(top_k=5)
    with pytest.raises(InputError, match=r"pretrain\.target: reinforce learns from all rows .* set it to next"):
        PretrainConfig(loss="reinforce", target="liked")
    with pytest.raises(InputError, match=r"pretrain\.negatives: reinforce needs the exact softmax; set it to 0"):
        PretrainConfig(loss="reinforce", negatives=64)


SIZES = GeneratedLog(items=20, users=600, topics=4, topics_liked=2, interactions=6, quality=1.5)


def biased_log():
    """A log of generated users whose policy pushes what few of them like -> chances [U, I] to like, log."""
    rng = np.random.default_rng(5)
    tastes = draw_tastes(SIZES, rng)
    pushed = np.exp(-tastes.quality)  # the worse item of two that differ by 1 is shown 2.7 times as often
    shown, size = pushed / pushed.sum(), SIZES.interactions
    item = np.stack([rng.choice(SIZES.items, size, replace=False, p=shown) for _ in range(SIZES.users)]).reshape(-1)
    user = np.repeat(np.arange(SIZES.users), size)
    chance = np.stack([tastes.like_probability(u) for u in range(SIZES.users)])
    liked = (rng.random(user.shape) < chance[user, item]).astype(np.float32)
    time = np.tile(np.arange(size), SIZES.users)
    log = Log(user.astype(np.int32), item.astype(np.int32), time, liked[:, None], ("liked",), SIZES.users, SIZES.items)
    return tastes, chance, log


def true_reward(world: World, log: Log, chance: np.ndarray, **fields) -> float:
    """Chance that a user likes the best new item of a policy that was trained on the log."""
    config = PretrainConfig(dropout=0.0, batch_size=64, epochs=40, learning_rate=3e-3, steps_per_call=1, **fields)
    spec = EnvSpec(
        name="log",
        action=SlateAction(size=1),
        num_items=20,
        feedback=("liked",),
        reward_weights=(1.0,),
        history_length=6,
    )
    policy = make_policy(spec, PolicyConfig(encoder="mean", width=16, hidden=(16,), item_residual=True))
    rows, buckets = make_windows(log, log.item, 6, 64 * 6)
    data = PretrainData(rows, jnp.asarray(log.item), jnp.zeros(20), jnp.asarray(log.feedback[:, 0]))
    plan = Plan(buckets, SIZES.users, 64 * 6, 0)
    pretraining = make_pretraining(policy, config, plan, 1)
    steps = config.epochs * steps_per_epoch(config, plan)
    state = jax.jit(pretraining.init)(jax.random.key(0), world)
    many = jax.jit(lambda s: jax.lax.scan(lambda s, _: pretraining.update(s, world, data), s, None, length=steps))
    params = many(state)[0].params
    histories, answers = log.item.reshape(SIZES.users, 6), log.feedback.reshape(SIZES.users, 6, 1)
    obs = Observation(history_items=jnp.asarray(histories), history_feedback=jnp.asarray(answers))
    output = policy.apply(params, policy.items(params, world), obs, world)
    return float(chance[np.arange(SIZES.users), np.asarray(output.logits).argmax(-1)].mean())


def test_correction_earns_more_true_reward_in_a_biased_log() -> None:
    tastes, chance, log = biased_log()
    world = World(item_table=jnp.asarray(np.eye(4)[tastes.topic], jnp.float32))
    corrected = true_reward(world, log, chance, loss="reinforce", weight_cap=20.0)
    # A cap below all ratios gives every row the same weight: the same loss without correction.
    uncorrected = true_reward(world, log, chance, loss="reinforce", weight_cap=1e-3)
    assert corrected > uncorrected + 0.08 > log.feedback.mean()
