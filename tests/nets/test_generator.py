import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.pretrain import PretrainConfig
from jaxrec.generate.codes import add_last_code, vocabulary
from jaxrec.generate.recommender import Catalogue, history_of, slates
from jaxrec.generate.training import GenerativeData, make_generative, window_loss
from jaxrec.generate.trie import make_trie
from jaxrec.nets.generator import Generator, History, Shape, init_generator
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.pretrain_batches import Plan
from jaxrec.supervised.user_windows import Bucket, Window, WindowRows
from jaxrec.types import Array, Observation, Params
from tests.quick import slow_unless

ITEMS, ROWS = 40, 4
CODES = add_last_code(np.random.default_rng(0).integers(0, 4, (ITEMS, 2)))
SIZES = vocabulary(CODES, 4)


DECODER_QUICK = slow_unless(["decoder"], ["decoder", "encoder_decoder"])


@pytest.fixture(params=["decoder", "encoder_decoder"], scope="module")
def built(request: pytest.FixtureRequest) -> tuple[Shape, Params, Catalogue]:
    shape = Shape(SIZES, request.param, width=16, layers=2, heads=2, hidden=16)
    table = jnp.asarray(np.random.default_rng(1).normal(size=(ITEMS, 5)), jnp.float32)
    params = compiled(init_generator, static=(0, 2, 3, 4))(shape, jax.random.key(0), 1, 5, 2)
    return shape, params, Catalogue(jnp.asarray(CODES), table, make_trie(CODES, SIZES))


def some_history(catalogue: Catalogue, batch: int = 2, rows: int = ROWS + 1) -> tuple[Array, History]:
    rng = np.random.default_rng(2)
    items = jnp.asarray(np.stack([rng.permutation(ITEMS)[:rows] for _ in range(batch)]), jnp.int32)
    feedback = jnp.asarray(rng.integers(0, 2, (batch, rows, 1)), jnp.float32)
    context = jnp.asarray(rng.normal(size=(batch, 1, 2)) * np.ones((1, rows, 1)), jnp.float32)
    return items, history_of(catalogue, items, feedback, context)


def every_row(shape: Shape, params: Params, history: History, sees: Array) -> list[np.ndarray]:
    sees = jnp.broadcast_to(sees[None], (history.codes.shape[0], *sees.shape))
    call = compiled(lambda p, h, s: Generator(shape).apply({"params": p}, h, s, method="every_row"))
    return [np.asarray(one) for one in call(params, history, sees)]


def earlier(rows: int) -> Array:
    return jnp.tril(jnp.ones((rows, rows), bool), -1)


def test_writing_code_by_code_equals_teacher_forcing(built: tuple[Shape, Params, Catalogue]) -> None:
    shape, params, catalogue = built
    items, history = some_history(catalogue)
    want = every_row(shape, params, history, earlier(ROWS + 1))
    # Empty rows on the left, as histories of short users have them, change nothing.
    empty = jnp.full((2, 3), -1, jnp.int32)
    context = history.context
    assert context is not None
    padded = history_of(
        catalogue,
        jnp.concatenate([empty, items[:, :ROWS]], axis=1),
        jnp.concatenate([jnp.ones((2, 3, 1)), history.feedback[:, :ROWS]], axis=1),
        jnp.concatenate([jnp.ones((2, 3, 2)), context[:, :ROWS]], axis=1),
    )
    valid = jnp.broadcast_to(jnp.arange(3 + ROWS) >= 3, (2, 3 + ROWS))

    def write(params: Params) -> list[Array]:
        generator, carried, logits = Generator(shape), None, []
        memory = generator.apply({"params": params}, padded, valid, method="remember")
        for level in range(len(SIZES)):
            before = None if level == 0 else history.codes[:, ROWS:, level - 1]
            visit = context[:, ROWS:] if level == 0 else None
            one, carried = generator.apply({"params": params}, level, memory, carried, before, visit, method="write")
            logits.append(one[:, 0])
        return logits

    for level, got in enumerate(compiled(write)(params)):
        np.testing.assert_allclose(got, want[level][:, ROWS], atol=2e-5)


def test_a_row_reads_nothing_of_itself_of_later_rows_and_of_its_moment(built: tuple[Shape, Params, Catalogue]) -> None:
    shape, params, catalogue = built
    items, history = some_history(catalogue)
    sees = earlier(ROWS + 1).at[2, 1].set(False)  # rows 1 and 2 are of one moment
    before = every_row(shape, params, history, sees)
    other = history_of(catalogue, items.at[:, 1].add(1) % ITEMS, history.feedback, history.context)
    after = every_row(shape, params, other, sees)
    np.testing.assert_allclose(before[0][:, :3], after[0][:, :3], atol=1e-6)
    np.testing.assert_allclose(before[1][:, 2], after[1][:, 2], atol=1e-6)
    assert np.abs(before[0][:, 3] - after[0][:, 3]).max() > 1e-3  # the rows after it do read it
    answered = every_row(shape, params, history._replace(feedback=history.feedback.at[:, 1].add(1.0)), sees)
    for level in range(len(SIZES)):  # an answer tells nothing of the codes of its own row
        np.testing.assert_allclose(before[level][:, :3], answered[level][:, :3], atol=1e-6)
    assert np.abs(before[0][:, 3] - answered[0][:, 3]).max() > 1e-3


