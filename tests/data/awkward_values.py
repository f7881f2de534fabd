"""Awkward cells: ids and times."""

import unicodedata

from tests.data.awkward import (
    BIG,
    COLUMNS,
    DAY,
    JAN_2_2024,
    LOG,
    ROWS,
    at,
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
        "data.allow_bad_rows=0.3334; set data.missing=[] if such words are ids",
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
