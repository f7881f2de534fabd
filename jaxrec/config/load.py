"""Load recipes from YAML into typed sections.

Unknown keys, wrong types and values out of range fail here, with an error of one line.
"""

import dataclasses
import keyword
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from jaxrec.bounded import RECIPE_BYTES, read_text
from jaxrec.checks import InputError, check_name, check_renamed, suggest
from jaxrec.config.safe_yaml import load_yaml
from jaxrec.foreign import quoted

T = TypeVar("T")

TEMPLATE = re.compile(r"\{[^{}]+\}.")  # a text that begins with a column: {title}. {genres}
BROKEN = re.compile("[\x00\ud800-\udfff]")  # NUL and halves of escaped characters: no file can have such a name
LARGEST_WHOLE = 2**63 - 1  # of the whole numbers that arrays hold
Overrides = Sequence[str] | Mapping[str, Any]  # ("section.key=value", ...) or {"section.key": value}

RENAMED = {"env": {"return_model": "comeback_model"}}  # section -> old name of a field -> new name


def load_config(cls: type[T], path: str | Path, overrides: Overrides = ()) -> T:
    """Read the recipe at `path`, apply `section.key=value` overrides, and build `cls`.

    Raises InputError that names the file (or the override), the key, what was expected and the nearest known name.
    """
    path = Path(path)
    values = read_yaml(path)
    apply_overrides(values, overrides)
    return build_section(cls, values, "", str(path))


def config_of(cls: type[T], overrides: Overrides, where: str) -> T:
    """Build the section `cls`, called `where` in messages, from `key=value` overrides alone."""
    values: dict[str, Any] = {}
    apply_overrides(values, overrides)
    return build_section(cls, values, where, "command line")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file; errors name the file and, if known, the line."""
    try:
        values = load_yaml(read_text(path, RECIPE_BYTES))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the recipes that come with jaxrec are in configs/.") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name with a NUL
        if isinstance(error, InputError):
            raise InputError(_once(path, error)) from None
        raise InputError(
            f"{path}: cannot be read as text ({getattr(error, 'strerror', None) or error}); save it as UTF-8."
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        reason = " ".join(str(getattr(error, "problem", error)).split())
        raise InputError(f"{path}: {where}not valid YAML ({reason}).") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections such as 'train:' at the top, got {type(values).__name__}.")
    return values


def _once(path: Path, error: InputError) -> str:
    """The message with the name of the file, which some messages have already."""
    return str(error) if str(error).startswith(str(path)) else f"{path}: {error}"


def build_section(cls: type[T], values: Mapping[str, Any], where: str, source: str) -> T:
    """Build the dataclass `cls` from a mapping; `where` is the dotted name of the section, `source` the file."""
    fields = {written(field.name): field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = {written(name): hint for name, hint in typing.get_type_hints(cls, include_extras=True).items()}
    for key in values:
        check_renamed(f"{source}: {where or 'the recipe'}", key, RENAMED.get(where, {}))
        if key not in fields:
            raise InputError(f"{source}: {where or 'the recipe'} has no field {quoted(key)}{suggest(key, fields)}.")
    if hasattr(cls, "filled"):
        values = cls.filled(values)  # type: ignore[attr-defined]
    values = {key: _with_default_variant(value, fields[key].default) for key, value in values.items()}
    given = {key: _convert(value, hints[key], _dotted(where, key), source) for key, value in values.items()}
    missing = [
        name
        for name, field in fields.items()
        if name not in given and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{source}: {_dotted(where, missing[0])} is missing; give it a value.")
    try:
        return cls(**{fields[key].name: value for key, value in given.items()})
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def written(name: str) -> str:
    """Give the key of a field in a recipe: `in_` is written `in`, which cannot name a field in Python."""
    word = name.removesuffix("_")
    return word if keyword.iskeyword(word) else name


def to_dict(config: Any) -> Any:
    """Turn a config into plain data: nested dicts, lists and scalars, ready for YAML or JSON."""
    if dataclasses.is_dataclass(config):
        return {written(field.name): to_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    if isinstance(config, tuple | list):
        return [to_dict(value) for value in config]
    return config


def to_yaml(config: Any) -> str:
    """Write the resolved config as YAML; `load_config` reads it back to an equal config."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def apply_overrides(values: dict[str, Any], overrides: Overrides) -> None:
    """Put the overrides into the nested dict `values`, in order."""
    if isinstance(overrides, Mapping):
        for name, value in overrides.items():
            _put(values, name, to_dict(value), f"{name}={value}")
        return
    for override in overrides:
        name, sign, text = override.partition("=")
        if not sign or not name.strip():
            raise InputError(f"override {quoted(override)}: expected section.key=value, such as train.updates=100.")
        _put(values, name, _override_value(text, override), override)


