"""Public data sets are read from the files as published."""

import re
from pathlib import Path
from typing import Any

import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, FeedbackKind
from jaxrec.config.load import build_section, config_of, load_config, to_dict, to_yaml
from jaxrec.config.presets import PRESETS
from jaxrec.config.schema import Config
from jaxrec.data import load_dataset
from tests.data.public_files import PUBLIC, Public

DOCS = Path(__file__).parents[2] / "docs/data-sets.md"


def recipe(source: str, path: Path, **settings: Any) -> DataConfig:
    """Build the section `data` as a recipe does."""
    return config_of(DataConfig, {"source": source, "path": str(path), **settings}, "data")


def rows_of(config: DataConfig) -> list[tuple]:
    """Read (user number, item, time, feedback) of every row."""
    data = load_dataset(config, 0)
    log = data.log
    return [
        (int(u), data.catalogue.ids[i], int(t), tuple(int(f) for f in kinds))
        for u, i, t, kinds in zip(log.user, log.item, log.time, log.feedback, strict=True)
    ]


@pytest.mark.parametrize("case", PUBLIC, ids=lambda case: f"{case.source} {case.version}")
def test_files_as_published_become_the_log_that_they_hold(case: Public, tmp_path: Path) -> None:
    case.write(tmp_path)
    config = recipe(case.source, tmp_path, **case.settings)
    assert config.version == case.version
    assert rows_of(config) == case.rows
    data = load_dataset(config, 0)
    assert data.log.feedback_names == case.kinds
    texts = dict(zip(data.catalogue.ids, data.catalogue.texts, strict=True))
    titles = dict(zip(data.catalogue.ids, data.catalogue.titles, strict=True))
    assert {item: texts[item] for item in case.texts} == case.texts
    assert {item: titles[item] for item in case.titles} == case.titles
    assert set(case.context) <= set(data.log.context_names)
    for line in case.account:
        assert line in data.account


