from pathlib import Path

import jaxrec
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.runs.item_table import embed
from tests.recipes import TINY_ENCODER

TEXTS = ["red", "the red film of the night", "a b c d e f g h i j", "love " * 20]  # 3, 9, 12 and 22 tokens


def test_runs_say_how_many_texts_were_cut_and_at_what_length(recipe: Path, tmp_path: Path, capsys) -> None:
    assert [len(ids) for ids in jaxrec.load_encoder(TINY_ENCODER).tokenize(TEXTS)] == [3, 9, 12, 22]
    cached = f"encoder.cache_dir={tmp_path}"
    for length, line in (
        (9, "2 of 4 item texts are cut at 9 tokens (encoder.max_length)"),
        (12, "1 of 4 item texts are cut at 12 tokens (encoder.max_length)"),
        (22, "no item text is longer than 22 tokens"),
    ):
        config = load_config(Config, recipe, [f"encoder.max_length={length}", cached])
        for _ in range(2):  # encoded, then from the cache
            embed(config, TEXTS)
            assert capsys.readouterr().out == f"  {line}\n"
    embed(config, TEXTS, what="")
    assert capsys.readouterr().out == ""
