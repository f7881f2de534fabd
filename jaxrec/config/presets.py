"""Public data sets: what `data.source: movielens` and the like fill into the section `data`.

A preset holds values as a recipe would have them. They are filled in when a recipe is loaded, so a run's `config.yaml`
shows them. What the recipe sets itself comes first.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.config.preset import Preset, Version
from jaxrec.config.public_events import EVENTS
from jaxrec.config.public_ratings import RATINGS
from jaxrec.home import expanded

PRESETS: dict[str, Preset] = {**RATINGS, **EVENTS}
FOLDERS = ("", "data/")  # of `data.path`, where an archive may hold its files
MERGED = ("columns", "files", "files.log", "files.items", "files.users", "ids")  # filled key by key


def with_preset(values: Mapping[str, Any], general: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what the data set `source` has and the section `data` of a recipe does not set.

    `general` has the names of files and columns that logs have by default. No data set has these, so they count as
    not set. A folder that is not there yet gets the values of the first version, and no `version`.
    """
    preset = PRESETS.get(str(values.get("source")))
    if preset is None:
        return dict(values)
    given = without_general(values, general)
    wanted = str(given.get("version") or "")
    path = str(given.get("path") or "")
    found = find(preset, expanded(path), wanted) if path else None
    if found is None:
        named = [version for version in preset.versions if version.name == wanted]
        version = (named or preset.versions)[0]
        files = {"log_file": version.log[0], "item_file": _first(version.items), "user_file": ""}
    else:
        version, files = found
    defaults = _merged(preset.data, version.data)
    defaults |= files | ({} if found is None else {"version": version.name})
    if given.get("item_file", defaults["item_file"]) in ("", None):
        defaults.pop("text", None)  # it names columns of the item table
    return _merged(defaults, given)


def find(preset: Preset, folder: Path, version: str = "") -> tuple[Version, dict[str, str]] | None:
    """Find the version of a data set that a folder holds, and its files as `data` names them."""
    for inner in FOLDERS:
        for one in preset.versions:
            log = _present(folder, inner, one.log)
            if version not in ("", one.name) or not log or not all(_present(folder, inner, (n,)) for n in one.needs):
                continue
            items = _present(folder, inner, one.items) or (one.items and inner + one.items[0]) or ""
            users = _present(folder, inner, one.users)
            return one, {"log_file": log, "item_file": items, "user_file": users}
    return None


def check_found(source: str, path: str, log_file: str) -> None:
    """Raise InputError if the log of a public data set is not in the folder, unless the recipe names another file."""
    preset, folder = PRESETS[source], expanded(path)
    if not path or not folder.is_dir():
        got = f"{folder} is not a folder" if path else "it is empty"
        raise InputError(
            f"data.path: {got}; get the data set of data.source={source} from {preset.home}, unpack it, and set "
            "data.path to its folder."
        )
    names = list(dict.fromkeys(name for version in preset.versions for name in version.log))
    if log_file.removeprefix(FOLDERS[-1]) in names and not _present(folder, "", (log_file,)):
        others = f" or {names[-1]}" if len(names) > 1 else ""
        raise InputError(
            f"{folder}: no such file as {', '.join(names[:-1] if others else names)}{others}, from which "
            f"data.source={source} reads; get the data set from {preset.home}, unpack it, and set data.path to its "
            "folder."
        )


def _present(folder: Path, inner: str, names: Iterable[str]) -> str:
    """Give the first of the names or patterns that a file has; empty if there is none."""
    for name in names:
        if any(path.is_file() for path in folder.glob(inner + name)):
            return inner + name
    return ""


def _first(names: tuple[str, ...]) -> str:
    return names[0] if names else ""


def without_general(values: Mapping[str, Any], general: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the values that are the general ones."""
    rest = {}
    for key, value in values.items():
        inner = general.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            rest[key] = without_general(value, inner)
        elif key not in general or value != inner:
            rest[key] = value
    return rest


def _merged(low: Mapping[str, Any], high: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Put `high` over `low`; sections in MERGED are merged, all other values are replaced."""
    merged = dict(low)
    for key, value in high.items():
        place = f"{where}.{key}" if where else key
        if place in MERGED and isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], value, place)
        else:
            merged[key] = value
    return merged
