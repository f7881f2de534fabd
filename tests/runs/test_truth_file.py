"""A file of known answers judges policies: the numbers of small matrices are worked out by hand."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.load import load_config
from jaxrec.config.logged import ComebackConfig, LoggedConfig, TemperConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.schema import Config
from jaxrec.data.generated import hidden_tastes
from jaxrec.data.log import Catalogue, Dataset, Log, Split
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.data.true_answers import TrueAnswers, read_true_answers
from jaxrec.envs import logged
from jaxrec.envs.logged_world import make_world
from jaxrec.evaluation import recommenders
from jaxrec.evaluation.measures import item_facts
from jaxrec.evaluation.scorers import Scorer
from jaxrec.evaluation.simulate import Recommender, Simulated, make_simulation
from jaxrec.nets.policy import make_policy
from jaxrec.runs.evaluate import evaluate
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.users.truth import world_of_file
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.types import World
from tests.constant_users import constant_response
from tests.tiny_tastes import random_tastes

NAN = np.nan
# Three items are in the matrix, the fourth is not. Everybody's only row is about the fourth, so nobody has a history.
MATRIX = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
ONE = LoggedConfig(slate_size=2, requests=1)
SCORES = jnp.array([3.0, 1.0, 2.0, 9.0])  # the best slate of the matrix is items 0 and 2


def corpus_of(rows: dict[str, list[int]], num_items: int = 4, kinds: tuple[str, ...] = ("liked",)) -> Corpus:
    """Training rows by user, all liked."""
    user = np.repeat(np.arange(len(rows)), [len(items) for items in rows.values()]).astype(np.int32)
    item = np.concatenate([np.array(items, np.int32) for items in rows.values()])
    ones = np.ones((len(user), len(kinds)), np.float32)
    log = Log(user, item, np.arange(len(user)), ones, kinds, len(rows), num_items)
    names = tuple(f"i{n}" for n in range(num_items))
    nothing = log.take(np.zeros(len(log), bool))
    dataset = Dataset(log, Catalogue(names, names, names), (), tuple(rows))
    return Corpus(dataset=dataset, split=Split(log, nothing, nothing), train=log, judge=nothing)


def fitted_world(corpus: Corpus, shown: np.ndarray | None = None) -> World:
    log = corpus.split.train
    tastes = random_tastes(log.num_items, 2, kinds=len(log.feedback_names))
    theta = jnp.zeros((1, log.num_users, len(log.feedback_names), 3))
    tastes = tastes.replace(draws=theta, means=theta[0])
    return make_world(tastes, log, np.eye(log.num_items, dtype=np.float32), log.num_items, shown)


def truth_of(matrix: np.ndarray, users: str = "ab", items: tuple[str, ...] = ("i0", "i1", "i2")) -> TrueAnswers:
    return TrueAnswers("truth.npz", tuple(users), items, matrix.reshape(len(users), len(items), -1).astype(np.float32))


def judged(truth: World, fitted: World, recommender: Recommender, config: LoggedConfig = ONE) -> Simulated:
    env = logged.make(config, fitted)
    facts = item_facts(np.eye(env.spec.num_items))
    return make_simulation(env, recommender, 100)(truth, facts, jax.random.key(0), 64)


@pytest.fixture(scope="module")
def run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("truth_file") / "run"
    shutil.copytree(tiny_run, copy)
    return copy


def fixed_policy(fitted: World, config: LoggedConfig = ONE) -> Recommender:
    """A policy whose logits are SCORES, whatever it observes: only the bias of its item tower has weights."""
    env = logged.make(config, fitted)
    policy = make_policy(env.spec, PolicyConfig(encoder="mean", width=4, hidden=(4,)))
    params = jax.tree.map(jnp.zeros_like, policy.init(jax.random.key(0), fitted))
    params["item_bias"]["kernel"] = SCORES[:, None]
    return recommenders.learned(policy, 2, (params, policy.items(params, fitted)))


def test_the_return_of_a_policy_in_a_matrix_of_two_people_and_three_items() -> None:
    corpus = corpus_of({"a": [3], "b": [3]})
    fitted = fitted_world(corpus)
    truth = world_of_file(truth_of(MATRIX), ONE, corpus, fitted)
    assert truth.recommendable.tolist() == [0, 1, 2]  # the fourth item has no answers, so it is not on offer
    policy = judged(truth, fitted, fixed_policy(fitted))
    # Items 0 and 2: the first likes both, the second none of them.
    assert set(policy.returns) == {0.0, 2.0} and policy.measured["coverage"] == pytest.approx(2 / 3)
    first = policy.returns == 2
    best = judged(truth, fitted, recommenders.greedy(ONE, fitted))
    np.testing.assert_array_equal(best.returns, np.where(first, 2, 1))  # the second likes item 1 alone
    second = judged(truth, fitted, recommenders.ranking(jnp.array([0.0, 3.0, 1.0, 9.0]), 2))
    np.testing.assert_array_equal(second.returns, 1)  # items 1 and 2: one like of each
    assert best.minus(policy)[0] == pytest.approx((~first).mean())


def test_answers_between_0_and_1_are_drawn() -> None:
    corpus = corpus_of({"a": [3]})
    fitted = fitted_world(corpus)
    truth = world_of_file(truth_of(np.array([[0.9, 0.0, 0.3]]), "a"), ONE, corpus, fitted)
    got = judged(truth, fitted, fixed_policy(fitted)).returns
    assert set(got) == {0.0, 1.0, 2.0} and abs(got.mean() - 1.2) < 4 * (0.09 + 0.21) ** 0.5 / 8


def test_items_whose_answer_is_unknown_are_not_shown_to_that_person() -> None:
    corpus = corpus_of({"a": [3], "b": [3]})
    fitted = fitted_world(corpus)
    matrix = np.array([[1.0, 0.0, 1.0], [NAN, 1.0, 0.0]])
    truth = world_of_file(truth_of(matrix), ONE, corpus, fitted)
    scorer = Scorer(lambda arrays, obs: jnp.broadcast_to(SCORES, (obs.history_items.shape[0], 4)))
    counts = jnp.arange(4.0)
    rivals = {
        "policy": fixed_policy(fitted),
        "scorer": recommenders.by_scorer(scorer, counts, 2),
        "ranking": recommenders.ranking(SCORES, 2),
    }
    for recommender in rivals.values():  # the first sees items 0 and 2, the second 2 and 1
        assert set(judged(truth, fitted, recommender).returns) == {2.0, 1.0}
    for recommender in (recommenders.uniform(2), recommenders.greedy(ONE, fitted)):
        shown = judged(truth, fitted, recommender).returns
        assert set(shown) <= {1.0, 2.0}  # item 0 would give the second a slate without a like
    env = logged.make(ONE, fitted)
    states, obs = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(jax.random.split(jax.random.key(0), 50), truth)
    np.testing.assert_array_equal(obs.mask, np.array([[True, True, True], [False, True, True]])[states.person])


def test_an_item_outside_the_matrix_is_answered_by_nobody() -> None:
    corpus = corpus_of({"a": [3], "b": [3]}, kinds=("liked", "disliked"))
    fitted = fitted_world(corpus)
    both = np.stack([MATRIX, 1 - MATRIX], axis=-1)
    truth = world_of_file(truth_of(both), ONE, corpus, fitted)
    env = logged.make(ONE, fitted)
    state, obs = env.reset(jax.random.key(1), truth)
    assert obs.mask is None  # everything is known
    row = both[int(state.person)]
    got = logged.answer_probabilities(state, truth, ONE)
    np.testing.assert_array_equal(got, np.concatenate([row, np.zeros((1, 2))]))
    np.testing.assert_array_equal(
        logged.answer_probabilities(state, truth, ONE, jnp.array([3, 2])), np.asarray(got)[[3, 2]]
    )


def test_people_with_too_few_answers_for_a_visit_are_left_out(capsys: pytest.CaptureFixture) -> None:
    # a: two of three answers known, none logged. b: three, of which two are in the history: one is left for a slate of
    # two. c: one answer. d is not in the log. e has rows only of the fourth item and three answers.
    corpus = corpus_of({"a": [3], "b": [0, 1, 3], "c": [3], "e": [3]})
    fitted = fitted_world(corpus)
    matrix = np.array([[1.0, NAN, 1.0], [1, 1, 1], [NAN, NAN, 1], [0, 0, 0], [0, 0, 1]])
    truth = world_of_file(truth_of(matrix, "abcde"), ONE, corpus, fitted)
    assert truth.users.known.p.shape == (2, 3, 1)  # a and e
    np.testing.assert_array_equal(truth.users.known.p[..., 0], [[1, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(truth.users.length, [1, 1])
    printed = capsys.readouterr().out
    assert "truth.npz has answers of 2 users and 3 items of this log, 16.7% of them unknown" in printed
    assert "2 users with too few known answers are left out" in printed
    again = world_of_file(truth_of(matrix, "abcde"), dataclasses.replace(ONE, repeats=True), corpus, fitted)
    assert again.users.known.p.shape[0] == 3  # b too: what is in the history may be shown


def test_only_what_policies_may_recommend_is_on_offer() -> None:
    corpus = corpus_of({"a": [3], "b": [3]})
    fitted = fitted_world(corpus, np.array([True, False, True, True]))
    truth = world_of_file(truth_of(MATRIX), dataclasses.replace(ONE, slate_size=1), corpus, fitted)
    assert truth.recommendable.tolist() == [0, 2]
    np.testing.assert_array_equal(truth.users.known.p[..., 0], [[1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("truth", "config", "want"),
    [
        (truth_of(MATRIX, "xy"), ONE, "none of its 2 users is in the training rows of the log; give ids as"),
        (truth_of(MATRIX, items=("x", "y", "z")), ONE, "none of its 3 items is in the training rows of the log and"),
        (truth_of(MATRIX * NAN), ONE, "none of its 2 users of the log has enough known answers for a visit (at"),
        (
            truth_of(MATRIX),
            LoggedConfig(slate_size=1, requests=3),
            "none of its 2 users of the log has enough known answers for a visit (at most 2)",
        ),
    ],
)  # fmt: skip
def test_a_file_of_other_people_or_items_is_refused(truth: TrueAnswers, config: LoggedConfig, want: str) -> None:
    corpus = corpus_of({"a": [3], "b": [3]})
    if config.requests == 3:
        truth = TrueAnswers(truth.name, truth.users, truth.items[:2], truth.answers[:, :2])
    with pytest.raises(InputError) as caught:
        world_of_file(truth, config, corpus, fitted_world(corpus))
    assert str(caught.value).startswith("evaluate.truth: truth.npz: ") and want in str(caught.value)


@pytest.mark.slow
def test_users_of_an_ensemble_are_judged_by_known_answers_too() -> None:
    """One environment serves worlds of different kinds of users; the oracle reads the matrix where there is one."""
    corpus = corpus_of({"a": [3], "b": [3]})
    config = LoggedConfig(slate_size=2, requests=1, response="last_rows", drift=0.5)
    members = [constant_response([0.5], 4) for _ in range(2)]
    fitted = make_world(members, corpus.split.train, np.eye(4, dtype=np.float32), 4)
    truth = world_of_file(truth_of(MATRIX), config, corpus, fitted)
    best = judged(truth, fitted, recommenders.greedy(config, fitted), config)
    assert set(best.returns) == {2.0, 1.0}
    assert set(judged(fitted, fitted, recommenders.greedy(config, fitted), config).returns) == {0.0, 1.0, 2.0}


def test_in_truth_an_episode_ends_when_the_user_leaves() -> None:
    """The days until people with known answers come back are unknown, so they have one visit."""
    corpus = corpus_of({"a": [3], "b": [3]}, num_items=8)
    leave, comeback = TemperConfig(start=1.5, target=1.0), ComebackConfig(sessions=3)
    config = LoggedConfig(
        slate_size=1, requests=3, reward={"liked": 1.0, "comeback_day": -0.1}, leave=leave, comeback_model=comeback
    )
    fitted = fitted_world(corpus)
    model = ComebackModel(jnp.zeros((1, 3)), jnp.zeros(1), jnp.asarray(0.1), jnp.asarray(0.4), source="seed")
    fitted = fitted.replace(users=fitted.users.replace(comeback=model))
    truth = world_of_file(truth_of(np.zeros((2, 3))), config, corpus, fitted)
    ended = judged(truth, fitted, recommenders.uniform(1), config)
    assert set(ended.lengths) == {1} and set(ended.returns) == {0.0}


def test_people_keep_their_private_ids_and_items_their_numbers(tmp_path: Path) -> None:
    """A log in files: pseudonyms order the users in another way than the file does."""
    names = [f"person {n}" for n in range(6)]
    rows = [f"{name},item{i},{i},{(i + n) % 2}\n" for n, name in enumerate(names) for i in (0, 1, 2, 7)]
    (tmp_path / "log.csv").write_text("user,item,time,liked\n" + "".join(rows))
    data = {"source": "files", "path": str(tmp_path), "item_file": "", "user_key_file": str(tmp_path / "key")}
    data |= {"feedback": {"liked": {"column": "liked"}}}
    (tmp_path / "recipe.yaml").write_text(json.dumps({"data": data, "env": {"name": "logged"}}))
    config = load_config(Config, tmp_path / "recipe.yaml")
    corpus = read_corpus(config)
    ids = corpus.dataset.catalogue.ids
    p = np.random.default_rng(0).random((6, 3)).astype(np.float32)
    order = [4, 0, 5, 2, 1, 3]
    np.savez(tmp_path / "t.npz", users=np.array(names)[order], items=["item7", "item0", "item2"], liked=p[order])
    assert config.data is not None
    truth = read_true_answers(str(tmp_path / "t.npz"), config.data)
    world = world_of_file(truth, LoggedConfig(slate_size=1, requests=1), corpus, fitted_world(corpus))
    known = {name: n for n, name in enumerate(pseudonymise(names, user_key(config.data).secret))}
    want = p[[known[user] for user in corpus.dataset.users]]
    columns = [("item7", "item0", "item2").index(ids[i]) for i in world.recommendable]
    np.testing.assert_array_equal(world.users.known.p[..., 0], want[:, columns])
    # Histories are those of the same people: the first answer is the parity of a person's number.
    first = np.asarray(world.users.feedback)[np.asarray(world.users.begin), 0]
    np.testing.assert_array_equal(first, [known[user] % 2 for user in corpus.dataset.users])


def generated_answers(run: Path) -> tuple[list[int], list[str], np.ndarray]:
    """Users, items and P(like) [U, I] of the people who wrote the run's log."""
    config = load_config(Config, run / "config.yaml")
    true = hidden_tastes(config.data.generated, config.seed)
    p = np.stack([true.like_probability(user) for user in range(len(true.interest))])
    return list(range(p.shape[0])), [str(n + 1) for n in range(p.shape[1])], p


def simulators(run: Path) -> dict:
    return json.loads((run / "evaluation.json").read_text())["simulators"]


@pytest.mark.slow
def test_a_file_of_the_generators_probabilities_judges_like_the_generator(run: Path, tmp_path: Path) -> None:
    options = {"evaluate.users": 60, "evaluate.baselines": ["bias", "ridge"]}
    evaluate(run, options, silent=True)
    want = simulators(run)
    users, items, p = generated_answers(run)
    order = np.random.default_rng(0).permutation(len(users))  # in any order, whole numbers or text
    np.savez(tmp_path / "small.npz", users=np.array(users)[order], items=np.array(items)[::-1], liked=p[order][:, ::-1])
    report = evaluate(run, {**options, "evaluate.truth": str(tmp_path / "small.npz")}, silent=True)
    assert report.titles["truth"] == "truth: small.npz, 60 users"
    got = simulators(run)
    assert got["train"] == want["train"] and got["judge"] == want["judge"]
    for name, row in want["truth"]["recommenders"].items():
        assert got["truth"]["recommenders"][name]["return"] == pytest.approx(row["return"], abs=0.05), name
    assert "truth" in report["verdict"]["questions"]
