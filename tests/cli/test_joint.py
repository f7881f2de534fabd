"""`jaxrec pretrain` with `encoder.train`, and learning that starts from it."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.cli import main
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.encoder import load_encoder
from jaxrec.envs.logged_world import load_simulator
from jaxrec.runs.pretrain_inputs import policy_world, recommendable_items
from jaxrec.runs.read_log import read_corpus
from jaxrec.serve import load_policy
from jaxrec.storage.run import RunFolder
from tests.recipes import TINY_ENCODER

SMALL = ["pretrain.epochs=2", "pretrain.batch_size=8", "pretrain.steps_per_call=2", "pretrain.learning_rate=1e-2"]
LORA = [*SMALL, "encoder.train=lora", "encoder.texts_per_step=8", "encoder.refresh_every=6", "encoder.rank=2"]


@pytest.fixture(scope="module")
def pretrained(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "start"
    assert main(["pretrain", str(recipe), *LORA, "--run", str(run)]) == 0
    return run


def table_by(run: Path, model: Path) -> np.ndarray:
    """The item table of the run's recipe with another encoder."""
    config = load_config(Config, run / "config.yaml")
    config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, model=str(model)))
    corpus = read_corpus(config)
    return np.asarray(policy_world(config, corpus, recommendable_items(config, corpus)).item_table)


def table_of(run: Path) -> np.ndarray:
    return np.asarray(load_policy(run).world.item_table)


@pytest.mark.slow
def test_only_the_adapted_kernels_of_the_saved_encoder_differ_and_it_gives_the_policy_s_table(pretrained: Path) -> None:
    old, new = (load_encoder(path, max_length=32).params for path in (TINY_ENCODER, pretrained / "encoder"))
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(old), jax.tree.leaves(new), strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        adapted = name.startswith("layers/") and name.endswith("/kernel")
        assert bool((np.asarray(a) != np.asarray(b)).any()) == adapted, name
    assert (pretrained / "adapters" / "adapter_model.safetensors").is_file()
    frozen, tuned = table_by(pretrained, TINY_ENCODER), table_of(pretrained)
    np.testing.assert_allclose(tuned, table_by(pretrained, pretrained / "encoder"), atol=1e-4)
    assert np.abs(tuned - frozen).max() > 1e-2
    np.testing.assert_array_equal(tuned[:, 32:], frozen[:, 32:])  # the statistics


@pytest.mark.slow
def test_the_version_rises_after_every_few_steps_and_at_evaluations(pretrained: Path) -> None:
    rows = [json.loads(line) for line in (pretrained / "metrics.jsonl").read_text().splitlines()]
    assert json.loads((pretrained / "pretraining.json").read_text())["steps_per_epoch"] == 14
    # In each epoch after 6 and 12 steps, and before the evaluation after 14.
    versions = [*[0] * 5, *[1] * 6, *[2] * 3]
    assert [row["table_version"] for row in rows] == versions + [3 + version for version in versions]


@pytest.mark.slow
def test_a_run_that_was_stopped_between_two_tables_continues_to_the_same_bytes(
    pretrained: Path, tmp_path: Path, monkeypatch
) -> None:
    run, append = tmp_path / "stopped", RunFolder.append_timing

    def stopping(folder: RunFolder, row: dict) -> None:
        append(folder, row)
        if "seconds" in row and row["step"] in (8, 22):
            os.kill(os.getpid(), signal.SIGTERM)

    words = ["pretrain", str(pretrained / "config.yaml"), "--run", str(run)]
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "append_timing", stopping)
        assert main(words) == 143
        assert main([*words, "--resume"]) == 143
    assert main([*words, "--resume"]) == 0
    for name in ("metrics.jsonl", "evaluation.json", "encoder/model.safetensors", "adapters/adapter_model.safetensors"):
        assert (run / name).read_bytes() == (pretrained / name).read_bytes()
    np.testing.assert_array_equal(table_of(run), table_of(pretrained))
    for a, b in zip(
        jax.tree.leaves(load_policy(run).params), jax.tree.leaves(load_policy(pretrained).params), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_learning_goes_on_with_the_tuned_table_and_users_keep_theirs(
    recipe: Path, pretrained: Path, tmp_path: Path, capsys
) -> None:
    run = tmp_path / "run"
    words = ["train", str(recipe), *LORA, "--run", str(run)]
    assert main([*words, "learner.start_from=pretrain"]) == 0
    for table in (table_of(run), table_of(run / "pretrain")):
        np.testing.assert_array_equal(table, table_of(pretrained))
    world = load_simulator(run / "simulators" / "train")
    assert np.abs(np.asarray(world.item_table) - table_of(run)).max() > 1e-2
    assert main(["train", str(run / "config.yaml"), "train.updates=12", "--run", str(run), "--resume"]) == 0
    assert load_policy(run).step > 0
    np.testing.assert_array_equal(table_of(run), table_of(pretrained))
    # From a folder the run keeps a copy, so it needs that folder only once.
    other = tmp_path / "other"
    words = [*words[:-1], str(other), f"env.path={run / 'simulators'}", f"learner.start_from={pretrained}"]
    assert main(words) == 0
    copied = (other / "pretrain" / "encoder" / "model.safetensors").read_bytes()
    assert copied == (pretrained / "encoder" / "model.safetensors").read_bytes()
    np.testing.assert_array_equal(table_of(other), table_of(pretrained))
    capsys.readouterr()
    words = ["train", str(recipe), f"train.continue_from={run}", "--run", str(tmp_path / "later")]
    assert main(words) == 2
    assert f"set encoder.model to {run / 'pretrain' / 'encoder'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("pretrain", ["encoder.train=adapters"], "encoder.train: expected frozen | lora | full, got 'adapters'"),
        ("pretrain", ["encoder.refresh_every=0"], "encoder.refresh_every: expected a value at least 1, got 0"),
        ("pretrain", ["encoder.texts_per_step=0"], "encoder.texts_per_step: expected a value at least 1, got 0"),
        ("pretrain", ["encoder.learning_rate=0"], "encoder.learning_rate: expected a value above 0, got 0"),
        ("pretrain", ["encoder.kernels=[querry]"], "encoder.kernels: no 'querry'; did you mean 'query'"),
        ("pretrain", ["encoder.train=lora", "encoder.weights=int8"], "encoder.weights: int8 cannot be trained"),
        ("pretrain", ["encoder.train=full", "pretrain.texts=false"], "pretrain.texts: false, but encoder.train: full"),
        ("train", ["encoder.train=lora"], "encoder.train: lora, but only pretraining tunes the encoder"),
        ("train", ["encoder.train=lora", "learner.start_from=."], "encoder.train: lora, but . holds no tuned encoder"),
        (
            "train",
            ["encoder.train=full", "learner.start_from=pretrain", "env.slate_interaction=0.5"],
            "env.slate_interaction: simulated users would compare items by the vectors of the tuned encoder",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    recipe: Path, tmp_path: Path, capsys, command: str, words: list[str], message: str
) -> None:
    assert main([command, str(recipe), *words, "--run", str(tmp_path / "run")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jaxrec:")]
    assert len(error) == 1 and message in error[0]
