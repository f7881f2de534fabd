"""`jaxrec check-data` on small logs in files; the figures are counted by hand."""

import json
import re
from pathlib import Path

import pytest

from jaxrec.cli import main
from jaxrec.config.load import to_yaml
from jaxrec.config.schema import Config
from jaxrec.runs.check_data import check_data
from jaxrec.runs.recipe import read_recipe

# Four users with three rows each, in two months; the first two rows of Ann have one time. Liked: 4 stars or more.
LOG = """\
who,what,when,stars,device
ann@example.org,a,2024-01-05T10:00:00,5,phone
ann@example.org,b,2024-01-05T10:00:00,1,phone
ann@example.org,c,2024-02-05T11:00:00,4,
bob@example.org,a,2024-01-06T12:00:00,2,desktop
bob@example.org,b,2024-01-06T13:00:00,5,desktop
bob@example.org,x,2024-02-07T14:00:00,3,desktop
cy@example.org,a,2024-01-08T15:00:00,4,phone
cy@example.org,c,2024-01-08T16:00:00,2,phone
cy@example.org,b,2024-02-08T17:00:00,1,phone
di@example.org,c,2024-01-09T18:00:00,5,phone
di@example.org,b,2024-02-09T19:00:00,4,phone
di@example.org,a,2024-02-10T20:00:00,3,phone
"""
ITEMS = "sku,name,colour\na,red lamp,red\nb,blue chair,blue\nc,red lamp,\nz,green desk,green\n"
RECIPE = """\
data:
  source: files
  path: {folder}
  columns: {{user: who, item: what, time: when, item_id: sku, title: name}}
  feedback: {{liked: {{column: stars, at_least: 4}}, rated: {{}}}}
  context: [device]
  text: "{{name}}. {{colour}}"
env: {{name: logged, reward: {{liked: 1.0}}}}
learner: {{name: all_items}}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A recipe with its log."""
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE.format(folder=tmp_path))
    return recipe


def test_the_figures_are_those_of_the_log(mine: Path) -> None:
    found = check_data(mine)
    assert (found["rows"], found["users"], found["items"]) == (12, 4, 4)
    assert found["time"] == {"dates": True, "first": "2024-01-05 10:00", "last": "2024-02-10 20:00"}
    assert found["join"] == {"items_of_log": 4, "of_them_in_table": 3, "items_of_table": 4, "of_them_in_log": 3}
    assert found["feedback"] == {
        "overall": {"liked": 0.5, "rated": 1.0},
        "by": "month",
        "periods": [
            {"month": "2024-01", "rows": 7, "liked": pytest.approx(4 / 7), "rated": 1.0},
            {"month": "2024-02", "rows": 5, "liked": pytest.approx(2 / 5), "rated": 1.0},
        ],
    }
    # Each user has three rows; a and b have four, c three and x one.
    assert found["rows_per_user"]["min"] == found["rows_per_user"]["max"] == 3
    assert found["rows_per_item"]["mean"] == 3 and found["rows_per_item"]["median"] == 3.5
    assert found["rows_per_item"]["min"] == 1 and found["rows_per_item"]["max"] == 4
    assert found["moments"]["moments"] == 11 and found["moments"]["sizes"] == {"1": 10, "2": 1}
    assert found["moments"]["rows_together"] == pytest.approx(2 / 12)
    # The last rows of the four users have 4, 3, 1 and 3 stars.
    assert found["split"]["test_rows"] == 4 and found["split"]["test_successes"] == 0.25
    assert found["split"]["train_rows"] == found["split"]["validation_rows"] == 4


def test_items_without_rows_are_counted_apart(mine: Path, capsys: pytest.CaptureFixture) -> None:
    plain, found = check_data(mine), check_data(mine, ["data.min_item_ratings=0"])
    assert (plain["untouched_items"], found["untouched_items"]) == (0, 1)  # z
    assert {name for name in plain if plain[name] != found[name]} - {"seconds", "next"} == {
        "account",
        "untouched_items",
        "split",
        "warnings",  # of 5 items
    }
    assert found["split"]["recommendable_items"] == 5
    assert main(["check-data", str(mine), "data.min_item_ratings=0"]) == 0
    assert "1 item without a row is in the catalogue (data.min_item_ratings=0)" in capsys.readouterr().out


def test_columns_are_described_by_type_and_contents(mine: Path) -> None:
    log, items = check_data(mine)["tables"]
    assert (log["file"], log["rows"], log["unused"]) == ("log.csv", 12, [])
    assert (items["file"], items["rows"], items["unused"]) == ("items.csv", 4, [])
    user, item, when, stars, device = log["columns"]
    assert user == {"column": "who", "used_as": ["columns.user"], "type": "text", "missing": 0.0, "distinct": 4}
    assert (item["distinct"], item["type"]) == (4, "text")
    assert (when["type"], when["distinct"]) == ("date", 11)
    assert (when["first"], when["last"]) == ("2024-01-05 10:00", "2024-02-10 20:00")
    assert (stars["type"], stars["least"], stars["greatest"]) == ("whole number", 1.0, 5.0)
    assert stars["values"] == {"5": 3, "4": 3, "1": 2, "2": 2, "3": 2}
    assert device["missing"] == pytest.approx(1 / 12) and device["values"] == {"phone": 8, "desktop": 3}
    colour = items["columns"][2]
    assert colour["used_as"] == ["text {colour}"] and colour["missing"] == 0.25 and colour["distinct"] == 3


