"""Awkward cells: ids, times, words and texts."""

import unicodedata
from typing import Any

from tests.data.awkward import (
    BIG,
    COLUMNS,
    DAY,
    ITEMS,
    JAN_2_2024,
    LOG,
    ROWS,
    at,
    parquet_of,
    read,
    refused,
    rows_at,
)

IDS = (
    read(
        "floats as ids in CSV",
        LOG.replace("u,", "7.0,").replace("v,", "8,"),
        rows=(("7", "a", 1, 1.0), ("7", "b", 2, 0.0), ("8", "a", 3, 1.0)),
    ),
    read(
        "floats as ids on one side",
        LOG.replace(",a,", ",331.0,").replace(",b,", ",007,"),
        rows=(("u", "331", 1, 1.0), ("u", "007", 2, 0.0), ("v", "331", 3, 1.0)),
        items="item,title\n331,Apple\n007,Bread\n",
        texts=("Apple", "Bread"),
    ),
    refused(
        "padded ids of the item table",
        LOG.replace(",a,", ",331,").replace(",b,", ",7,"),
        "items.csv: data.columns.item_id: none of the 2 ids of the log is in it",
        "the log has '331', '7'",
        "the table has '000331', '000007', '000009'",
        "set data.ids.strip_zeros=true",
        items="item,title\n000331,Apple\n000007,Bread\n000009,Corn\n",
    ),
    read(
        "padded ids, as the recipe says",
        LOG.replace(",a,", ",331,").replace(",b,", ",7,"),
        rows=(("u", "331", 1, 1.0), ("u", "7", 2, 0.0), ("v", "331", 3, 1.0)),
        items="item,title\n000331,Apple\n000007,Bread\n000009,Corn\n",
        texts=("Apple", "Bread"),
        settings={"ids": {"strip_zeros": True}},
    ),
    refused("ids in other letters", LOG, "set data.ids.casefold=true", items="item,title\nA,Apple\nB,Bread\n"),
    read(
        "ids in any letters",
        LOG,
        items="item,title\nA,Apple\nB,Bread\n",
        texts=("Apple", "Bread"),
        settings={"ids": {"casefold": True}},
    ),
    refused(
        "accents of two forms",
        LOG.replace(",a,", ",é,").replace(",b,", ",è,"),
        "set data.ids.normalize=NFC",
        items=unicodedata.normalize("NFD", "item,title\né,Apple\nè,Bread\n"),
    ),
    read(
        "accents of one form, as the recipe says",
        LOG.replace(",a,", ",é,"),
        rows=(("u", "é", 1, 1.0), ("u", "b", 2, 0.0), ("v", "é", 3, 1.0)),
        items=unicodedata.normalize("NFD", "item,title\né,Apple\nb,Bread\n"),
        texts=("Apple", "Bread"),
        settings={"ids": {"normalize": "NFC"}},
    ),
    refused(
        "ids of another table",
        LOG,
        "the table has 'x', 'y'",
        "correct data.columns.item_id",
        items="item,title\nx,Apple\ny,Bread\n",
    ),
    read(
        "ids of which one does not meet",
        LOG,
        "items.csv: 1 item of the log missing (b); the id is used as title and text; data.ids.casefold=true finds some",
        items="item,title\na,Apple\nB,Bread\n",
        texts=("Apple", "b"),
    ),
    *(
        refused(f"{word!r} as a user", LOG.replace("v,", f"{word},"), "missing or broken user (line 4: " + repr(word))
        for word in (r"\N", "nan", "null", "None", "NA", "N/A", "<NA>", "")
    ),
    refused(
        "null as an item",
        LOG.replace(",b,", ",NULL,"),
        "missing or broken item (line 3: 'NULL')",
        "data.allow_bad_rows=0.3334",
    ),
    read(
        "rows without a user that may be dropped",
        LOG + "\\N,c,4,5\n",
        "log.csv: dropped 1 row with a missing or broken user (line 5)",
        settings={"allow_bad_rows": 0.3},
    ),
    read(
        "a user called None, as the recipe says",
        LOG.replace("v,", "None,"),
        rows=(*ROWS[:2], ("None", "a", 3, 1.0)),
        settings={"missing": []},
    ),
    refused(
        "a word of the recipe for missing users",
        LOG.replace("v,", "anonymous,"),
        "missing or broken user (line 4: private (xxxxxxxxx))",
        settings={"missing": ["anonymous"]},
    ),
    read(
        "half of the users in the table of users",
        LOG,
        "users.csv: 1 of 2 users of the log missing; their columns are empty",
        others={"users.csv": "user,age\nu,3\nnan,4\n"},
        settings={"user_file": "users.csv", "context": ["age"]},
    ),
    refused(
        "no user in the table of users",
        LOG.replace("u,", "07,").replace("v,", "08,"),
        "users.csv: data.columns.user_id: none of the 2 ids of the log is in it",
        "the log has private (09), private (09), the table has private (9), private (9)",
        "set data.ids.strip_zeros=true",
        others={"users.csv": "user,age\n7,3\n8,4\n"},
        settings={"user_file": "users.csv", "context": ["age"]},
    ),
)

