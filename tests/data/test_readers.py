import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind
from jaxrec.config.files import IdRules
from jaxrec.data import load_dataset
from jaxrec.data.pseudonyms import pseudonymise

LOG = """user,item,time,stars
anna,b,30,5
ben,a,10,1
anna,a,20,4
anna,c,10,2
"""
ITEMS = """item,title,kind
a,Apple,fruit
b,Bread,baked
z,Zest,fruit
"""
STARS = {"liked": FeedbackKind(column="stars", at_least=4)}


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    return DataConfig(source="files", path=str(tmp_path), feedback=STARS, text="{title}, {kind}")


@pytest.fixture
def movies(tmp_path):
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n7,20,4.0,5\n7,3,3.5,6\n9,20,2.0,1\n9,100,5.0,2\n"
    )
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n3,Three (1993),Drama|Crime\n5,Unrated,Drama\n20,"Twenty, The",(no genres listed)\n'
    )
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n7,3,slow,1\n8,3,Noir,1\n9,3,noir,1\n9,3,rain,1\n")
    return DataConfig(source="movielens", path=str(tmp_path), text="{title}: {genres}; {tags}", max_tags=2)


def test_a_csv_log_is_sorted_by_user_and_time_with_users_numbered_by_first_appearance(shop):
    data = load_dataset(shop, 0)
    # anna is 0; the item table's order makes a, b rows 0, 1, and c, which it lacks, row 2
    np.testing.assert_array_equal(data.log.user, [0, 0, 0, 1])
    np.testing.assert_array_equal(data.log.item, [2, 0, 1, 0])
    np.testing.assert_array_equal(data.log.time, [10, 20, 30, 10])
    np.testing.assert_array_equal(data.log.feedback, [[0], [1], [1], [0]])
    assert data.log.feedback_names == ("liked",)
    assert (data.log.num_users, data.log.num_items) == (2, 3)
    assert data.log.user.dtype == data.log.item.dtype == np.int32 and data.log.time.dtype == np.int64


def test_ids_of_dropped_rows_are_no_users_and_the_others_are_numbered_as_if_these_rows_were_absent(shop, tmp_path):
    bad = "carl,z,soon,5\nben,b,soon,5\n"
    (tmp_path / "log.csv").write_text(LOG.replace("anna,b", f"{bad}anna,b"))
    data = load_dataset(dataclasses.replace(shop, allow_bad_rows=0.4), 0)
    (tmp_path / "log.csv").write_text(LOG)
    alone = load_dataset(shop, 0)
    assert (data.users, data.catalogue.ids) == (alone.users, alone.catalogue.ids) and len(data.users) == 2
    np.testing.assert_array_equal(data.log.user, alone.log.user)
    np.testing.assert_array_equal(data.log.item, alone.log.item)


def test_ids_that_become_equal_by_the_rules_are_one_user(shop, tmp_path):
    (tmp_path / "log.csv").write_text(LOG.replace("anna,c", " ANNA,c"))
    data = load_dataset(dataclasses.replace(shop, ids=IdRules(casefold=True)), 0)
    assert data.log.num_users == len(data.users) == 2
    np.testing.assert_array_equal(data.log.user, [0, 0, 0, 1])


def test_items_missing_from_the_item_table_show_their_id_and_are_counted(shop):
    data = load_dataset(shop, 0)
    assert data.catalogue.ids == ("a", "b", "c")
    assert data.catalogue.titles == ("Apple", "Bread", "c")
    assert data.catalogue.texts == ("Apple, fruit", "Bread, baked", "c")
    assert data.account == (
        "log.csv: read 4 rows",
        "user ids: hashed with the key in JAXREC_USER_KEY",
        "kept 4 rows of 2 users and 3 items",
        "items.csv: read 3 items",
        "items.csv: 1 item of the log missing (c); the id is used as title and text",
        "items.csv: left out 1 item without a row in the log",
    )


def test_items_that_nobody_has_touched_come_last_on_request(shop):
    plain, data = (load_dataset(dataclasses.replace(shop, min_item_ratings=least), 0) for least in (1, 0))
    assert data.catalogue.ids == ("a", "b", "c", "z")
    assert data.catalogue.titles == ("Apple", "Bread", "c", "Zest") and data.catalogue.texts[3] == "Zest, fruit"
    assert (data.log.num_items, data.log.num_touched, data.log.untouched) == (4, 3, 1)
    np.testing.assert_array_equal(data.log.item, plain.log.item)
    assert data.account[:-1] == plain.account[:-1]
    assert data.account[-1] == (
        "items.csv: kept 1 item without a row in the log, of which only text and features are known "
        "(data.min_item_ratings=0)"
    )


def test_items_whose_rows_are_all_dropped_are_items_without_rows(shop):
    data = load_dataset(dataclasses.replace(shop, min_item_ratings=0, min_item_rows=2), 0)
    assert data.catalogue.ids == ("a", "b", "z")  # c is in no table
    assert (len(data.log), data.log.untouched) == (2, 2)


@pytest.mark.parametrize(("source", "setting"), [("files", "data.item_file"), ("tfds", "data.tfds.item_name")])
def test_only_an_item_table_has_items_without_rows(source: str, setting: str) -> None:
    with pytest.raises(
        InputError, match=f"min_item_ratings: 0 recommends.*only an item table names them; set {setting}"
    ):
        DataConfig(source=source, item_file="", min_item_ratings=0)


