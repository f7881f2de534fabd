"""Awkward cells: words as feedback, and rows that are chosen by their cells."""

from typing import Any

from tests.data.awkward import LOG, ROWS, read, refused

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
