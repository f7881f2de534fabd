"""The OpenAPI document of the service: paths, bodies, answers, examples and limits as they are set."""

from typing import Any

from jaxrec.config.serve import ServeConfig
from jaxrec.serve.page import LONGEST_SEARCH, MOST_FOUND
from jaxrec.serve.reasons import MOST_INFLUENCES
from jaxrec.serve.requests import LONGEST_ID, MOST_EVENTS, default_k
from jaxrec.version import __version__

ID = {"oneOf": [{"type": "string", "minLength": 1, "maxLength": LONGEST_ID}, {"type": "integer"}]}
STATUSES = {
    "400": "The request is wrong; `error` says where.",
    "401": "No known API key.",
    "403": "The API key lacks the scope, or without API keys the Host is not this machine.",
    "404": "No such request, item or path.",
    "405": "The path does not accept this method.",
    "409": "The new policy is damaged or does not fit; the old one stays.",
    "408": "The body did not arrive in time.",
    "413": "The body is too long.",
    "415": "Without API keys, a POST needs the header Content-Type: application/json.",
    "429": "The queue is full, or the API key sends too much; Retry-After says when to try again.",
    "500": "An unexpected error; the traceback is in the server's log.",
    "503": "Not ready, stopping, or the disk is full.",
}


GUARDED = ("401", "403", "405", "429", "500")  # of every operation that needs a key
POSTED = ("400", *GUARDED, "408", "413", "415", "503")


def openapi(config: ServeConfig) -> dict[str, Any]:
    """Build the document, with the limits of `config`."""
    paths = {
        "/recommend": {
            "post": _operation("A slate for a history, or for a user.", _recommend(config), _slate(), POSTED)
        },
        "/feedback": {
            "post": _operation("What a user did with items of a slate.", _feedback(), _noted(), (*POSTED, "404"))
        },
        "/reload": {"post": _operation("Load the policy of the run again.", None, _reloaded(), (*POSTED, "409"))},
        "/items/{id}": {"get": _item()},
        "/search": {"get": _search()},
        "/health": {"get": _plain("Whether the process is alive.", "application/json", ("405", "500"))},
        "/ready": {"get": _plain("Whether all programs are compiled.", "application/json", ("405", "500", "503"))},
        "/metrics": {"get": _plain("Metrics for Prometheus.", "text/plain", GUARDED)},
        "/openapi.json": {"get": _plain("This document.", "application/json", ("405", "500"))},
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "jaxrec", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": _object({"error": {"type": "string"}}, ("error",), {"error": "k: expected ..."})}
        },
    }
    if config.keys == "required":
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path in ("/recommend", "/feedback", "/reload", "/items/{id}", "/search", "/metrics"):
            for operation in paths[path].values():
                operation["security"] = [{"key": []}]
    return document


def _recommend(config: ServeConfig) -> dict[str, Any]:
    ids = {"type": "array", "items": ID, "maxItems": config.max_history}
    entry = {"oneOf": [*ID["oneOf"], {"type": "object", "required": ["item"]}]}
    return _object(
        {
            "user": {**ID, "description": "Whose stored history is read; its feedback is added to it."},
            "history": {"type": "array", "items": entry, "maxItems": config.max_history},
            "k": {"type": "integer", "minimum": 1, "maximum": config.max_k, "default": default_k(config)},
            "exclude": {**ids, "description": "Items that are not shown."},
            "include": {**ids, "description": "The only items that may be shown."},
            "context": {"type": "array", "items": {"type": "number"}},
            "explain": {"type": "boolean", "default": False, "description": "Whether the answer has reasons."},
        },
        (),
        {"history": ["318", {"item": "296", "rating": 2.5}], "k": 5, "exclude": ["50"]},
    )