def test_ten_rows_are_shown_as_they_are_understood(mine: Path) -> None:
    rows = check_data(mine)["examples"]
    assert len(rows) == 10
    assert rows[0] == {
        "user": 1,
        "item": "a",
        "title": "red lamp",
        "time": "2024-01-05 10:00",
        "feedback": {"liked": 1, "rated": 1},
        "context": ["device=phone"],
    }
    assert (rows[-1]["user"], rows[-1]["item"], rows[-1]["feedback"]["liked"]) == (4, "a", 0)
    # Row 3 of Ann has no device: values that are missing are not shown.
    assert next(row for row in rows if row["item"] == "c" and row["user"] == 1)["context"] == []


def test_no_output_has_a_user_id(mine: Path, capsys: pytest.CaptureFixture) -> None:
    for options in ([], ["--json"]):
        assert main(["check-data", str(mine), *options]) == 0
        printed = capsys.readouterr()
        assert "example.org" not in printed.out + printed.err
        assert not re.search(r"\b[0-9a-f]{32}\b", printed.out)  # no pseudonyms either


def test_json_is_the_same_description(mine: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check-data", str(mine), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = check_data(mine)
    assert {**printed, "seconds": 0} == {**found, "seconds": 0}


def test_the_page_ends_with_the_next_command(mine: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check-data", str(mine), "data.split=global_time", "env.reward={liked: 1.0}"]) == 0
    page = capsys.readouterr().out
    assert page.splitlines()[-1] == f"next: jaxrec train {mine} data.split=global_time 'env.reward={{liked: 1.0}}'"
    for words in ("log.csv: read 12 rows", "red lamp", "2024-02", "1 of 4 items have no text but their id"):
        assert words in page, words


def test_feedback_that_train_would_refuse_is_named_and_comes_back_here(
    mine: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["check-data", str(mine), "data.feedback.liked.at_least=6"]) == 0
    page = capsys.readouterr().out
    assert "what stops training" in page and "data.feedback.liked: 0 in every row of the log" in page
    assert page.splitlines()[-1].startswith(f"next: jaxrec check-data {mine}")


def test_a_reward_for_no_kind_of_feedback_stops_training_too(mine: Path) -> None:
    stops = check_data(mine, ["data.split=global_time", "env.reward={likd: 1.0}"])["stops"]
    assert len(stops) == 1 and "likd" in stops[0]
    assert check_data(mine, ["data.split=global_time"])["stops"] == []


def test_a_log_that_cannot_be_read_is_refused_as_in_training(mine: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check-data", str(mine), "data.columns.item=wat"]) == 2
    error = capsys.readouterr().err
    assert "no column 'wat' (wanted by data.columns.item)" in error and error.count("\n") == 1


def test_numbers_of_no_unit_are_no_dates(mine: Path) -> None:
    rows = [f"u{n % 5},{'abc'[n % 3]}{n},{n},{n % 5 + 1},phone\n" for n in range(40)]
    (mine.parent / "log.csv").write_text("who,what,when,stars,device\n" + "".join(rows))
    found = check_data(mine, ["data.item_file=", "data.text='{title}'"])
    assert found["time"] == {"dates": False, "first": 0, "last": 39} and found["join"] is None
    assert found["feedback"]["by"] == "tenth"
    # Rows 0 to 3 have 1, 2, 3 and 4 stars; rows 4 to 7 have 5, 1, 2 and 3.
    assert found["feedback"]["periods"][0] == {"tenth": "1", "rows": 4, "liked": 0.25, "rated": 1.0}
    assert len(found["feedback"]["periods"]) == 10 and found["examples"][0]["time"] == 0


def test_a_column_of_the_user_table_is_described_with_it(mine: Path) -> None:
    (mine.parent / "users.csv").write_text("id,town\nann@example.org,Ulm\nbob@example.org,\n")
    words = ["data.user_file=users.csv", "data.columns.user_id=id", "data.context=[device, town]"]
    log, _, users = check_data(mine, words)["tables"]
    assert "town" not in [column["column"] for column in log["columns"]]
    assert [column["column"] for column in users["columns"]] == ["id", "town"]
    assert users["columns"][1]["values"] == {"Ulm": 1} and users["columns"][1]["missing"] == 0.5
    assert "values" not in users["columns"][0]


def test_a_generated_log_has_no_files(recipe: Path) -> None:
    found = check_data(recipe)
    assert found["tables"] == [] and found["users"] == 40 and found["items"] == 60
    assert found["next"] == f"jaxrec train {recipe}"


def test_a_recipe_without_a_log_is_refused(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    path.write_text("env: {name: interest_evolution}\nlearner: {name: dqn}\n")
    assert main(["check-data", str(path)]) == 2
    assert "add a data section" in capsys.readouterr().err


def test_nothing_is_encoded_for_own_texts(mine: Path) -> None:
    config = read_recipe(mine, ["data.own_texts=2", "data.columns.review=device", "data.context=[]"])
    assert isinstance(config, Config) and "own_texts: 2" in to_yaml(config)
    found = check_data(config, [])
    assert found["rows"] == 12 and found["next"] == ""


def test_a_movielens_folder_is_described(real_data: Path) -> None:
    recipe = Path(__file__).parents[2] / "configs" / "ml_latest_small.yaml"
    found = check_data(recipe, [f"data.path={real_data / 'ml-latest-small'}"])
    log, items = found["tables"]
    assert (log["file"], log["rows"], items["file"], items["rows"]) == ("ratings.csv", 100836, "movies.csv", 9742)
    assert found["time"]["first"] == "1996-03-29 18:36" and found["feedback"]["by"] == "year"
    assert found["stops"] == []
