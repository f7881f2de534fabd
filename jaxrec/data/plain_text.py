"""Plain text from cells that hold HTML, or lists written as text."""

import ast
import html
import re
from typing import Any

from jaxrec.bounded import parse_json

INVISIBLE = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
INLINE = re.compile(r"</?(a|b|em|font|i|small|span|strong|sub|sup|u)(\s[^<>]*)?>", re.IGNORECASE)  # inside of words
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def plain_text(cell: str) -> str:
    """Strip tags, replace entities by their letters, and join a list: "['a', 'b']" becomes 'a, b'."""
    text = cell.strip()
    if text.startswith("[") and text.endswith("]"):
        text = _joined(text)
    if "<" in text:
        text = TAG.sub(" ", INLINE.sub("", INVISIBLE.sub(" ", text)))
    if "&" in text:
        text = html.unescape(text)
    return " ".join(text.split())


def _joined(text: str) -> str:
    for read in (parse_json, ast.literal_eval):  # literal_eval reads plain values and runs nothing
        try:
            values: Any = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(values, list) and not any(isinstance(value, list | dict | tuple | set) for value in values):
            return ", ".join(str(value) for value in values if value not in (None, ""))
    return text
