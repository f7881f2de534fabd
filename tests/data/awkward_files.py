"""Awkward files: quotes, separators, headers, encodings and JSON."""

import codecs
import gzip
import json

from tests.data.awkward import BARE, BIG, COLUMNS, FORTY, LOG, NAMES, ROWS, files, quoted, read, refused

QUOTES = (
    read(
        "quotes that begin cells of a TSV are text",
        'user\titem\ttime\tstars\tnote\nu\ta\t1\t5\t"open\nu\tb\t2\t1\tfine\nv\ta\t3\t4\t"again\n',
        settings={"log_file": "log.tsv"},
        others={},
    ),
    read(
        "quotes around whole cells of a TSV are taken off",
        'user\titem\ttime\tstars\n"u"\ta\t1\t5\nu\t"b"\t2\t1\nv\ta\t"3"\t4\n',
        settings={"log_file": "log.tsv"},
    ),
    read(
        "a TSV whose header is quoted may have tabs in cells",
        '"user"\t"item"\t"time"\t"stars"\t"note"\nu\ta\t1\t5\t"x\ty"\nu\tb\t2\t1\t\nv\ta\t3\t4\t\n',
        settings={"log_file": "log.tsv"},
    ),
    read(
        "a TSV with quoted tabs, as the recipe says",
        'user\titem\ttime\tstars\tnote\nu\ta\t1\t5\t"x\ty"\nu\tb\t2\t1\t\nv\ta\t3\t4\t\n',
        settings={"log_file": "log.tsv", **files(quoting=True)},
    ),
    refused(
        "a TSV with quoted tabs, without a setting",
        'user\titem\ttime\tstars\tnote\nu\ta\t1\t5\t"x\ty"\nu\tb\t2\t1\t\nv\ta\t3\t4\t\n',
        "log.tsv",
        "wrong number of cells (line 2)",
        "data.files.log.quoting=true",
        settings={"log_file": "log.tsv"},
    ),
    refused(
        "two open quotes in a column that nobody reads",
        quoted('"open', '"again'),
        "log.csv line 5: a quote opens a cell that goes on to line 22",
        "17 lines that look like rows",
        "data.files.log.quoting=false",
    ),
    read("the same, with quotes as text", quoted('"open', '"again'), rows=FORTY, settings=files(quoting=False)),
    refused(
        "two open quotes in rows next to each other",
        'user,note,item,time,stars\nu,,a,1,5\nu,"x,b,2,1\nv,"y,a,3,4\n',
        "log.csv line 3: a quote opens a cell that goes on to line 4, over 1 line that looks like rows",
        "data.files.log.quoting=false",
    ),
    refused(
        "an odd number of open quotes",
        quoted('"open'),
        "log.csv",
        "41 lines hold only 4 rows and an odd number of quotes; close the open quote of line 5",
        "data.files.log.quoting=false",
    ),
    read(
        "texts of several lines",
        quoted('"good, but long,\nand, well, in, all, fair\n\n"', '"one\ntwo\nthree\nfour\nfive"'),
        "log.csv: 48 lines: 1 of column names, 40 rows, 7 inside cells of several lines; the longest cells: 5 lines "
        "from line 25",
        rows=FORTY,
    ),
    read("empty lines", LOG.replace("u,b", "\nu,b") + "\n", "log.csv: 6 lines: 1 of column names, 3 rows, 2 empty"),
    read("line breaks of Windows", LOG.replace("\n", "\r\n")),
    read("no line break at the end", LOG.rstrip()),
)