def _override_value(text: str, override: str) -> Any:
    """Read the value of an override as YAML, unless it is a text that only looks like YAML."""
    if text.startswith(("%", ",", "|")):
        return text  # patterns of dates and separators; they cannot begin a plain value of YAML
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, InputError) as error:
        if TEMPLATE.match(text):
            return text
        reason = f" ({error})" if isinstance(error, InputError) else ""
        raise InputError(f"override {quoted(override)}: the value is not valid YAML{reason}.") from None
    bare = isinstance(value, dict) and value and all(inner is None for inner in value.values())
    return text if bare and text.startswith("{") else value


def _put(values: dict[str, Any], name: str, value: Any, override: str) -> None:
    *sections, key = name.strip().split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if inner is None:
            inner = values[section] = {}
        if not isinstance(inner, dict):
            raise InputError(f"override {quoted(override)}: {quoted(section)} is a value, not a section.")
        values = inner
    values[key] = value


def _with_default_variant(value: Any, default: Any) -> Any:
    """Fill in the values of the default variant, unless the section names another variant."""
    variant = getattr(default, "name", None)
    if variant is None or not isinstance(value, Mapping) or value.get("name", variant) != variant:
        return value
    return {**to_dict(default), **value}


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)


def _convert(value: Any, hint: Any, where: str, source: str) -> Any:
    """Turn a YAML value into the type of its field; raises InputError that says what was expected."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _convert_variant(value, arguments[1].table(), where, source)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, arguments, where, source)
    if dataclasses.is_dataclass(hint):
        if dataclasses.is_dataclass(value):
            return value  # built in Python and passed as an option
        if not isinstance(value, Mapping):
            raise _wrong(source, where, "a section of keys", value)
        return build_section(hint, value, where, source)  # type: ignore[arg-type]
    if origin is typing.Literal:
        if value not in arguments:
            wanted = " | ".join(str(a) for a in arguments)
            raise InputError(
                f"{source}: {where}: expected {wanted}, got {quoted(value)}{suggest(value, map(str, arguments))}."
            )
        return value
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(source, where, "names with values", value)
        return {str(k): _convert(v, arguments[1], _dotted(where, k), source) for k, v in value.items()}
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(source, where, "a list such as [1, 2]", value)
        return tuple(_convert(v, arguments[0], f"{where}[{n}]", source) for n, v in enumerate(value))
    return _convert_scalar(value, hint, where, source)


def _convert_union(value: Any, options: tuple, where: str, source: str) -> Any:
    if type(None) in options:
        if value is None:
            return None
        options = tuple(o for o in options if o is not type(None))
    if len(options) == 1:
        return _convert(value, options[0], where, source)
    by_name = {str(next(f.default for f in dataclasses.fields(o) if f.name == "name")): o for o in options}
    return _convert_variant(value, by_name, where, source)


def _convert_variant(value: Any, by_name: Mapping[str, type], where: str, source: str) -> Any:
    """Build the variant of a section that the field `name` asks for."""
    if dataclasses.is_dataclass(value):
        return value
    if not isinstance(value, Mapping) or "name" not in value:
        raise _wrong(source, where, f"a section with name: {' | '.join(by_name)}", value)
    try:
        check_name(f"{where}.name", str(value["name"]), by_name)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return build_section(by_name[value["name"]], value, where, source)


def _convert_scalar(value: Any, hint: type, where: str, source: str) -> Any:
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as text; accept this spelling for float fields.
        try:
            return float(value)
        except ValueError:
            raise _wrong(source, where, "a number", value) from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and value is None:
        return ""  # `key=` on the command line, `key:` in a file
    if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and BROKEN.search(value):
        raise _wrong(source, where, "text", value, "; remove the NUL or the half of an escaped character in it")
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        raise _wrong(source, where, f"a whole number of at most {LARGEST_WHOLE:,}", value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        mend = "; put words such as yes and true in quotes" if hint is str and isinstance(value, bool) else ""
        raise _wrong(source, where, names.get(hint, hint.__name__), value, mend)
    return value


def _wrong(source: str, where: str, wanted: str, got: Any, mend: str = "") -> InputError:
    return InputError(f"{source}: {where}: expected {wanted}, got {quoted(got)}{mend}.")
