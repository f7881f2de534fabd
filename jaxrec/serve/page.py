"""The page at `/`, on which a person tries the service: one file without resources of other hosts, and what it asks.

Its Content-Security-Policy allows the script and the styles of the file by their hashes, and requests to this service.
"""

import base64
import bisect
import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.data import FeedbackKind

FILE = Path(__file__).with_name("page.html")
SLATE = 8  # items on the page
LONGEST_SEARCH, MOST_FOUND = 100, 20  # characters of a search; items in its answer
PART = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class Reaction(NamedTuple):
    """How the page reports what a person thinks: a `kind` of POST /feedback, and its values."""

    kind: str
    like: float | str
    dislike: float | str | None  # None: no value says so


@functools.cache
def page() -> tuple[bytes, dict[str, str]]:
    """The page, and the headers of its answer."""
    content = FILE.read_bytes()
    sources: dict[str, list[str]] = {"script": [], "style": []}
    for tag, text in PART.findall(content.decode()):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources[tag].append(f"'sha256-{digest}'")
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(sources["script"]),
        "style-src": " ".join(sources["style"]),
        "connect-src": "'self'",
        "img-src": "data:",  # the empty icon
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return content, {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def reaction(kinds: Mapping[str, FeedbackKind], weights: Sequence[float]) -> Reaction:
    """How to report a like: the first kind with a positive weight [F] of the reward, or else the first kind."""
    names = list(kinds)
    name = next((one for one, weight in zip(names, weights, strict=False) if weight > 0), names[0])
    kind = kinds[name]
    reported = kind.column or name
    if kind.column is None:
        return Reaction(reported, 1, None)
    if kind.words:
        return Reaction(reported, kind.words[0], None)
    if kind.weights:
        ordered = sorted(kind.weights, key=lambda word: kind.weights[word])
        return Reaction(reported, ordered[-1], ordered[0] if kind.weights[ordered[0]] <= 0 else None)
    if kind.band is None:
        return Reaction(reported, 1, 0)
    low, high = kind.band
    below = 0.0 if low > 0 else low - 1.0
    return Reaction(reported, high if math.isinf(low) else low, high + 1.0 if math.isinf(low) else below)


class Titles:
    """Titles to search in, all in one text: a search of a million takes milliseconds."""

    def __init__(self, titles: Sequence[str]):
        """Index the titles by where they begin in the text."""
        lines = [" ".join(title.casefold().split()) for title in titles]
        self._text = "\n" + "\n".join(lines) + "\n"
        self._starts, start = [], 1
        for line in lines:
            self._starts.append(start)
            start += len(line) + 1

    def search(self, words: str, most: int) -> list[int]:
        """Rows of at most `most` titles that contain `words`; those that begin with it come first."""
        sought = " ".join(words.casefold().split())
        found: dict[int, None] = {}
        for text in (f"\n{sought}", sought):
            at = self._text.find(text)
            while at >= 0 and len(found) < most:
                row = bisect.bisect_right(self._starts, at + len(text) - len(sought)) - 1
                found[row] = None
                at = self._text.find(text, self._text.index("\n", at + len(text)))
        return list(found)[:most]


def read_search(text: str) -> str:
    """Check what is searched for; raises InputError."""
    if not text.strip() or len(text) > LONGEST_SEARCH:
        raise InputError(f"title: expected 1 to {LONGEST_SEARCH} characters, got {len(text.strip()):,}.")
    return text


def settings(one: Reaction, most: int, max_k: int, explain: bool) -> dict[str, Any]:
    """What the page has to know; `most` is how many items of a history the service takes.

    `explain` says whether its policies give reasons.
    """
    return {**one._asdict(), "most": most, "k": min(SLATE, max_k), "explain": explain}
