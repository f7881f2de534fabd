"""YAML whose cost is bounded before any value of it is built.

Plain YAML can grow a few bytes to gigabytes (aliases of aliases), nest until Python's stack ends, or hold a number
that takes minutes to convert. Events of the parser are counted first, so such texts are refused in one line.
"""

from typing import Any

import yaml

from jaxrec.checks import InputError
from jaxrec.foreign import quoted

DEPTH = 32  # levels of nesting
VALUES = 20_000  # a value that aliases repeat counts once for each repetition
NUMBER, TEXT = 64, 20_000  # characters of a number, of any value
NUMBERS = ("int", "float", "timestamp")


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys, of which plain YAML keeps one, and leaves dates as text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # a list or mapping as a key is refused below, with its line
            if key_node.value in seen:
                raise InputError(f"{_line(key_node)}key {quoted(key_node.value)} is given twice; keep one of them.")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.rpartition(":")[2]
        if isinstance(node, yaml.ScalarNode) and kind in NUMBERS and len(node.value) > NUMBER:
            raise InputError(f"{_line(node)}a number of {len(node.value):,} characters, expected at most {NUMBER}.")
        try:
            return super().construct_object(node, deep)
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):  # such as `!!int abc`
            raise InputError(f"{_line(node)}{quoted(node.value)} is no {kind}; correct it or remove its tag.") from None


# Dates stay text: no field is a date, and 2024-01-31 is what the log has.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if not tag.endswith(":timestamp")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(text: str) -> Any:
    """Read a YAML text; raises InputError (without the name of the file) or YAMLError for what cannot be read."""
    _check_bounds(text)
    return yaml.load(text, _Loader)


def _check_bounds(text: str) -> None:
    """Raise InputError for too many levels or values, without building any."""
    open_: list[tuple[str | None, int]] = []  # anchor of each open list or mapping, and the values before it
    sizes: dict[str, int] = {}  # number of values that each anchor marks
    count = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > TEXT:
                raise InputError(
                    f"{_line(event)}a value of {len(event.value):,} characters, expected at most {TEXT:,}."
                )
            count += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise InputError(f"{_line(event)}*{event.anchor} stands for something that holds it; write it out.")
            count += sizes.get(event.anchor, 0)
        if len(open_) > DEPTH:
            raise InputError(f"{_line(event)}more than {DEPTH} levels of lists and sections; a recipe has a few.")
        if count > VALUES:
            raise InputError(f"{_line(event)}more than {VALUES:,} values (aliases count each time); shorten it.")


def _line(where: Any) -> str:
    return f"line {where.start_mark.line + 1}: "
