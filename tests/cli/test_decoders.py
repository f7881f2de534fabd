"""A decoder as the encoder of the main job: the same commands, another folder."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from jaxrec.cli import main
from jaxrec.serve import load_policy

GOLDEN = Path(__file__).parents[1] / "encoder" / "golden"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_a_decoder_reads_the_items_of_a_run(recipe: Path, tmp_path: Path, capsys, family: str) -> None:
    model, run = tmp_path / family, tmp_path / "run"
    shutil.copytree(GOLDEN / family, model)
    BertWordPieceTokenizer(str(GOLDEN / "tiny_bert" / "vocab.txt")).save(str(model / "tokenizer.json"))
    words = [f"encoder.model={model}", "encoder.pooling=lasttoken", "encoder.max_length=24", "train.updates=4"]
    assert main(["train", str(recipe), "--run", str(run), *words]) == 0
    assert main(["evaluate", str(run)]) == 0
    assert main(["recommend", str(run), "--history", "1,2", "-k", "3"]) == 0
    assert "policy minus" in capsys.readouterr().out
    table = np.asarray(load_policy(run).world.item_table)
    assert np.isfinite(table).all() and table[:, :32].std(0).min() > 0  # width 32, every channel tells items apart
