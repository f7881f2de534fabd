"""A log whose items have a year, genres and images: from its files to recommendations."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from jaxrec.cli import main
from jaxrec.config.load import build_section, load_config
from jaxrec.config.schema import Config
from jaxrec.data import load_dataset
from jaxrec.envs.logged_world import load_simulator
from jaxrec.runs.read_log import read_corpus
from jaxrec.serve import load_policy
from tests.recipes import TINY

SIZE = 5  # numbers per image
FEATURES = {
    "image": {"kind": "vector", "file": "image.npy", "ids": "ids.txt"},
    "year": {"kind": "number"},
    "genres": {"kind": "category", "separator": "|", "values": 3},
}
WIDTHS = {"image": SIZE + 1, "year": 2, "genres": 3 + 2}
ONE = ["train.updates=2", "train.checkpoint_every=2"]  # one compiled call
TEXT = 32  # width of the tiny encoder


def write_shop(folder: Path, items: int) -> Path:
    """The generated log as files, with the first `items` items only; gives the recipe."""
    values = yaml.safe_load(TINY)
    data = load_dataset(build_section(Config, values, "", "tiny").data, 3)
    catalogue, log, rng = data.catalogue, data.log, np.random.default_rng(0)
    images = rng.normal(size=(len(catalogue), SIZE))
    rows = [f"u{u},{i},{t},{y:g}" for u, i, t, y in zip(log.user, log.item, log.time, log.feedback[:, 0], strict=True)]
    years = ["" if n % 7 == 0 else 1990 + n % 10 for n in range(len(catalogue))]
    names = [title.replace(",", " ") for title in catalogue.titles]
    table = [f"{n},{name},{year},g{n % 4}|g{n % 5}" for n, (name, year) in enumerate(zip(names, years, strict=True))]
    kept = [row for row in rows if int(row.split(",")[1]) < items]
    (folder / "log.csv").write_text("\n".join(["user,item,time,liked", *kept]) + "\n")
    (folder / "items.csv").write_text("\n".join(["item,title,year,genres", *table]) + "\n")
    np.save(folder / "image.npy", images[3:])  # the first three have none
    (folder / "ids.txt").write_text("".join(f"{n}\n" for n in range(3, len(images))))
    values["data"] = {
        "source": "files",
        "path": str(folder),
        "feedback": {"liked": {"column": "liked"}},
        "item_features": FEATURES,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop"), items=50)


@pytest.fixture(scope="module")
def run(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "shop"
    assert main(["train", str(shop), "--run", str(folder)]) == 0
    return folder


def blocks_of(table: np.ndarray) -> dict[str, np.ndarray]:
    ends = np.cumsum([TEXT, *WIDTHS.values()])
    return dict(zip(["text", *WIDTHS, "statistics"], np.split(table, ends, axis=1), strict=True))


@pytest.mark.slow
def test_the_item_table_holds_the_blocks_in_the_order_of_the_recipe(shop: Path, run: Path) -> None:
    policy, world = load_policy(run), load_simulator(run / "simulators")
    table = np.asarray(policy.world.item_table)
    np.testing.assert_array_equal(table, world.item_table)
    blocks = blocks_of(table)
    assert blocks["statistics"].shape == (len(policy.ids), 2) and world.users.text(world.item_table).shape[1] == TEXT
    for name in WIDTHS:
        assert (blocks[name] ** 2).sum(1).mean() == pytest.approx(TEXT, rel=1e-4), name
    for n, item in enumerate(policy.ids):
        image = np.load(shop.parent / "image.npy")[int(item) - 3]
        want = [0.0] * SIZE + [1.0] if int(item) < 3 else [*image / np.linalg.norm(image), 0.0]
        np.testing.assert_allclose(blocks["image"][n], np.array(want) * TEXT**0.5, rtol=1e-4, atol=1e-6)
        assert (blocks["year"][n, 1] > 0) == (int(item) % 7 == 0) == (blocks["year"][n, 0] == 0)
    assert {name: one.width for name, one in policy.item_features.items()} == WIDTHS
    assert policy.item_features["genres"].values == ("g0", "g1", "g2")
    assert policy.params["item_vectors"]["kernel"].shape[0] == table.shape[1]
    assert json.loads((run / "simulators" / "item_features.json").read_text()).keys() == FEATURES.keys()


@pytest.mark.slow
def test_recommendations_and_inspection_work(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["recommend", str(run), "--history", "4,5", "-k", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["recommend", str(run), "--user", "u7", "-k", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["inspect", str(run / "policy")]) == 0
    assert "image 6, year 2, genres 5 columns" in capsys.readouterr().out


@pytest.mark.slow
def test_a_resumed_run_keeps_its_columns_and_refuses_others(shop: Path, run: Path, tmp_path: Path, capsys) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    words = ["train", str(again / "config.yaml"), "--run", str(again), "--resume", "train.updates=10"]
    assert main(words) == 0
    np.testing.assert_array_equal(load_policy(again).world.item_table, load_policy(run).world.item_table)
    capsys.readouterr()
    images = shop.parent / "image.npy"
    before = np.load(images)
    try:
        np.save(images, before[:, ::-1])
        assert main(words) == 2
        assert "the log has changed since this run began" in capsys.readouterr().err
    finally:
        np.save(images, before)
    words = ["train", str(shop), "--run", str(tmp_path / "other"), f"env.path={run / 'simulators'}"]
    assert main([*words, "data.item_features={}"]) == 2
    assert "the earlier run had genres, image, year, this recipe has none" in capsys.readouterr().err


@pytest.mark.slow
def test_a_policy_reads_the_features_of_another_catalogue_in_its_own_columns(
    shop: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = write_shop(tmp_path, items=60)  # other years and genres are the most frequent ones
    text = (tmp_path / "items.csv").read_text()
    (tmp_path / "items.csv").write_text(text.replace("199", "189").replace("g0", "new"))
    moved, start = tmp_path / "moved", ["--from", str(run), "pretrain.epochs=1"]
    assert main(["pretrain", str(other), *start, "--run", str(moved)]) == 0
    old, new = load_policy(run), load_policy(moved)
    assert new.item_features == old.item_features
    blocks = blocks_of(np.asarray(new.world.item_table))
    dated = blocks["year"][:, 1] == 0
    np.testing.assert_allclose(blocks["year"][dated, 0], -5 * TEXT**0.5, rtol=1e-4)  # 100 years earlier, cut at -5
    assert not blocks["genres"][:, 0].any() and blocks["genres"][:, 3].any()  # the new genre is one of the others
    trained = tmp_path / "trained"
    assert main(["train", str(other), f"learner.start_from={moved}", *ONE, "--run", str(trained)]) == 0
    np.testing.assert_array_equal(load_policy(trained).world.item_table[:, TEXT:-2], new.world.item_table[:, TEXT:-2])
    capsys.readouterr()
    changed = ["data.item_features.year.kind=category", "--run", str(tmp_path / "no")]
    assert main(["pretrain", str(other), *start, *changed]) == 2
    assert "the earlier run had a number, now it is a category" in capsys.readouterr().err


@pytest.mark.slow
def test_a_later_log_with_new_items_gets_the_columns_of_the_first(run: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(run)]) == 0
    assert json.loads((run / "evaluation.json").read_text())["held_out"]["policy"]["users"] == 40
    later = tmp_path / "later"
    words = ["train", str(write_shop(tmp_path, items=60)), "--continue", str(run), "--run", str(later)]
    assert main([*words, "train.updates=4"]) == 0
    old, new = load_policy(run), load_policy(later)
    assert new.item_features == old.item_features and len(new.ids) > len(old.ids)
    rows = [np.asarray(one.world.item_table)[:, TEXT:-2] for one in (old, new)]
    for n, item in enumerate(old.ids):
        np.testing.assert_allclose(rows[1][new.ids.index(item)], rows[0][n], rtol=1e-5, atol=1e-6)


def test_runs_without_features_keep_no_trace_of_them(tiny_run: Path) -> None:
    assert not (tiny_run / "simulators" / "item_features.json").exists()
    for path in (tiny_run / "policy" / "description.json", tiny_run / "simulators" / "log.json"):
        assert "item_features" not in json.loads(path.read_text())
    corpus = read_corpus(load_config(Config, tiny_run / "config.yaml"))
    assert corpus.features.blocks == () and load_policy(tiny_run).item_features == {}
