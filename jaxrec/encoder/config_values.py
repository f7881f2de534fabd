"""Values of a config.json, read by name and type."""

from typing import Any

from jaxrec.checks import InputError, check_range
from jaxrec.foreign import quoted

_REQUIRED = object()
_MOST = 2**24  # of any size: the largest models have 1.6 million words and 10 million positions
_LAYERS: dict[str, int] = dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer"), 1024)  # each is built


class ConfigValues:
    """Values of a config.json by name; a missing value, or one of another type, is an error that names it."""

    def __init__(self, values: dict[str, Any]):
        self.values = values

    def _get(self, name: str, kind: type, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            if default is _REQUIRED:
                raise InputError(f"{name} missing; fetch the file again.")
            return default
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise InputError(f"{name}: expected a value of type {kind.__name__}, got {quoted(value)}.")
        return value

    def whole(self, name: str, default: Any = _REQUIRED, *, least: int = 1) -> Any:
        """Read a whole number from `least` to what any model has; null counts as missing, here and below."""
        value = self._get(name, int, default)
        if value is not default:
            check_range(name, value, least)
            if value > (most := _LAYERS.get(name, _MOST)):
                raise InputError(f"{name}: expected at most {most:,}, got {value:.3g}; fetch the file again.")
        return value

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        """Read a number above 0."""
        value = self._get(name, float, default)
        if value is not default:
            check_range(name, value, 0, open_low=True)
        return value

    def word(self, name: str, default: Any = _REQUIRED) -> Any:
        """Read a string."""
        return self._get(name, str, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """Read true or false."""
        return self._get(name, bool, default)

    def words(self, name: str) -> list[str]:
        """Read a list of words, empty where there is none."""
        return self._get(name, list, [])

    def mapping(self, name: str) -> dict[str, Any]:
        """Read an object, empty where there is none."""
        return self._get(name, dict, {})

    def only(self, **wanted: Any) -> None:
        """Raise if a value is given that the mathematics here does not cover."""
        for name, want in wanted.items():
            if self.values.get(name) not in (want, None):
                raise InputError(f"{name}: only {quoted(want)} is supported, got {quoted(self.values[name])}.")