def test_the_item_table_is_optional(shop):
    data = load_dataset(dataclasses.replace(shop, item_file="", text="item {title}"), 0)
    assert data.catalogue.ids == data.catalogue.titles == data.catalogue.texts == ("b", "a", "c")


def test_columns_are_found_by_the_names_of_the_recipe(tmp_path):
    (tmp_path / "events.csv").write_text("\ufeffwhen,who,what,clicked\n2024-01-02,u,x,1\n2024-01-01,u,y,0\n")
    (tmp_path / "items.csv").write_text("sku\nx\ny\n")
    columns = Columns(user="who", item="what", time="when", item_id="sku", title="")
    clicked = {"click": FeedbackKind(column="clicked"), "seen": FeedbackKind()}
    config = DataConfig(source="files", path=str(tmp_path), log_file="events.csv", columns=columns, feedback=clicked)
    data = load_dataset(config, 0)
    np.testing.assert_array_equal(data.log.item, [1, 0])
    np.testing.assert_array_equal(data.log.feedback, [[0, 1], [1, 1]])
    assert data.log.time[1] - data.log.time[0] == 86_400 * 10**6
    assert data.catalogue.titles == ("x", "y")


def test_rows_that_cannot_be_read_are_dropped_up_to_the_allowed_share_and_named_by_line(shop):
    bad = 'ben,,40,3\n\nben,c,soon,3\nben,c,50\nben,"c\nd",60,nan\nben,c,70,inf\n'
    (Path(shop.path) / "log.csv").write_text(LOG + bad)
    data = load_dataset(dataclasses.replace(shop, allow_bad_rows=0.6), 0)
    assert data.account[:7] == (
        "log.csv: read 9 rows",
        "log.csv: dropped 1 row with the wrong number of cells (line 9)",
        "log.csv: dropped 2 rows with a missing or broken item (line 6, line 10)",
        "log.csv: dropped 1 row with no number or ISO date in time (line 8)",
        "log.csv: dropped 1 row with no finite number in stars (line 12)",
        "user ids: hashed with the key in JAXREC_USER_KEY",
        "kept 4 rows of 2 users and 3 items",
    )
    assert len(data.log) == 4
    with pytest.raises(InputError, match=r"5 of 9 rows cannot be read.*data.allow_bad_rows=0.5556"):
        load_dataset(dataclasses.replace(shop, allow_bad_rows=0.5), 0)


def test_no_raw_user_id_leaves_the_reader_not_even_in_the_account(shop):
    (Path(shop.path) / "log.csv").write_text(LOG + '"secret\nname",a,1,2\nsecret,a,1\n')
    data = load_dataset(dataclasses.replace(shop, allow_bad_rows=0.5), 0)
    assert any("broken user (line 6)" in line for line in data.account)
    for name in ("anna", "ben", "secret"):
        assert name not in repr(data)


def test_another_key_gives_other_pseudonyms_and_the_same_log(shop, monkeypatch):
    text = (Path(shop.path) / "log.csv").read_text()
    (Path(shop.path) / "log.csv").write_text(text.replace("anna,b", "solo,z,5,1\nanna,b", 1))
    shop, read = dataclasses.replace(shop, min_user_rows=1, min_item_rows=2), []
    for key in ("k" * 32, "l" * 32):
        monkeypatch.setenv("JAXREC_USER_KEY", key)
        read.append(load_dataset(shop, 0))
        # solo, who came first, and b and c of anna are outside the core; anna and ben keep their order
        assert read[-1].users == pseudonymise(["anna", "ben"], key.encode())
    np.testing.assert_array_equal(read[0].log.user, read[1].log.user)
    np.testing.assert_array_equal(read[0].log.item, read[1].log.item)
    assert read[0].catalogue == read[1].catalogue and read[0].account == read[1].account


def test_a_repeated_item_id_counts_once(shop):
    (Path(shop.path) / "items.csv").write_text(ITEMS + "a,Another,fruit\n")
    data = load_dataset(shop, 0)
    assert data.catalogue.titles[0] == "Apple"
    assert "items.csv: 1 repeated id, the first row of each is kept" in data.account


def test_movielens_keeps_the_rated_movies_in_the_order_of_the_file(movies):
    data = load_dataset(movies, 0)
    assert data.catalogue.ids == ("3", "20", "100")
    assert data.catalogue.titles == ("Three (1993)", "Twenty, The", "100")
    # noir was written twice, slow came before rain; the third tag is beyond max_tags
    assert data.catalogue.texts == ("Three (1993): Drama, Crime; noir, slow", "Twenty, The: ;", "100")


def test_movielens_counts_every_rating_unless_a_threshold_is_set(movies):
    np.testing.assert_array_equal(load_dataset(movies, 0).log.feedback, np.ones((4, 1)))
    kinds = {"liked": FeedbackKind(column="rating", at_least=4), "rated": FeedbackKind()}
    log = load_dataset(dataclasses.replace(movies, feedback=kinds), 0).log
    np.testing.assert_array_equal(log.feedback, [[1, 1], [0, 1], [0, 1], [1, 1]])


def test_movielens_reads_the_original_files(real_data):
    path = str(real_data / "ml-latest-small")
    data = load_dataset(DataConfig(source="movielens", path=path, text="{title}. {genres}."), 0)
    assert (len(data.log), data.log.num_users, len(data.catalogue)) == (100_836, 610, 9_724)
    assert data.catalogue.ids[:3] == ("1", "2", "3")
    assert data.catalogue.texts[0] == "Toy Story (1995). Adventure, Animation, Children, Comedy, Fantasy."
    assert np.all(np.diff(data.log.user) >= 0)
