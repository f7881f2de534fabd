"""`jaxrec tokens`, and a generator through `jaxrec pretrain` and `jaxrec recommend`."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.cli import main
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.generate.saved import load_generator, load_tokens
from jaxrec.runs import pretrain_generative
from jaxrec.runs.inspect import describe
from jaxrec.runs.pretrain import Pretrained, pretrain
from jaxrec.runs.read_log import read_corpus
from jaxrec.runs.recommend import recommend
from jaxrec.runs.tokens import make_tokens
from jaxrec.types import Params

SMALL = [
    "tokens.levels=2",
    "tokens.codes=8",
    "pretrain.model=generative",
    "pretrain.epochs=2",
    "pretrain.batch_size=16",
    "pretrain.steps_per_call=2",
    "generative={width: 16, layers: 1, heads: 2, hidden: 16, history: 6, beams: 12}",
    "evaluate.baselines=[most_popular, item_knn]",
]


@pytest.fixture(scope="module")
def codes(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "codes"
    assert main(["tokens", str(recipe), "-o", str(path), *SMALL]) == 0
    return path


@pytest.fixture(scope="module")
def pretrained(recipe: Path, codes: Path, tiny_run: Path) -> Pretrained:
    words = [*SMALL, f"generative.tokens={codes}", f"generative.compare={tiny_run}"]
    return pretrain(recipe, codes.parent / "run", words, silent=True)


def test_tokens_give_every_item_a_code_of_its_own(codes: Path) -> None:
    tokens = load_tokens(codes)
    assert tokens.codes.shape == (60, 3) and len(np.unique(tokens.codes, axis=0)) == 60
    report = tokens.description["report"]
    assert report["collisions"]["after_last"] == 0 and 0 < report["error"] < 1
    assert report["prefixes"][0]["same_category"] > report["pairs"]["same_category"]  # the topics of the generator


def test_new_items_get_codes_without_a_new_fit(codes: Path) -> None:
    tokens = load_tokens(codes)
    mean = np.asarray(tokens.quantiser.mean)
    near = mean + sum(
        np.asarray(book)[code] for book, code in zip(tokens.quantiser.codebooks, tokens.codes[7][:2], strict=True)
    )
    new = tokens.of_new(np.stack([near, near]).astype(np.float32))
    same = (tokens.codes[:, :2] == tokens.codes[7, :2]).all(1)
    np.testing.assert_array_equal(new[:, :2], np.tile(tokens.codes[7, :2], (2, 1)))
    assert new[:, 2].tolist() == [same.sum(), same.sum() + 1]
    with pytest.raises(InputError, match="room for"):
        tokens.of_new(np.tile(near, (tokens.sizes[-1] + 1, 1)).astype(np.float32))
    with pytest.raises(InputError, match="finite"):
        tokens.of_new(np.full((1, len(mean)), np.nan, np.float32))


def test_a_generator_is_judged_as_policies_are(pretrained: Pretrained) -> None:
    assert not pretrained.interrupted and pretrained.best > 0
    table = json.loads(pretrained.run.evaluation.read_text())["held_out"]
    assert set(table) == {"policy", "compared_profile", "most_popular", "item_knn"}  # the policy of the tiny run
    assert len({row["users"] for row in table.values()}) == 1
    assert 0 <= table["policy"]["ndcg@10"] <= table["policy"]["hit_rate@10"] <= 1


def test_recommend_reads_the_folder_of_a_generator(pretrained: Pretrained, capsys) -> None:
    folder = str(pretrained.run.path)
    saved = load_generator(pretrained.run.policy)
    history = [saved.ids[3], saved.ids[9]]
    assert main(["recommend", folder, "--history", ",".join(history), "-k", "10", "--json"]) == 0
    slate = json.loads(capsys.readouterr().out)
    ids, scores = [one["id"] for one in slate], [one["score"] for one in slate]
    assert len(set(ids)) == 10 and not set(ids) & set(history) and set(ids) <= set(saved.ids)
    assert scores == sorted(scores, reverse=True) and scores[0] < 0
    assert len(recommend(folder, 3, user="5").slate) == 3


@pytest.mark.slow
def test_a_stopped_generator_continues_to_the_same_parameters(
    recipe: Path, codes: Path, pretrained: Pretrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "codes"
    shutil.copytree(codes, named)
    words, validation = [*SMALL, f"generative.tokens={named}"], pretrain_generative.validation_judge

    def stopping(ready: pretrain_generative.Ready) -> Callable[[Params], float]:
        judge = validation(ready)

        def stopped(params: Params) -> float:
            os.kill(os.getpid(), signal.SIGTERM)
            return judge(params)

        return stopped

    with monkeypatch.context() as patched:
        patched.setattr(pretrain_generative, "validation_judge", stopping)
        assert pretrain(recipe, tmp_path / "run", words, silent=True).interrupted
    # Other codes for the same items: the run goes on with those that it began with.
    make_tokens(recipe, named, [*SMALL, "seed=9"], silent=True)
    parts = pretrain(recipe, tmp_path / "run", words, resume=True, silent=True)
    assert parts.run.metrics.read_bytes() == pretrained.run.metrics.read_bytes()
    ours, theirs = (load_generator(one.run.policy) for one in (parts, pretrained))
    np.testing.assert_array_equal(ours.codes, theirs.codes)
    assert not np.array_equal(load_tokens(named).codes, ours.codes)
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


def test_inspect_describes_codes_and_generators(pretrained: Pretrained, codes: Path, capsys) -> None:
    assert main(["inspect", str(pretrained.run.path)]) == 0
    printed = capsys.readouterr().out
    assert "decoder, 1 layers of width 16, 2 heads" in printed and "found with 12 beams" in printed
    assert f"next: jaxrec recommend {pretrained.run.path} --history " in printed
    account = describe(pretrained.run.policy)
    params = load_generator(pretrained.run.policy).params
    assert account["parameters"] == sum(x.size for x in jax.tree.leaves(params)) and not account["damaged"]
    assert main(["inspect", str(codes)]) == 0
    assert "x 8 x " in capsys.readouterr().out
    account, tokens = describe(codes), load_tokens(codes)
    assert account["sizes"] == list(tokens.sizes) and account["items"] == 60 and not account["damaged"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["-k", "13"], "k: expected at most 12, the beams"), (["--history", "no-such-item"], "no-such-item")],
)
def test_recommend_refuses_in_one_line(pretrained: Pretrained, words: list[str], wanted: str, capsys) -> None:
    assert main(["recommend", str(pretrained.run.path), *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and wanted in error


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["tokens.codes=61"], "tokens.codes: expected at most the 60 items"),
        (["tokens.category=colour"], "tokens.category: no 'colour'"),
        (["tokens.balance=2"], "tokens.balance: expected a value"),
        (["tokens.method=pq"], "tokens.method"),
    ],
)
def test_tokens_refuse_wrong_settings(recipe: Path, tmp_path: Path, words: list[str], wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        make_tokens(recipe, tmp_path / "out", [*SMALL, *words], silent=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["pretrain.loss=reinforce"], "pretrain.loss: generators"),
        (["pretrain.negatives=16"], "pretrain.negatives: not read"),
        (["generative.heads=3"], "generative.width"),
        (["generative.tokens=nowhere"], "nowhere: no saved tokens"),
        (["data.generated.items=80"], "60 items of another catalogue"),
    ],
)
def test_pretraining_refuses_wrong_settings(
    recipe: Path, codes: Path, tmp_path: Path, words: list[str], wanted: str
) -> None:
    with pytest.raises(InputError, match=wanted):
        pretrain(recipe, tmp_path / "run", [*SMALL, f"generative.tokens={codes}", *words], silent=True)


def test_tokens_do_not_replace_a_folder_of_others(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else than tokens"):
        make_tokens(recipe, tmp_path, SMALL, silent=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_tokens_do_not_replace_a_policy(recipe: Path, pretrained: Pretrained) -> None:
    with pytest.raises(InputError, match="holds something else than tokens"):
        make_tokens(recipe, pretrained.run.policy, SMALL, silent=True)
    assert load_generator(pretrained.run.policy).ids


def test_tokens_fill_an_empty_folder_and_replace_tokens(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for codes in (8, 4):
        make_tokens(recipe, tmp_path / "out", [*SMALL, f"tokens.codes={codes}"], silent=True)
        assert load_tokens(tmp_path / "out").quantiser.codes == codes


def test_a_diverged_rqvae_is_noticed(recipe: Path, tmp_path: Path) -> None:
    words = [*SMALL, "tokens.method=rqvae", "tokens.epochs=3", "tokens.learning_rate=1e30"]
    with pytest.raises(InputError, match="RQ-VAE diverged"):
        make_tokens(recipe, tmp_path / "out", words, silent=True)


GRPO = [*SMALL, "pretrain.loss=grpo", "pretrain.gamma=0.9", "generative.grpo={samples: 8}", "pretrain.warm_up=0"]


@pytest.fixture(scope="module")
def reinforced(recipe: Path, pretrained: Pretrained) -> Pretrained:
    words = [*GRPO, f"pretrain.start_from={pretrained.run.path}"]
    return pretrain(recipe, pretrained.run.path.parent / "grpo", words, silent=True)


@pytest.mark.slow
def test_reinforcement_starts_at_the_generator_and_is_compared_with_it(
    pretrained: Pretrained, reinforced: Pretrained
) -> None:
    rows = [json.loads(line) for line in reinforced.run.metrics.read_text().splitlines()]
    assert rows[0]["step"] == 0 and rows[0]["validation_ndcg@10"] == pytest.approx(pretrained.score, abs=1e-6)
    assert rows[1]["kl"] < 1e-6  # the first step is taken by the start itself
    assert rows[-1]["kl"] > 1e-6 and all(0 <= row["rewarded"] <= 1 for row in rows[1:])
    tables = [json.loads(one.run.evaluation.read_text())["held_out"] for one in (pretrained, reinforced)]
    own, start = tables[1]["policy"], tables[1]["supervised_start"]
    assert start["ndcg@10"] == pytest.approx(tables[0]["policy"]["ndcg@10"], abs=1e-6)
    assert own["ndcg@10_minus_start"] == pytest.approx(own["ndcg@10"] - start["ndcg@10"], abs=1e-6)
    assert len(recommend(str(reinforced.run.path), 3, user="5").slate) == 3


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["pretrain.start_from="], "name its run with --from RUN"),
        (["pretrain.start_from=nowhere"], "no folder 'nowhere'"),
        (["pretrain.model=policy"], "pretrain.loss: grpo samples the codes"),
        (["pretrain.top_k=2"], "pretrain.top_k: not read"),
        (["pretrain.loss=cross_entropy", "pretrain.gamma=0", "pretrain.start_from="], "generative.grpo: only read"),
        (["generative.grpo.samples=60"], "expected less than the "),
        (["generative.dense_order=1"], "generative.dense_order: there are no towers"),
        (["generative.width=32"], "network setting width=16, this recipe 32"),
        (["data.split=global_time"], "another log or split"),
        (["data.generated.items=80"], "60 items of another catalogue"),
    ],
)
def test_reinforcement_refuses_in_one_line(
    recipe: Path, pretrained: Pretrained, tmp_path: Path, words: list[str], wanted: str
) -> None:
    given = [*GRPO, f"pretrain.start_from={pretrained.run.path}", *words]
    with pytest.raises(InputError, match=wanted) as refused:
        pretrain(recipe, tmp_path / "run", given, silent=True)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_the_dense_check_ranks_items_without_training_rows(recipe: Path, codes: Path, tmp_path: Path) -> None:
    words = [*SMALL, f"generative.tokens={codes}", "generative.dense=1", "generative.cold=0.3", "pretrain.epochs=1"]
    run = pretrain(recipe, tmp_path / "run", words, silent=True).run
    saved, found = load_generator(run.policy), json.loads(run.evaluation.read_text())
    assert saved.dense is not None and len(saved.dense.cold) == 18 and len(saved.dense.known) == 42
    assert not set(saved.dense.cold.tolist()) & set(saved.dense.known.tolist())
    assert {"policy", "policy_without_dense", "most_popular"} <= set(found["held_out_rare"])
    test = read_corpus(load_config(Config, run.config)).split.test  # the table of rare items is that of the cold ones
    assert found["held_out_rare"]["policy"]["users"] == np.isin(test.item, saved.dense.cold).sum() > 0
    assert found["held_out_rare"]["policy"] != found["held_out_rare"]["policy_without_dense"]
    chosen, scores = saved.best(saved.dense.known[:3], np.ones((3, 1), np.float32), 12)
    assert len(set(chosen.tolist())) == 12 and set(chosen.tolist()) & set(saved.dense.cold.tolist())
    assert (np.diff(scores) <= 0).all()


@pytest.mark.slow
def test_towers_order_what_is_generated_where_no_item_is_cold(recipe: Path, codes: Path, tmp_path: Path) -> None:
    words = [
        *SMALL,
        f"generative.tokens={codes}",
        "generative.dense=1",
        "generative.dense_order=1",
        "pretrain.epochs=1",
    ]
    run = pretrain(recipe, tmp_path / "run", words, silent=True).run
    saved, found = load_generator(run.policy), json.loads(run.evaluation.read_text())["held_out"]
    assert saved.dense is not None and float(saved.dense.order) == 1.0 and not len(saved.dense.cold)
    assert np.abs(np.asarray(saved.params["dense"]["own"])).max() > 0
    assert found["policy"] != found["policy_without_dense"]
    assert len(recommend(str(run.path), 3, user="5").slate) == 3


@pytest.mark.slow
def test_evaluate_shows_slates_of_a_generator_to_simulated_users(
    recipe: Path, tiny_run: Path, pretrained: Pretrained, capsys: pytest.CaptureFixture
) -> None:
    words = [f"env.path={tiny_run / 'simulators'}", "evaluate.users=20"]
    assert main(["evaluate", str(pretrained.run.path), *words]) == 0
    printed = capsys.readouterr().out
    assert "policy_sampled" in printed and "held-out log, whole catalogue" in printed
    found = json.loads((pretrained.run.path / "simulated.json").read_text())
    for section in found["simulators"].values():
        assert {"policy", "policy_sampled", "most_popular", "random"} <= set(section["recommenders"])
        assert section["recommenders"]["policy"]["coverage"] > 0
    assert json.loads(pretrained.run.evaluation.read_text())["held_out"]  # the training's own report stays


@pytest.mark.parametrize(
    ("command", "words", "wanted"),
    [
        ("evaluate", ["env.slate_size=13"], "env.slate_size: expected at most 12, the beams"),
        ("evaluate", ["pretrain.epochs=3"], "evaluate takes data.path"),
        (
            "serve",
            ["serve.keys=none", "--port", "0", "serve.explore=softmax"],
            "explore: the slates of a generator",
        ),
        ("export", ["-o", "out"], "holds a generator, expected a policy; give"),
    ],
)
def test_commands_refuse_a_generator_in_one_line(
    pretrained: Pretrained, command: str, words: list[str], wanted: str, capsys: pytest.CaptureFixture
) -> None:
    assert main([command, str(pretrained.run.path), *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and wanted in error
