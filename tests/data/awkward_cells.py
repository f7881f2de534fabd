"""Awkward cells of dates, of feedback and of ids, as public data sets have them, and settings that do not fit them."""

from tests.data.awkward import BIG, COLUMNS, ITEMS, JAN_2_2024, LOG, ROWS, at, files, read, refused, rows_at
from tests.data.awkward_exports import by, stars, users

SECOND = 10**6
DATES = (
    read(
        "dates of BigQuery, some with fractions",
        at("2024-01-02 00:00:00 UTC", "2024-01-02 00:00:01.5 UTC", "2024-01-02 00:00:02.000001 UTC"),
        rows=rows_at(JAN_2_2024, JAN_2_2024 + 3 * SECOND // 2, JAN_2_2024 + 2 * SECOND + 1),
    ),
    refused(
        "dates with other names of zones",
        at("2024-01-02 10:00:00 PST", "2024-01-02 10:00:00 UTC", "2024-01-02 10:00:00 CET"),
        "2 rows with no number or ISO date in time (line 2: '2024-01-02 10:00:00 PST'",
    ),
    read(
        "dates without dashes",
        at("20240102T000000Z", "20240102T000001Z", "20240102T000002Z"),
        rows=rows_at(*(JAN_2_2024 + n * SECOND for n in range(3))),
    ),
    read(
        "fractions after a comma",
        at('"2024-01-02T00:00:00,5"', '"2024-01-02T00:00:01,500"', '"2024-01-02T00:00:02,0"'),
        rows=rows_at(*(JAN_2_2024 + n * SECOND // 2 for n in (1, 3, 4))),
    ),
    read(
        "nanoseconds in dates",
        at("2024-01-02T00:00:00.000001999", "2024-01-02T00:00:01", "2024-01-02T00:00:02"),
        rows=rows_at(JAN_2_2024 + 1, JAN_2_2024 + SECOND, JAN_2_2024 + 2 * SECOND),
    ),
    refused("days of one digit", at("2024-1-2", "2024-1-3", "2024-10-10"), 'data.time_format="%Y-%m-%d"'),
    *(
        refused(f"dates of {whose}", at(*(f'"{date}"' for date in dates)), f'set data.time_format="{pattern}"')
        for whose, pattern, *dates in (
            (
                "C",
                "%a %b %d %H:%M:%S %Y",
                *(f"{day} 00:00:00 2024" for day in ("Tue Jan 02", "Wed Jan 03", "Thu Jan 04")),
            ),
            ("e-mail", "%a, %d %b %Y %H:%M:%S GMT", *(f"Tue, 02 Jan 2024 0{n}:00:00 GMT" for n in range(3))),
            ("a server", "[%d/%b/%Y:%H:%M:%S %z]", *(f"[0{n}/Jan/2024:00:00:00 +0100]" for n in (2, 3, 4))),
        )
    ),
    refused("no date of MySQL", at("0000-00-00", "2024-01-02", "2024-01-03"), "1 of 3 rows", "(line 2: '0000-00-00')"),
    refused(
        "months of another language",
        at("2 ene 2024", "3 ene 2024", "4 ene 2024"),
        "3 of 3 rows",
        "or a pattern such as",
    ),
    refused("hours alone", at("10:00", "10:01", "10:02"), "3 of 3 rows", "(line 2: '10:00'"),
    refused(
        "a date among seconds: the pattern of one row would not fit the others",
        at("2024-01-02", str(BIG), str(BIG + 1)),
        "1 of 3 rows",
        "(line 2: '2024-01-02'); fix them, or allow dropping them with data.allow_bad_rows=0.3334.",
    ),
    refused(
        "commas between thousands of a time",
        at('"1,600"', '"1,601"', '"1,602"'),
        "remove commas that separate thousands",
    ),
    read("years", at("2019", "2020.0", "2021"), rows=rows_at(2019, 2020, 2021)),
    read("times before 1970", at("-5", "-4", "3"), rows=rows_at(-5, -4, 3)),
    read(
        "the year 2261 in nanoseconds",
        at("9190000000000000001", "9190000000000000000", "5"),
        rows=(
            ("u", "b", 9190000000000000000, 0.0),
            ("u", "a", 9190000000000000001, 1.0),
            ("v", "a", 5, 1.0),
        ),
    ),
    refused(
        "the largest number in place of a time", at("9223372036854775807", "2", "3"), "(line 2: '9223372036854775807')"
    ),
    *(
        refused(
            f"{what} said to be {unit}",
            at(*(str(time * factor) for time in (BIG, BIG + 1, BIG + 2))),
            f"log.csv line 2: '{BIG * factor}' is too large or too small for a time in {unit} since 1970",
            f"set data.time_format={right}",
            settings={"time_format": unit},
        )
        for what, factor, unit, right in (
            ("seconds", 1, "ms", "s"),
            ("seconds", 1, "ns", "s"),
            ("milliseconds", 1000, "s", "ms"),
            ("milliseconds", 1000, "us", "ms"),
        )
    ),
    refused(
        "milliseconds among seconds said to be seconds",
        at(str(BIG), str(BIG + 1), f"{BIG}000"),
        f"log.csv line 4: '{BIG}000' is too large or too small for a time in s since 1970",
        "set data.time_format=epoch",
        settings={"time_format": "s"},
    ),
    refused(
        "nanoseconds said to be seconds",
        at(*(f"{BIG + n}000000000" for n in range(3))),
        "3 of 3 rows",
        "set data.time_format=ns",
        settings={"time_format": "s"},
    ),
    refused(
        "seconds said to be days",
        at(str(BIG), str(BIG + 1), str(BIG + 2)),
        "3 of 3 rows",
        "set data.time_format=s",
        settings={"time_format": "excel"},
    ),
    refused(
        "ISO dates said to have a zone",
        at("2024-01-02 10:00", "2024-01-03 10:00", "2024-01-04 10:00"),
        "set data.time_format= (empty), which reads them",
        settings={"time_format": "%Y-%m-%d %H:%M%z"},
    ),
    refused(
        "dates of Europe read as those of the US",
        at("01/02/2024", "13/02/2024", "14/02/2024"),
        "2 of 3 rows",
        'set data.time_format="%d/%m/%Y"',
        settings={"time_format": "%m/%d/%Y"},
    ),
)

KIND = {"feedback": {"liked": {"column": "stars"}}}
ANSWERS = (
    *(
        refused(
            f"ratings such as {first}",
            stars(first, second, first),
            f"(line 2: '{first}'",
            "remove the signs next to numbers",
        )
        for first, second in (("$5", "$1"), ("90%", "10%"), ("5 stars", "1 star"), ("€ 5", "€ 1"))
    ),
    *(
        refused(
            f"ratings such as {first}",
            stars(first, second, first),
            f"(line 2: '{first}'",
            "data.feedback.liked.equals or in",
        )
        for first, second in (("4/5", "1/5"), ("★★★★", "★"), ("0x5", "0x1"), ("٥", "١"))
    ),
    refused("an infinite rating in words", stars("Infinity", 1, 4), "1 of 3 rows", "(line 2: 'Infinity')"),
    refused("a rating beyond all numbers", stars("1e400", 1, 4), "1 of 3 rows", "(line 2: '1e400')"),
    refused("no rating", stars("NaN", 1, 4), "1 of 3 rows", "(line 2: 'NaN')", "data.allow_bad_rows=0.3334"),
    refused("T and F", stars("T", "F", "T"), "(line 2: 'T'", "data.feedback.liked.equals or in", settings=KIND),
    refused("1 and -1", stars(1, -1, 1), "log.csv line 3: stars is -1, expected 0 or 1", "at_least", settings=KIND),
    read("true, 0 and 1", stars("true", 0, 1), settings=KIND),
    read("signs and blanks around ratings", stars("+5", " 1 ", "4. ")),
    refused(
        "a smallest date",
        at("2024-01-02", "2024-01-03", "2024-01-04"),
        "no row passes data.where[0] on time",
        "at_least and at_most read numbers",
        settings={"where": [{"column": "time", "at_least": 20240103}]},
    ),
    read("one user and one row", "user,item,time,stars\nu,a,1,5\n", rows=ROWS[:1]),
    read("one item", "user,item,time,stars\nu,a,1,5\nv,a,3,4\n", rows=(ROWS[0], ROWS[2])),
    refused(
        "a line of units below the names",
        LOG.replace("stars\n", "stars\nid,id,s,1-5\n"),
        "1 of 4 rows",
        "no number or ISO date in time (line 2: 's')",
    ),
    refused(
        "a table of psql",
        " user | item | time | stars \n------+------+------+-------\n u | a | 1 | 5\n(1 row)\n",
        "2 of 3 rows",
        "wrong number of cells (line 2, line 4)",
        settings=files(separator="|"),
    ),
    refused("escaped separators", LOG.replace("u,a", "u\\,u,a"), "1 of 3 rows", "wrong number of cells (line 2)"),
    read(
        "ids between blanks of all kinds",
        users("Ann Lee", "\u00a0Ann Lee ", "\u200bv\t"),
        rows=by("Ann Lee", "Ann Lee", "v"),
    ),
    read(
        "letters that are two in another form",
        users("ﬁ", "fi", "STRASSE"),
        rows=by("fi", "fi", "STRASSE"),
        settings={"ids": {"normalize": "NFKC"}},
    ),
    read(
        "nothing but zeros", users("000", "0", "007"), rows=by("0", "0", "7"), settings={"ids": {"strip_zeros": True}}
    ),
    read(
        "addresses of pages as items",
        LOG.replace(",b,", ",http://x.org/?a=1&b=2,"),
        rows=(
            ROWS[0],
            ("u", "http://x.org/?a=1&b=2", 2, 0.0),
            ROWS[2],
        ),
    ),
    refused(
        "users and items in each other's place",
        "item,user,time,stars\nu,a,1,5\nu,b,2,1\nv,a,3,4\n",
        "none of the 2 ids of the log is in it",
        "the log has 'u', 'v', the table has 'a', 'b'",
        items=ITEMS,
    ),
    read(
        "a table of items with a title in several lines",
        LOG,
        items='item,title\r\na,"Ap\r\nple"\r\nb,Bread\r\n',
        texts=("Ap ple", "Bread"),
    ),
    read(
        "a table of items with several languages of writing",
        LOG,
        items="item,title\na,🍎 סיפור\nb,パン\n",
        texts=("🍎 סיפור", "パン"),
    ),
    *(
        refused(
            f"no column of {what}",
            LOG,
            f"data.columns.{what}: empty; name the column",
            settings={"columns": {**COLUMNS, what: ""}},
        )
        for what in ("user", "item")
    ),
    read(
        "a part that was downloaded twice",
        LOG,
        "dropped 3 exact duplicates of a row",
        others={"log.csv": LOG, "log (1).csv": LOG},
        settings={"log_file": "log*.csv"},
    ),
    refused(
        "UTF-8 said to be Latin",
        LOG,
        "items.csv: is UTF-8 text, which data.files.items.encoding=latin-1 would garble",
        "set data.files.items.encoding=utf-8",
        items="item,title\na,Äpfel\nb,Bröd\n",
        settings={"files": {"items": {"encoding": "latin-1"}}},
    ),
    read(
        "Latin said to be Latin",
        LOG,
        items="item,title\na,5 € Äpfel\nb,Bröd\n".encode("cp1252"),
        texts=("5 € Äpfel", "Bröd"),
        settings={"files": {"items": {"encoding": "cp1252"}}},
    ),
    read(
        "letters of China",
        LOG,
        items="item,title\na,苹果\nb,面包\n".encode("gbk"),
        texts=("苹果", "面包"),
        settings={"files": {"items": {"encoding": "gbk"}}},
    ),
    refused(
        "a rating that the recipe says is missing",
        stars(5, -1, 4),
        "1 of 3 rows",
        "no finite number in stars (line 3: '-1')",
        settings={"missing": ["-1"]},
    ),
    refused(
        "a time that the recipe says is missing",
        at("0", "2", "3"),
        "1 of 3 rows",
        "no number or ISO date in time (line 2: '0')",
        settings={"missing": ["0"]},
    ),
    refused(
        "a decimal comma in a feature",
        LOG,
        "'2,5' of item 'a' is not a finite number",
        "set data.files.items.decimal=comma",
        items="item;title;price\na;Apple;2,5\nb;Bread;3\n",
        settings={"files": {"items": {"separator": ";"}}, "item_features": {"price": {"kind": "number"}}},
    ),
    refused(
        "a table of users without an id",
        LOG,
        "users.csv: no row has an id in user",
        others={"users.csv": "user,age\nNone,1\n,2\n"},
        settings={"user_file": "users.csv", "context": ["age"]},
    ),
)
