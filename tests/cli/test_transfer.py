"""`jaxrec pretrain --from RUN`: a policy goes on in another generated catalogue."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.cli import main
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.evaluation.held_out import held_out_metrics
from jaxrec.nets.policy import catalogue_scores, make_policy
from jaxrec.runs.read_log import read_corpus
from jaxrec.serve import load_policy

OTHER = ["seed=5", "data.generated={items: 50, users: 30, topics: 4, interactions: 20}"]
SHORT = ["pretrain.epochs=1", "pretrain.batch_size=8", "pretrain.steps_per_call=2"]
RESIDUAL = "learner.policy.item_residual=true"
STILL = "pretrain.learning_rate=1e-12"  # so small a step that the parameters stay where they began


@pytest.fixture(scope="module")
def moved(recipe: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "moved"
    words = ["pretrain", str(recipe), *OTHER, *SHORT, RESIDUAL, STILL]
    assert main([*words, "--from", str(tiny_run), "--run", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_the_first_parameters_are_those_of_the_other_catalogue(tiny_run: Path, moved: Path) -> None:
    old, new = load_policy(tiny_run), load_policy(moved)
    assert (len(old.ids), len(new.ids)) == (60, 50) and new.titles != old.titles[:50]
    for name in ("item_vectors", "item_bias", "history", "query", "value"):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-8), new.params[name], old.params[name])
    np.testing.assert_allclose(new.params["residual_vectors"], np.zeros((50, 8)), atol=1e-8)
    np.testing.assert_allclose(new.params["residual_bias"], np.zeros(50), atol=1e-8)


@pytest.mark.slow
def test_the_report_has_the_ranking_before_the_first_step(tiny_run: Path, moved: Path) -> None:
    evaluation = json.loads((moved / "evaluation.json").read_text())
    corpus = read_corpus(load_config(Config, moved / "config.yaml"))
    old, new = load_policy(tiny_run), load_policy(moved)
    policy = make_policy(new.spec, old.network)  # without residuals
    items = policy.items(old.params, new.world)

    def score(obs):
        return catalogue_scores(policy, old.params, items, obs, new.world)

    want = held_out_metrics(score, corpus.split, (5, 10, 20), new.spec.history_length)
    for kind in ("held_out", "held_out_liked"):
        assert list(evaluation[kind])[:3] == ["policy", "zero_shot", "most_popular"]
        assert evaluation[kind]["zero_shot"]["ndcg@10"] == pytest.approx(
            evaluation[kind]["policy"]["ndcg@10"], abs=1e-6
        )
    assert evaluation["held_out"]["zero_shot"] == pytest.approx(want, abs=1e-6)


@pytest.mark.slow
def test_the_same_items_keep_what_was_learned_about_each(recipe: Path, tmp_path: Path, capsys) -> None:
    words = ["pretrain", str(recipe), *SHORT, RESIDUAL]
    first, again = tmp_path / "first", tmp_path / "again"
    assert main([*words, "pretrain.learning_rate=1e-2", "--run", str(first)]) == 0
    capsys.readouterr()
    assert main([*words, STILL, "--from", str(first), "--run", str(again)]) == 0
    assert "60 of the 60 items are the same" in capsys.readouterr().out
    old, new = load_policy(first).params, load_policy(again).params
    assert np.abs(old["residual_bias"]).max() > 1e-4
    np.testing.assert_allclose(new["residual_vectors"], old["residual_vectors"], atol=1e-7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "nowhere"], "pretrain.start_from: no folder 'nowhere'"),
        (["pretrain.texts=false"], "pretrain.texts: false, but"),
        (["learner.policy.width=16"], "has learner.policy.width=8, expected 16"),
        (["learner.policy.encoder=gru"], "has learner.policy.encoder=profile, expected gru"),
        (["encoder.dimensions=16"], "was trained with encoder.dimensions=0, expected 16"),
        (["data.feedback={good: {}}", "env.reward={good: 1.0}"], "reads feedback liked, this log has good"),
        (["data.context=[hour]"], "the earlier run and this recipe differ"),
        (["data.item_features.f={kind: category, column: title}"], "the earlier run had none, this recipe has f"),
    ],
)
def test_what_cannot_be_carried_over_is_refused_in_one_line(
    recipe: Path, tiny_run: Path, tmp_path: Path, capsys, words: list[str], message: str
) -> None:
    start = [] if "--from" in words else ["--from", str(tiny_run)]
    assert main(["pretrain", str(recipe), *OTHER, *words, *start, "--run", str(tmp_path / "run")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jaxrec:")]
    assert len(error) == 1 and message in error[0]