@pytest.mark.parametrize("built", DECODER_QUICK, indirect=True, scope="module")
def test_a_full_beam_has_the_chances_of_every_item(built: tuple[Shape, Params, Catalogue]) -> None:
    shape, params, catalogue = built
    items, history = some_history(catalogue, rows=ROWS)
    assert history.context is not None
    obs = Observation(
        history_items=items, history_feedback=history.feedback, context=jnp.asarray(history.context[:, 0])
    )
    run = compiled(lambda p, c, o: slates(shape, p, c, o, ROWS, ITEMS, repeats=True))
    slate = run(params, catalogue, obs)
    np.testing.assert_allclose(np.exp(slate.scores).sum(1), 1.0, rtol=1e-4)
    # By teacher forcing, with each item in turn as the row after the history.
    for user in range(2):
        rows = jnp.concatenate([jnp.broadcast_to(items[user], (ITEMS, ROWS)), jnp.arange(ITEMS)[:, None]], axis=1)
        whole = history_of(
            catalogue,
            rows,
            jnp.concatenate([jnp.broadcast_to(history.feedback[user], (ITEMS, ROWS, 1)), jnp.zeros((ITEMS, 1, 1))], 1),
            jnp.broadcast_to(history.context[user][:1], (ITEMS, ROWS + 1, 2)),
        )
        logits = [one[:, ROWS] for one in every_row(shape, params, whole, earlier(ROWS + 1))]
        want = np.zeros(ITEMS)
        for item, own in enumerate(CODES):
            for level, code in enumerate(own):
                allowed = np.unique(CODES[(CODES[:, :level] == own[:level]).all(1), level])
                row = logits[level][item]
                want[item] += row[code] - np.log(np.exp(row[allowed]).sum())
        np.testing.assert_allclose(slate.scores[user], want[np.asarray(slate.items[user])], atol=1e-4)
    shown = np.asarray(compiled(lambda p, c, o: slates(shape, p, c, o, ROWS, 10))(params, catalogue, obs).items)
    assert not (shown[:, :, None] == np.asarray(items)[:, None]).any()


def one_user(catalogue: Catalogue, moments: list[int]) -> tuple[GenerativeData, Window]:
    count = len(moments)
    item = jnp.arange(count, dtype=jnp.int32)
    column = (jnp.zeros(1, jnp.int32),)
    rows = WindowRows(
        items=item,
        feedback=jnp.ones((count, 1)),
        context=jnp.zeros((count, 2)),
        moment=jnp.asarray(moments, jnp.int32),
        target=item.at[0].set(-1),
        user=column,
        begin=column,
        end=(jnp.full(1, count, jnp.int32),),
        start=column,
    )
    valid = jnp.ones((1, count), bool)
    return GenerativeData(rows, catalogue), Window(item[None], valid, jnp.zeros_like(valid))


def test_the_loss_is_the_sum_over_codes_of_the_targets(built: tuple[Shape, Params, Catalogue]) -> None:
    shape, params, catalogue = built
    data, window = one_user(catalogue, [0, 1, 2, 2, 4])
    total, count = compiled(lambda p, d, w: window_loss(shape, p, d, w, None))(params, data, window)
    history = history_of(catalogue, data.rows.items[None], data.rows.feedback[None], jnp.zeros((1, 5, 2)))
    logits = every_row(shape, params, history, earlier(5).at[3, 2].set(False))
    chance = [np.asarray(jax.nn.log_softmax(jnp.asarray(one[0]), axis=-1)) for one in logits]
    want = -sum(chance[level][row, CODES[row, level]] for row in range(1, 5) for level in range(3))
    assert float(count) == 4 and float(total) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("built", DECODER_QUICK, indirect=True, scope="module")
def test_training_learns_the_order_of_a_log(built: tuple[Shape, Params, Catalogue]) -> None:
    shape, _, catalogue = built
    data, _ = one_user(catalogue, [0, 1, 2, 3, 4])
    config = PretrainConfig(model="generative", epochs=60, batch_size=1, learning_rate=1e-2, dropout=0.1)
    plan = Plan((Bucket(5, 1, 1),), num_users=1, positions=5, negatives=0)
    training = make_generative(shape._replace(dropout=0.1), config, plan, 1, 5, 2)
    state = compiled(training.init)(jax.random.key(0))

    def many(state, data):
        return jax.lax.scan(lambda s, _: training.update(s, data), state, None, length=120)

    state, metrics = compiled(many)(state, data)
    loss = np.asarray(metrics["loss"])
    assert loss[-1] < 0.1 * loss[0] and int(state.step) == 120
    seen, answers = jnp.array([[0, 1, 2]], jnp.int32), jnp.ones((1, 3, 1))
    obs = Observation(history_items=seen, history_feedback=answers, context=jnp.zeros((1, 2)))
    slate = compiled(lambda p, c, o: slates(shape, p, c, o, 3, 5))(state.params, catalogue, obs)
    assert int(slate.items[0, 0]) == 3