SHAPES = (
    read("semicolons", LOG.replace(",", ";"), settings=files(separator=";")),
    read("semicolons by name", LOG.replace(",", ";"), settings=files(separator="semicolon")),
    read("pipes", LOG.replace(",", "|"), settings={"log_file": "log.txt", **files(separator="|")}),
    read(
        "tabs in a file of any ending",
        LOG.replace(",", "\t"),
        settings={"log_file": "u.data", **files(separator="tab")},
    ),
    read("double colons", LOG.replace(",", "::"), settings={"log_file": "ratings.dat", **files(separator="::")}),
    read(
        "double colons without a header, next to single ones",
        BARE.replace(",", "::").replace("u::", "u:x::"),
        rows=(("u:x", "a", 1, 1.0), ("u:x", "b", 2, 0.0), ("v", "a", 3, 1.0)),
        settings={"log_file": "ratings.dat", **files(separator="::", columns=NAMES)},
    ),
    read("no header line", BARE, settings=files(columns=NAMES)),
    read(
        "no header line, in a compressed file",
        gzip.compress(BARE.encode()),
        settings={"log_file": "log.csv.gz", **files(columns=NAMES)},
    ),
    refused(
        "a header line that the recipe denies",
        LOG,
        "log.csv line 1: column names, but data.files.log.columns",
        settings=files(columns=NAMES),
    ),
    refused(
        "too few names for a file without a header",
        BARE,
        "log.csv line 1: 4 cells, but data.files.log.columns has 3 names",
        settings=files(columns=NAMES[:3]),
    ),
    refused(
        "a name twice for a file without a header",
        BARE,
        "data.files.log.columns: 'user' is given twice",
        settings=files(columns=["user", "user", "time", "stars"]),
    ),
    refused(
        "no header line and no setting",
        "1,2,1,5\n1,3,2,1\n2,2,3,4\n",
        "log.csv line 1: no header line, since cells like '9', '9', '9', '9' look like data",
        "set data.files.log.columns=",
        "all 4 columns",
    ),
    refused(
        "cells of the first row as names",
        f"1,32,2,{BIG}\n1,33,4,{BIG + 1}\n",
        "log.csv line 1: no header line",
        "data.files.log.columns",
        settings={
            "columns": {**COLUMNS, "user": "1", "item": "32", "time": str(BIG)},
            "feedback": {"liked": {"column": "2", "at_least": 4}},
        },
    ),
    read(
        "a data frame without names, whose columns are numbers",
        "0,1,2,3\nu,a,1,5\nu,b,2,1\nv,a,3,4\n",
        settings={
            "columns": {**COLUMNS, "user": "0", "item": "1", "time": "2"},
            "feedback": {"liked": {"column": "3", "at_least": 4}},
        },
    ),
    refused(
        "the separator of another country",
        LOG.replace(",", ";"),
        "no column 'user'",
        "data.files.log.separator=semicolon",
    ),
    refused("pipes in a CSV", LOG.replace(",", "|"), "no column 'user'", "data.files.log.separator=pipe"),
    refused(
        "an unknown ending",
        LOG,
        "u.data: no table format ends in '.data'",
        "data.files.log.separator",
        settings={"log_file": "u.data"},
    ),
    read(
        "a decimal comma",
        "user;item;time;stars\nu;a;1;4,5\nu;b;2;3,5\nv;a;3;4,0\n",
        settings=files(separator=";", decimal=","),
    ),
    refused(
        "a decimal comma without the setting",
        "user;item;time;stars\nu;a;1;4,5\nu;b;2;3,5\nv;a;3;4\n",
        "2 of 3 rows",
        "no finite number in stars (line 2: '4,5'",
        "data.files.log.decimal=comma",
        settings=files(separator=";"),
    ),
    read("UTF-16", LOG.encode("utf-16"), "log.csv: read as UTF-16, as its byte order mark says"),
    read("UTF-16 of the other order", codecs.BOM_UTF16_BE + LOG.encode("utf-16-be"), "read as UTF-16"),
    read("UTF-8 with a mark", b"\xef\xbb\xbf" + LOG.encode(), "log.csv: read as UTF-8, as its byte order mark says"),
    read("UTF-16 without a mark", LOG.encode("utf-16-le"), settings=files(encoding="utf-16-le")),
    refused(
        "UTF-16 without a mark and setting",
        LOG.encode("utf-16-le"),
        "log.csv line 1",
        "data.files.log.encoding=utf-16-le",
    ),
    read(
        "latin-1",
        LOG.replace("v,", "vé,").encode("latin-1"),
        rows=(*ROWS[:2], ("vé", "a", 3, 1.0)),
        settings=files(encoding="latin-1"),
    ),
    refused(
        "latin-1 without a setting",
        LOG.replace("v,", "vé,").encode("latin-1"),
        "log.csv line 4",
        "data.files.log.encoding",
    ),
    refused(
        "the wrong encoding",
        LOG.encode() + b"\xfd\xfd",
        "not SHIFT_JIS text",
        "data.files.log.encoding",
        settings=files(encoding="shift_jis"),
    ),
    refused(
        "an unknown encoding",
        LOG,
        "data.files.log.encoding: no encoding 'latin-9000'",
        settings=files(encoding="latin-9000"),
    ),
    read(
        "RecBole's names by their first part",
        LOG.replace(",", "\t").replace("user\titem\ttime\tstars", "user:token\titem:token\ttime:float\tstars:float"),
        settings={"log_file": "toy.inter"},
    ),
    read(
        "RecBole's names as they are",
        LOG.replace("user,item,time,stars", "user:token,item:token,time:float,stars:float"),
        settings={
            "columns": {**COLUMNS, "user": "user:token", "item": "item:token", "time": "time:float"},
            "feedback": {"liked": {"column": "stars:float", "at_least": 4}},
        },
    ),
    read(
        "dictionaries of Python",
        "{'user': 'u', 'item': u'a', 'time': 1, 'stars': 5.0}\n{'user': \"u\", 'item': 'b', 'time': 2, 'stars': 1.0}\n"
        "{'user': 'v', 'item': 'a', 'time': 3, 'stars': 4.5, 'ok': True, 'no': None, 'l': [1]}\n",
        settings={"log_file": "log.json"},
    ),
    refused(
        "Python that is no dictionary of values",
        "{'user': 'u', 'item': 'a', 'time': 1, 'stars': 5}\n{'user': open('x'), 'item': 'a', 'time': 1, 'stars': 5}\n",
        "1 row without a JSON object (line 2)",
        settings={"log_file": "log.jsonl"},
    ),
    read(
        "one array of JSON",
        json.dumps(
            [{"user": u, "item": i, "time": t, "stars": 4 + s - 0.5 * (1 - s)} for u, i, t, s in ROWS], indent=1
        ),
        settings={"log_file": "log.json"},
    ),
    refused(
        "an array that is cut",
        '[{"user": "u"}, {"us',
        "log.json: not a JSON array of objects",
        settings={"log_file": "log.json"},
    ),
    refused(
        "an array with something else in it",
        '[{"user": "u", "item": "a", "time": 1, "stars": 5}, 7]',
        "1 row without a JSON object (entry 2)",
        settings={"log_file": "log.json"},
    ),
    read(
        "a key that appears late",
        '{"user": "u", "item": "a", "time": 1}\n' * 1200 + '{"user": "u", "item": "b", "time": 2, "stars": 4}\n',
        rows=(("u", "b", 2, 1.0),),
        settings={"log_file": "log.jsonl", "allow_bad_rows": 0.9999},
    ),
)