@pytest.mark.parametrize("case", PUBLIC, ids=lambda case: f"{case.source} {case.version}")
def test_the_recipe_of_a_run_shows_what_was_read_and_reads_it_again(case: Public, tmp_path: Path) -> None:
    case.write(tmp_path)
    config = Config(data=recipe(case.source, tmp_path, **case.settings), env=ENV)
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_config(Config, tmp_path / "config.yaml") == config
    for file in case.files:
        (tmp_path / file).unlink()  # a recipe can still be looked at without its files
    assert load_config(Config, tmp_path / "config.yaml") == config
    assert config.data is not None
    with pytest.raises(InputError) as caught:
        load_dataset(config.data, 0)
    home = PRESETS[case.source].home
    for part in (str(tmp_path), "no such file", case.source, home, "data.path"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


ENV = build_section(Config, {"env": {"name": "logged"}}, "", "test").env


def test_every_version_of_every_data_set_has_files_and_a_row_in_the_docs() -> None:
    covered = {(case.source, case.version) for case in PUBLIC}
    every = {(source, one.name) for source, preset in PRESETS.items() for one in preset.versions}
    others = {
        ("kuairand", "1k"),
        ("kuairand", "27k"),
        ("tenrec", "qk_video"),
        ("open_bandit", "all"),
        ("open_bandit", "women"),
    }
    assert every - covered == others  # they differ in the names of files only
    text = DOCS.read_text(encoding="utf-8")
    for source, version in every:
        assert f"`{source}`" in text and f"`{version}`" in text, (source, version)
    for preset in PRESETS.values():
        for address in re.findall(r"https?://[^ )]+", preset.home):
            assert address in text


def test_what_the_recipe_sets_comes_before_what_the_data_set_has(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n7,20,4.5,5\n7,3,3.5,6\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n3,Three,Drama\n20,Twenty,War\n")
    loved = recipe("movielens", tmp_path, text="{genres}", feedback={"loved": {"column": "rating", "at_least": 5}})
    assert loved.feedback == {"loved": FeedbackKind(column="rating", at_least=5.0)}
    assert load_dataset(loved, 0).catalogue.texts == ("Drama", "War")
    assert load_dataset(loved, 0).log.feedback.tolist() == [[0], [0]]
    by_key = recipe("movielens", tmp_path, columns={"time": "rating"})  # the other columns stay those of the data set
    assert (by_key.columns.time, by_key.columns.item) == ("rating", "movieId")
    assert [row[1] for row in rows_of(by_key)] == ["3", "20"]
    bare = recipe("movielens", tmp_path, item_file="")
    assert (bare.item_file, bare.text) == ("", "{title}")


def test_the_original_files_of_open_bandit_are_read_whole(real_data: Path) -> None:
    path = real_data / "open-bandit-men" / "random"
    data = load_dataset(recipe("open_bandit", path), 0)
    lines = (path / "men.csv").read_text().splitlines()[1:]
    cells = [line.split(",") for line in lines]
    assert len(data.log) == len({tuple(cell[1:10]) for cell in cells}) == 10_000
    assert data.log.num_users == len({tuple(cell[6:10]) for cell in cells})
    assert data.log.feedback.sum() == sum(cell[4] == "1" for cell in cells)
    assert set(data.catalogue.ids) == {cell[2] for cell in cells} and len(data.catalogue) == 34
    assert set(data.log.context_names) == {"position=1", "position=2", "position=3"}


def test_the_original_files_of_movielens_are_read_with_the_defaults_of_the_data_set(real_data: Path) -> None:
    data = load_dataset(recipe("movielens", real_data / "ml-latest-small"), 0)
    assert (len(data.log), data.log.feedback_names, int(data.log.feedback.sum())) == (100_836, ("liked",), 48_580)
    assert data.catalogue.texts[0] == "Toy Story (1995). Adventure, Animation, Children, Comedy, Fantasy"


def test_filters_can_be_taken_away(tmp_path: Path) -> None:
    case = next(case for case in PUBLIC if (case.source, case.version) == ("book_crossing", "comma"))
    case.write(tmp_path)
    assert len(rows_of(recipe("book_crossing", tmp_path))) == 1
    assert len(rows_of(recipe("book_crossing", tmp_path, where=[]))) == 2


def test_general_names_in_an_older_recipe_do_not_hide_those_of_the_data_set(tmp_path: Path) -> None:
    case = next(case for case in PUBLIC if (case.source, case.version) == ("movielens", "csv"))
    case.write(tmp_path)
    older = {**to_dict(DataConfig()), "source": "movielens", "path": str(tmp_path)}
    assert len(rows_of(build_section(DataConfig, older, "data", "config.yaml"))) == 3
    assert len(rows_of(DataConfig(source="movielens", path=str(tmp_path)))) == 3


def test_a_config_built_in_python_reads_the_files_and_keeps_what_it_sets(tmp_path: Path) -> None:
    case = next(case for case in PUBLIC if (case.source, case.version) == ("movielens", "100k"))
    case.write(tmp_path)
    kinds = {"liked": FeedbackKind(column="rating", at_least=3)}
    config = DataConfig(source="movielens", path=str(tmp_path), feedback=kinds)
    assert [row[3] for row in rows_of(config)] == [(1,), (1,), (0,)]


def test_a_version_can_be_named_where_a_folder_holds_several(tmp_path: Path) -> None:
    for case in PUBLIC:
        if case.source == "movielens":
            case.write(tmp_path)
    assert recipe("movielens", tmp_path).version == "csv"
    chosen = recipe("movielens", tmp_path, version="100k")
    assert (chosen.log_file, len(rows_of(chosen))) == ("u.data", 3)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"source": "movielense"}, ("data.source", "did you mean 'movielens'")),
        ({"source": "movielens", "version": "1M"}, ("data.version", "no '1M'", "100k")),
        ({"source": "files", "version": "1m"}, ("data.version", "no '1m'")),
    ],
)
def test_unknown_names_are_refused(settings: dict, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        config_of(DataConfig, settings, "data")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(("path", "part"), [("", "it is empty"), ("nowhere", "nowhere is not a folder")])
def test_without_a_folder_the_message_says_where_the_data_set_is(path: str, part: str, tmp_path: Path) -> None:
    config = config_of(DataConfig, {"source": "yelp", "path": str(tmp_path / path) if path else ""}, "data")
    with pytest.raises(InputError) as caught:
        load_dataset(config, 0)
    for words in ("data.path", part, PRESETS["yelp"].home):
        assert words in str(caught.value)


def test_an_unknown_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("1\n")
    config = config_of(
        DataConfig,
        {"source": "files", "path": str(tmp_path), "log_file": "log.txt", "files": {"log": {"shape": "netflix"}}},
        "data",
    )
    with pytest.raises(InputError, match=r"data\.files\.log\.shape: no 'netflix'"):
        load_dataset(config, 0)


def test_a_file_that_is_not_the_published_one_is_refused_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("timestamp,item_id,position,click\n1,2,3,0\n")
    with pytest.raises(InputError, match=r"all\.csv: no column 'user_feature_0', which files of .*open_bandit have"):
        load_dataset(recipe("open_bandit", tmp_path, item_file=""), 0)
    (tmp_path / "events.csv").write_text("timestamp,visitorid,event,itemid\n1433221332117,1,view,2\n")
    (tmp_path / "item_properties_part1.csv").write_text("itemid,value\n1,2\n")
    with pytest.raises(InputError, match=r"item_properties_part1\.csv: no column 'property'"):
        load_dataset(recipe("retailrocket", tmp_path), 0)


BROKEN = {
    "a rating before any movie": ("netflix", "combined_data_1.txt", "7,3,2005-09-06\n1:\n8,3,2005-09-06\n", "line 1"),
    "a rating without a date": ("netflix", "combined_data_1.txt", "1:\n8,3,2005-09-06\n8,4\n", "line 3"),
    "a shown item without an answer": (
        "mind",
        "behaviors.tsv",
        "1\tU1\t11/11/2019 9:05:58 AM\t\tN1-1\n2\tU1\t11/12/2019 9:05:58 AM\t\tN1-1 N2\n",
        "line 2",
    ),
    "an impression without a time": (
        "mind",
        "behaviors.tsv",
        "1\tU1\t11/11/2019 9:05:58 AM\t\tN1-1\n2\tU1\n",
        "line 2",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_lines_that_are_no_rows_are_named(name: str, tmp_path: Path) -> None:
    source, file, content, line = BROKEN[name]
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError) as caught:
        load_dataset(recipe(source, tmp_path, item_file=""), 0)
    assert line in str(caught.value) and file[:9] in str(caught.value) and "allow_bad_rows" in str(caught.value)
