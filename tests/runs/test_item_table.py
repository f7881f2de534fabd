from pathlib import Path

import numpy as np

import jaxrec
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.runs.item_table import ItemVectors, embed, item_table
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


def test_a_row_of_the_table_is_text_features_and_statistics_of_the_log() -> None:
    """Two items with 1 and 3 rows and one that nobody has touched, worked by hand."""
    item, liked = np.array([0, 1, 1, 1], np.int32), np.array([0, 1, 1, 0], np.float32)[:, None]
    log = Log(np.arange(4, dtype=np.int32), item, np.arange(4), liked, ("liked",), 4, 3, untouched=1)
    text, feature = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0.6, 0.8, 0, 0]]), np.array([[0.5], [0.25], [1.0]])
    got = item_table(ItemVectors(text, (feature,)), log)
    np.testing.assert_allclose(got[:, :4], 2 * text, rtol=1e-6)  # sqrt(4) times
    np.testing.assert_allclose(got[:, 4:5], 2 * feature, rtol=1e-6)
    # log(1 + 1) and log(1 + 3) are one standard deviation below and above their mean; so are 5/11 and 7/13, since the
    # mean of all rows is 1/2. Untouched: as few rows as the rarest, and the mean 1/2 of no rows and ten pseudo-rows.
    low, high = 5 / 11, 7 / 13
    untouched = (0.5 - (low + high) / 2) / ((high - low) / 2)
    np.testing.assert_allclose(got[:, 5:], [[-1, -1], [1, 1], [-1, untouched]], atol=1e-5)
