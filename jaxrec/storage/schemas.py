"""One schema for each JSON file of a run, a policy or simulators; `read_json` looks them up by the file's name."""

import collections
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.storage.schema import (
    Check,
    Misfit,
    anything,
    both,
    either,
    flag,
    listed,
    maybe,
    named,
    number,
    record,
    text,
    texts,
    whole,
)

# Sizes beyond any use; within them, a file that lies cannot make a reader allocate much before arrays are compared.
ITEMS, WIDTH, HISTORY, SLATE = 2**31 - 1, 2**20, 100_000, 100_000

_bound = either((str, text), (int, number()), (float, number()))  # a number, or "inf" and "-inf"
_figure = maybe(number())
_texts, _numbers = texts(), listed(_figure)
_plain = maybe(either((bool, anything), (int, number()), (float, number()), (str, text)))


def _same_length(value: Any, where: str) -> None:
    for name in ("titles", "texts"):
        if name in value and len(value["ids"]) != len(value[name]):
            raise Misfit(name, f"{len(value['ids']):,} {name}, one for each id", len(value[name]))


def _all_different(value: Any, where: str) -> None:
    if len(set(value["ids"])) != len(value["ids"]):
        twice = collections.Counter(value["ids"]).most_common(1)[0][0]
        raise Misfit("ids", "each id once", twice)


SPEC = record(
    {"name": text, "num_items": whole(0, ITEMS), "feedback": listed(text, most=WIDTH)},
    {
        "action": record(
            {"name": text, "size": whole(1, WIDTH)},
            {"low": _bound, "high": _bound, "of": text, "slate": whole(0, SLATE)},
        ),
        "slate_size": whole(1, SLATE),  # of earlier versions
        "reward_weights": listed(number(), most=WIDTH),
        "num_candidates": maybe(whole(0, ITEMS)),
        "candidate_size": whole(0, WIDTH),
        "user_size": whole(0, WIDTH),
        "context_size": whole(0, WIDTH),
        "history_length": whole(0, HISTORY),
        "feedback_range": listed(listed(_bound, 2, 2), most=WIDTH),
        **dict.fromkeys(("user_range", "candidate_range", "context_range"), listed(_bound, 2, 2)),
    },
)
NETWORK = named(either((bool, flag), (int, whole(0, WIDTH)), (float, number()), (str, text), (list, _numbers)))
FEATURES = named(record({"kind": text}, {"values": _texts, "size": whole(0, WIDTH), "scale": number()}))
POLICY = record(
    {"spec": SPEC, "network": NETWORK, "feedback": named(named(anything)), "step": whole()}, {"item_features": FEATURES}
)
SIMULATOR = record(
    {},  # `layout` says whether the rest is that of this version
    {
        "layout": whole(),
        "members": whole(0, 10_000),
        "text_size": whole(1, WIDTH),
        "tastes": record({"feedback": _texts}),
        "comeback": record({"source": text}),
    },
)
DESCRIPTIONS = {"policy": POLICY, "simulator": SIMULATOR}
LOG = record(
    {"rows": whole(), "users": whole(), "items": text, "feedback": _texts},
    {"context": _texts, "values": text, "halves": text, "item_features": text},
)
RECOMMENDER = record({"return": number(), "return_95": _figure})
COMPARED = record({"ks": number(0, 1), "ks_by_chance": number()}, {"logged_mean": number(), "simulated_mean": number()})
KIND = record({"auc": _figure}, {"ece": _figure, "base_rate": _figure, "assumed": record({"base_rate": number(0, 1)})})
EFFECT = record({"coefficient": number(), "low": _figure, "high": _figure})
VALIDITY = record(
    {
        "feedback": named(KIND),
        "feedback_rates": named(COMPARED),
        "session_lengths": named(maybe(anything)),
        "rare_items": record({"auc": named(_figure), "fewer_training_rows_than": number(), "test_rows": whole()}),
        "fit": record(
            {},
            {
                "strengths": named(either((bool, flag), (int, number()), (float, number()))),
                "made_of": text,
                "effects": maybe(record({"feedback": named(named(EFFECT))}, {"keep": named(number())})),
            },
        ),
        "test_share": number(0, 1),
    }
)
EVALUATION = record(
    {},
    {
        "step": whole(),
        "users": whole(),
        "simulators": named(record({"recommenders": named(RECOMMENDER)}, {"gap_closed": _figure})),
        "lift_kept": _figure,
        "held_out": named(anything),
    },
)
FILES: dict[str, Check] = {
    "items.json": both(record({"ids": _texts, "titles": _texts}, {"texts": _texts}), _same_length, _all_different),
    "log.json": LOG,
    "users.json": record({"train": _texts, "judge": _texts}, {"salt": text}),
    "validity.json": VALIDITY,
    "item_features.json": FEATURES,
    "simulator.json": record({"fingerprint": text}, {"rows": whole(), "users": whole(), "items": whole()}),
    "evaluation.json": EVALUATION,
    "pretraining.json": record({"steps": whole(0)}, {"log": LOG}),
    "tuning.json": record(
        {
            "test": record({"before": named(_figure), "after": named(_figure)}),
            "parameters": record({"trained": whole(), "all": whole()}),
        }
    ),
    "distillation.json": record(
        {
            who: record({"parameters": whole(), "layers": whole(), "agreement": number(), "test": named(_figure)})
            for who in ("teacher", "student_before", "student")
        }
    ),
    "response.json": record(  # `format` says first whether the rest is that of this version
        {}, {"config": named(anything), "feedback": _texts, "context_size": whole(0, WIDTH)}
    ),
    "metrics": record({"return": number()}, {"step": whole()}),  # of a checkpoint
}
ROW = both(record({"step": whole()}), named(_plain))  # of metrics.jsonl and timings.jsonl


def check_schema(name: str, value: Any) -> None:
    """Raise `Misfit` unless the value of the JSON file `name` fits its schema; files without one may hold anything."""
    if name in FILES:
        FILES[name](value, "")


def check_description(path: Path, description: dict[str, Any]) -> None:
    """Raise InputError unless the description of a policy or simulator fits the schema of its kind.

    Not part of `check_schema`, since for a folder of another version the version is what has to be reported.
    """
    check = DESCRIPTIONS.get(str(description.get("kind")))
    try:
        if check is not None:
            check(description, "")
    except Misfit as misfit:
        raise InputError(f"{path}: damaged ({misfit}); restore the file, or make its folder again.") from None