CLOCKS = (
    refused(
        "seconds among milliseconds",
        at(f"{BIG}000", f"{BIG}001", f"{BIG}"),
        f"log.csv line 4: '{BIG}'",
        f"line 2: '{BIG}000'",
        "different units",
        "data.time_format=epoch",
    ),
    read(
        "seconds among milliseconds, as the recipe says",
        at(f"{BIG}000", f"{BIG}001", f"{BIG}"),
        rows=rows_at(BIG * 10**6, BIG * 10**6 + 1000, BIG * 10**6),
        settings={"time_format": "epoch"},
    ),
    *(
        refused(
            f"times such as {first}",
            at(first, second, second),
            "log.csv line 2",
            repr(first),
            f'data.time_format="{pattern}"',
        )
        for first, second, pattern in (
            ("20240102", "20240103", "%Y%m%d"),
            ("2024010223", "2024010300", "%Y%m%d%H"),
            ("202401022359", "202401030000", "%Y%m%d%H%M"),
            ("20240102235959", "20240103000000", "%Y%m%d%H%M%S"),
        )
    ),
    read(
        "numbers of eight digits that are no dates",
        at("20240132", "20240133", "20240134"),
        rows=rows_at(20240132, 20240133, 20240134),
    ),
    read(
        "dates of eight digits",
        at("20240102", "20240103", "20240104"),
        rows=rows_at(*(JAN_2_2024 + n * DAY for n in range(3))),
        settings={"time_format": "%Y%m%d"},
    ),
    read(
        "hours of ten digits",
        at("2024010200", "2024010201", "2024010300"),
        rows=rows_at(JAN_2_2024, JAN_2_2024 + DAY // 24, JAN_2_2024 + DAY),
        settings={"time_format": "%Y%m%d%H"},
    ),
    read(
        "dates of Europe",
        at("2/1/2024", "03/01/2024", "04/01/2024"),
        rows=rows_at(*(JAN_2_2024 + n * DAY for n in range(3))),
        settings={"time_format": "%d/%m/%Y"},
    ),
    read(
        "dates of the US",
        at("1/2/2024", "01/03/2024", "01/04/2024"),
        rows=rows_at(*(JAN_2_2024 + n * DAY for n in range(3))),
        settings={"time_format": "%m/%d/%Y"},
    ),
    refused(
        "dates of Europe or the US",
        at("1/2/2024", "1/3/2024", "1/4/2024"),
        "3 of 3 rows",
        '"%m/%d/%Y" or "%d/%m/%Y", whichever it is',
    ),
    refused(
        "dates of Europe alone",
        at("13.1.2024 08:30", "14.1.2024 08:30", "15.1.2024 08:30"),
        'set data.time_format="%d.%m.%Y %H:%M"',
    ),
    refused(
        "a day that does not exist",
        at("30/02/2024", "01/03/2024", "02/03/2024"),
        "1 of 3 rows",
        "no time of the format '%d/%m/%Y' in time (line 2: '30/02/2024')",
        settings={"time_format": "%d/%m/%Y"},
    ),
    refused(
        "a year of two digits where four are wanted",
        at("02/01/24", "01/03/2024", "02/03/2024"),
        "(line 2: '02/01/24')",
        settings={"time_format": "%d/%m/%Y"},
    ),
    read(
        "a clock of twelve hours",
        at('"Jan 2, 2024 1:00 AM"', '"Jan 2, 2024 11:00 AM"', '"Jan 2, 2024 1:00 PM"'),
        rows=rows_at(*(JAN_2_2024 + n * DAY // 24 for n in (1, 11, 13))),
        settings={"time_format": "%b %d, %Y %I:%M %p"},
    ),
    read(
        "zones and fractions",
        at("02.01.2024 01:00:00.5 +0100", "02.01.2024 00:00:01.0 +0000", "02.01.2024 00:00:02.0 +0000"),
        rows=rows_at(JAN_2_2024 + 500_000, JAN_2_2024 + 10**6, JAN_2_2024 + 2 * 10**6),
        settings={"time_format": "%d.%m.%Y %H:%M:%S.%f %z"},
    ),
    read(
        "days of Excel",
        at("45293", "45293.5", "45294"),
        rows=rows_at(JAN_2_2024, JAN_2_2024 + DAY // 2, JAN_2_2024 + DAY),
        settings={"time_format": "excel"},
    ),
    read(
        "seconds with fractions",
        at("1.5", "2", "3e0"),
        rows=rows_at(1_500_000, 2_000_000, 3_000_000),
        settings={"time_format": "s"},
    ),
    read("milliseconds by name", at("1", "2", "3"), rows=rows_at(1000, 2000, 3000), settings={"time_format": "ms"}),
    refused("a word as a unit", LOG, "data.time_format", "no 'seconds'", settings={"time_format": "seconds"}),
    refused(
        "a pattern that is none", LOG, "data.time_format", "'Q' is a bad directive", settings={"time_format": "%Q"}
    ),
    read(
        "no times: the order of the file",
        "user,item,stars\nu,a,5\nu,b,1\nv,a,4\n",
        rows=rows_at(0, 1, 2),
        settings={"columns": {**COLUMNS, "time": ""}},
    ),
    refused("no times and no setting", "user,item,stars\nu,a,5\n", "no column 'time'", "an empty data.columns.time="),
    refused(
        "the hour of a log without times",
        LOG,
        "data.context: hour needs times; set data.columns.time",
        settings={"columns": {**COLUMNS, "time": ""}, "context": ["hour"]},
    ),
)

EVENTS = "user,item,time,event\nu,a,1,Buy\nu,b,2,view\nv,a,3,cart\n"
BOUGHT = {"liked": {"column": "event", "equals": "Buy"}}
# u looks at a twice and puts it into the cart; v looks at a, and takes b out of the cart.
VISITS = "user,item,time,event\nu,a,1,view\nu,a,2,view\nu,a,3,cart\nv,a,4,view\nv,b,5,remove\n"
KINDS_OF_ITEMS = "item,title,kind,price\na,Apple,fruit,2\nb,Bread,baked,3\nz,Zest,fruit,1\n"


def weighed(at_least: float | None, **weights: float) -> dict[str, Any]:
    """Settings of one kind of feedback that reads the word of an event as a number."""
    threshold = {} if at_least is None else {"at_least": at_least}
    return {"feedback": {"liked": {"column": "event", "weights": weights, **threshold}}}


def visits(a_by_u: tuple[int, float], a_by_v: float) -> tuple:
    """Rows of VISITS, if those of u and a are one row at a time with an answer."""
    return ("u", "a", *a_by_u), ("v", "a", 4, a_by_v), ("v", "b", 5, 0.0)


WORDS = (
    read("one word", EVENTS, rows=(*ROWS[:2], ("v", "a", 3, 0.0)), settings={"feedback": BOUGHT}),
    read("several words", EVENTS, settings={"feedback": {"liked": {"column": "event", "in": ["Buy", "cart"]}}}),
    read(
        "a number as a word",
        LOG,
        rows=(*ROWS[:2], ("v", "a", 3, 0.0)),
        settings={"feedback": {"liked": {"column": "stars", "equals": 5}}},
    ),
    refused(
        "words without a setting",
        EVENTS,
        "no finite number in event (line 2: 'Buy'",
        "data.feedback.liked.equals or in",
        "'view'",
        settings={"feedback": {"liked": {"column": "event"}}},
    ),
    refused(
        "a misspelled word",
        EVENTS,
        "data.feedback.liked.equals: no row has event 'buy'",
        "'Buy'",
        settings={"feedback": {"liked": {"column": "event", "equals": "buy"}}},
    ),
    refused(
        "a word and a number",
        EVENTS,
        "data.feedback.liked: compares words (equals, in) and numbers",
        settings={"feedback": {"liked": {"column": "event", "equals": "Buy", "at_least": 1}}},
    ),
    refused(
        "words without a column",
        EVENTS,
        "data.feedback.liked.in: set without a column; set data.feedback.liked.column",
        settings={"feedback": {"liked": {"in": ["Buy"]}}},
    ),
    read(
        "weights of words: the largest of a pair's rows",
        VISITS,
        "log.csv: 1 row count as 0 for 'liked', since their words have no weight ('remove')",
        rows=visits((3, 1.0), 0.0),
        settings=weighed(3, view=1, cart=3),
    ),
    read(
        "their sum: 1 + 1 + 3",
        VISITS,
        rows=visits((3, 1.0), 0.0),
        settings={"repeats": "sum"} | weighed(5, view=1, cart=3),
    ),
    read(
        "their sum is below the threshold",
        VISITS,
        rows=visits((3, 0.0), 0.0),
        settings={"repeats": "sum"} | weighed(5.5, view=1, cart=3),
    ),
    read(
        "their mean: 5 / 3",
        VISITS,
        rows=visits((3, 1.0), 0.0),
        settings={"repeats": "mean"} | weighed(1.6, view=1, cart=3),
    ),
    read(
        "weights of 0 and 1 need no threshold",
        VISITS,
        rows=visits((3, 1.0), 0.0),
        settings=weighed(None, view=0, cart=1, remove=0),
    ),
    read(
        "negative weights",
        VISITS,
        rows=(*visits((3, 1.0), 1.0)[:2], ("v", "b", 5, 0.0)),
        settings=weighed(0, view=0, cart=1, remove=-1),
    ),
    read("weights of numbers", LOG, settings={"feedback": {"liked": {"column": "stars", "weights": {5: 1, "4.0": 1}}}}),
    refused(
        "weights without a threshold",
        VISITS,
        "data.feedback.liked.weights: feedback is 0 or 1",
        "set data.feedback.liked.at_least",
        "env.reward",
        settings=weighed(None, view=1, cart=3),
    ),
    refused(
        "a misspelled word with a weight",
        VISITS,
        "data.feedback.liked.weights: no row has event 'Cart'",
        "'cart'",
        settings=weighed(3, view=1, Cart=3),
    ),
    refused(
        "weights of no word of the column",
        LOG,
        "data.feedback.liked.weights: no row has one of their words in stars (its values: '5', '1', '4')",
        settings={"feedback": {"liked": {"column": "stars", "weights": {"bought": 1}}}},
    ),
    refused(
        "weights and words",
        VISITS,
        "data.feedback.liked: has weights and equals; keep one of them",
        settings={"feedback": {"liked": {"column": "event", "weights": {"view": 1}, "equals": "view"}}},
    ),
    refused(
        "weights without a column",
        VISITS,
        "data.feedback.liked.weights: set without a column; set data.feedback.liked.column",
        settings={"feedback": {"liked": {"weights": {"view": 1}}}},
    ),
    refused(
        "a weight that is no number",
        VISITS,
        "data.feedback.liked.weights.view: expected a number, got 'much'",
        settings={"feedback": {"liked": {"column": "event", "weights": {"view": "much"}}}},
    ),
    read(
        "items of some kind: rows of the others are left out",
        LOG,
        "items.csv: left out 1 row by data.item_where on kind",
        "left out 1 row of items that data.item_where leaves out",
        rows=(ROWS[0], ROWS[2]),
        items=KINDS_OF_ITEMS,
        texts=("Apple",),
        settings={"item_where": [{"column": "kind", "equals": "fruit"}]},
    ),
    read(
        "a row per language: another row of the item remains",
        LOG,
        "items.csv: left out 1 row by data.item_where on lang",
        items="item,title,lang\na,Apfel,de\na,Apple,en\nb,Bread,en\n",
        texts=("Apple", "Bread"),
        settings={"item_where": [{"column": "lang", "not_in": ["de"]}]},
    ),
    read(
        "items that nobody has touched pass the filters too",
        LOG,
        items=KINDS_OF_ITEMS,
        texts=("Apple", "Bread", "Zest"),
        settings={"min_item_ratings": 0, "item_where": [{"column": "price", "at_least": 1}]},
    ),
    read(
        "items by a price with a decimal comma",
        LOG,
        rows=(ROWS[0], ROWS[2]),
        items="item;title;price\na;Apple;2,5\nb;Bread;3,5\n",
        texts=("Apple",),
        settings={
            "files": {"items": {"separator": ";", "decimal": "comma"}},
            "item_where": [{"column": "price", "at_most": 3}],
        },
    ),
    refused(
        "a filter of items on no column",
        LOG,
        "items.csv: no column 'kin' (wanted by data.item_where[0].column); did you mean 'kind'?",
        items=KINDS_OF_ITEMS,
        settings={"item_where": [{"column": "kin", "equals": "fruit"}]},
    ),
    refused(
        "a filter that no item passes",
        LOG,
        "items.csv: no row passes data.item_where[0] on kind (its values: 'fruit', 'baked')",
        items=KINDS_OF_ITEMS,
        settings={"item_where": [{"column": "kind", "equals": "toy"}]},
    ),
    refused(
        "a filter that no item of the log passes",
        LOG,
        "data.item_where: no row of the log has an item of items.csv that passes",
        items=KINDS_OF_ITEMS,
        settings={"item_where": [{"column": "price", "at_most": 1}]},
    ),
    refused(
        "a filter of items without an item table",
        LOG,
        "data.item_where: chooses rows of an item table in files",
        settings={"item_where": [{"column": "kind", "equals": "toy"}]},
    ),
    read(
        "a sentinel",
        LOG + "w,a,4,99\n",
        "log.csv: left out 1 row by data.where on stars",
        settings={"where": [{"column": "stars", "not_in": [99]}]},
    ),
    read(
        "a smallest number",
        LOG + "w,a,4,0\nw,b,5,\n",
        "log.csv: left out 2 rows by data.where on stars",
        settings={"where": [{"column": "stars", "at_least": 1}]},
    ),
    read(
        "rows of some words, broken ones elsewhere",
        EVENTS + ",,,\nw,a,x,scroll\n",
        rows=(("u", "a", 1, 1.0), ("v", "a", 3, 0.0)),
        settings={"feedback": BOUGHT, "where": [{"column": "event", "in": ["Buy", "cart"]}]},
    ),
    read(
        "two filters",
        EVENTS,
        rows=(("u", "a", 1, 1.0),),
        settings={
            "feedback": BOUGHT,
            "where": [{"column": "event", "not_in": ["view"]}, {"column": "user", "equals": "u"}],
        },
    ),
    refused(
        "a filter that nothing passes",
        LOG,
        "log.csv: no row passes data.where[0] on stars (its values: '5', '1', '4')",
        settings={"where": [{"column": "stars", "equals": "6"}]},
    ),
    refused(
        "a filter on no column",
        LOG,
        "no column 'star' (wanted by data.where[0].column)",
        settings={"where": [{"column": "star", "equals": 5}]},
    ),
    refused(
        "a filter without a condition",
        LOG,
        "data.where: column 'stars' has no condition",
        settings={"where": [{"column": "stars"}]},
    ),
)

JSON_ITEMS = (
    '{"item": "a", "title": "A<b>pp</b>le", "tags": ["x", "y"]}\n'
    '{"item": "b", "title": "Bread &amp; <p>more", "tags": []}\n'
)
TEXTS = (
    read(
        "HTML",
        LOG,
        items="item,title\na,<p>Apple<br/>pie</p>\nb,Bread &amp; <b>but</b>ter 1 < 2\n",
        texts=("Apple pie", "Bread & butter 1 < 2"),
        settings={"files": {"items": {"plain_text": True}}},
    ),
    read(
        "HTML as it is",
        LOG,
        items="item,title\na,<p>Apple\nb,Bread &amp; butter\n",
        texts=("<p>Apple", "Bread &amp; butter"),
    ),
    read(
        "lists in JSON",
        LOG,
        items=JSON_ITEMS,
        texts=("Apple: x, y", "Bread & more:"),
        settings={"item_file": "items.jsonl", "text": "{title}: {tags}", "files": {"items": {"plain_text": True}}},
    ),
    read(
        "lists written as text",
        LOG,
        items='item,title\na,"[\'Fruit\', ""Pie""]"\nb,"[""Bread"", null]"\n',
        texts=("Fruit, Pie", "Bread"),
        settings={"files": {"items": {"plain_text": True}}},
    ),
    read(
        "lists in Parquet",
        LOG,
        items=parquet_of(item=["a", "b"], title=["Apple", "Bread"], tags=[["x", "y"], None]),
        texts=("Apple x, y", "Bread"),
        settings={"item_file": "items.parquet", "text": "{title} {tags}"},
    ),
    read(
        "a colon and blanks in the name of a column",
        LOG,
        items="item,title,class:token_seq,the maker\na,Apple,fruit,Ann\nb,Bread,baked,Bo\n",
        texts=("{Apple} fruit Ann", "{Bread} baked Bo"),
        settings={"text": "{{{title}}} {class:token_seq} {the maker}"},
    ),
    read(
        "latin-1 items with pipes and no header",
        LOG,
        items="a|Äpfel (1999)|x\nb|Bröd|y\n".encode("latin-1"),
        texts=("Äpfel (1999)", "Bröd"),
        settings={
            "item_file": "u.item",
            "files": {"items": {"separator": "|", "encoding": "latin-1", "columns": ["item", "title", "url"]}},
        },
    ),
    read(
        "missing words in texts",
        LOG,
        items="item,title,maker\na,Apple,nan\nb,\\N,Bo\n",
        texts=("Apple", "b Bo"),
        settings={"text": "{title} {maker}"},
    ),
    refused("one brace", LOG, "data.text: '{title' is not a template", items=ITEMS, settings={"text": "{title"}),
)
