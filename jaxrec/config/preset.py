"""What is known of a public data set."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Version(NamedTuple):
    """One published form of a data set; names of files may be patterns, and the first one that is there is read."""

    name: str
    log: tuple[str, ...]
    items: tuple[str, ...] = ()  # of the item table; none: the id is the only text
    users: tuple[str, ...] = ()  # of the table of users, which may be missing
    needs: tuple[str, ...] = ()  # files that tell this version from a later one in the list
    data: Mapping[str, Any] = NOTHING  # values of the section `data`, in addition to those of the data set


class Preset(NamedTuple):
    """A public data set: where it comes from, what its licence allows, and how its files are read."""

    home: str
    licence: str
    data: Mapping[str, Any]  # values of the section `data`, as a recipe would have them
    versions: tuple[Version, ...]
