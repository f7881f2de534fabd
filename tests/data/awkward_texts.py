"""Awkward cells: texts of items."""

from tests.data.awkward import ITEMS, LOG, parquet_of, read, refused

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