def _slate() -> dict[str, Any]:
    item = _object({"id": {"type": "string"}, "title": {"type": "string"}, "score": {"type": "number"}}, ("id",))
    number = {"type": ["number", "null"]}
    items = [{"id": "593", "title": "Silence of the Lambs, The (1991)", "score": 2.25}]
    return _object(
        {
            "request": {"type": "string", "description": "Names the slate in POST /feedback."},
            "version": {"type": "string", "description": "Of the policy."},
            "items": {"type": "array", "items": item},
            "propensity": {**number, "description": "Probability of the slate; null if it was not drawn."},
            "log_propensity": number,
            "ignored": {"type": "integer", "description": "Items of the request that the catalogue lacks."},
            "reasons": {"type": "array", "items": _reason(), "description": "One for each item, if asked for."},
        },
        ("request", "version", "items"),
        {"request": "9f0c...", "version": "300-1c2d3e4f", "items": items, "propensity": None, "ignored": 0},
    )


def _reason() -> dict[str, Any]:
    words = {"type": "array", "items": {"type": "string"}}
    influence = {
        "id": {"type": "string"},
        "title": {"type": "string"},
        "change": {"type": "number", "description": "Of the score, because this row is in the history."},
        "positive": {"type": "boolean", "description": "Whether its feedback was rewarded."},
        "words": {**words, "description": "In the texts of both items."},
        "categories": {**words, "description": "Of both items."},
    }
    several = {"type": "array", "items": _object(influence, tuple(influence)), "maxItems": MOST_INFLUENCES}
    fields = {"id": {"type": "string"}, "sentence": {"type": "string"}, "influences": several}
    return _object(fields, tuple(fields))


def _feedback() -> dict[str, Any]:
    event = {
        "item": ID,
        "kind": {"type": "string", "description": "A feedback column of the log."},
        "value": {"oneOf": [{"type": "number"}, {"type": "string"}], "default": 1},
        "time": {"type": "number", "description": "Seconds since 1970; default: when it arrives."},
    }
    several = {"type": "array", "items": _object(event, ("item", "kind")), "maxItems": MOST_EVENTS}
    return _object(
        {"request": {"type": "string"}, "events": several, **event},
        ("request",),
        {"request": "9f0c...", "item": "593", "kind": "rating", "value": 4.5},
    )


def _noted() -> dict[str, Any]:
    counts = {"stored": {"type": "integer"}, "already": {"type": "integer"}}
    return _object(counts, tuple(counts), {"stored": 1, "already": 0})


def _reloaded() -> dict[str, Any]:
    fields = {"version": {"type": "string"}, "changed": {"type": "boolean"}}
    return _object(fields, tuple(fields), {"version": "350-5a6b7c8d", "changed": True})


def _item() -> dict[str, Any]:
    fields = {"id": {"type": "string"}, "title": {"type": "string"}, "recommendable": {"type": "boolean"}}
    operation = _operation("What is known of an item.", None, _object(fields, tuple(fields)), (*GUARDED, "404"))
    return {**operation, "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}


def _search() -> dict[str, Any]:
    item = _object({"id": {"type": "string"}, "title": {"type": "string"}}, ("id", "title"))
    several = {"type": "array", "items": item, "maxItems": MOST_FOUND}
    fields = {"items": several, "more": {"type": "boolean", "description": "Whether there are more."}}
    operation = _operation("Items by words of their titles.", None, _object(fields, tuple(fields)), ("400", *GUARDED))
    words = {"type": "string", "minLength": 1, "maxLength": LONGEST_SEARCH}
    return {**operation, "parameters": [{"name": "title", "in": "query", "required": True, "schema": words}]}


def _operation(
    summary: str, body: dict[str, Any] | None, answer: dict[str, Any], statuses: tuple[str, ...]
) -> dict[str, Any]:
    responses = {"200": _content("Done.", answer), **_errors(statuses)}
    found: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        found["requestBody"] = {"required": True, "content": _json(body)}
    return found


def _plain(summary: str, media: str, statuses: tuple[str, ...]) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {"200": {"description": "Done.", "content": {media: {}}}} | _errors(statuses),
    }


def _errors(statuses: Any) -> dict[str, Any]:
    return {status: _content(STATUSES[status], {"$ref": "#/components/schemas/Error"}) for status in sorted(statuses)}


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(properties: dict[str, Any], required: tuple[str, ...], example: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        found["required"] = list(required)
    return found if example is None else {**found, "examples": [example]}
