"""Configs of public data sets that were built in Python and not loaded from a recipe."""

import dataclasses

from jaxrec.config.data import DataConfig
from jaxrec.config.load import build_section, to_dict, written

# How the files are read. Everything else, such as the kinds of feedback, is what the program set.
READING = ("version", "log_file", "item_file", "user_file", "columns", "files", "where", "ids", "time_format")


def completed(config: DataConfig) -> DataConfig:
    """Fill in how the files of a public data set are read, where the config has the general defaults.

    A recipe has been filled in when it was loaded: then `version` is set.
    """
    if config.version:
        return config
    general = DataConfig()
    names = ("source", "path", *READING)
    changed = [name for name in names if getattr(config, name) != getattr(general, name)]
    given = {written(name): to_dict(getattr(config, name)) for name in changed}
    for section in ("columns", "files"):  # only the keys that differ
        if section in given:
            given[section] = _changed(given[section], to_dict(getattr(general, section)))
    built = build_section(DataConfig, given, "data", f"data.source={config.source}")
    return dataclasses.replace(config, **{name: getattr(built, name) for name in READING})


def _changed(values: dict, general: dict) -> dict:
    """Take the values that differ from the general ones, also inside sections."""
    rest = {key: value for key, value in values.items() if value != general.get(key)}
    return {
        key: _changed(value, general[key]) if isinstance(general.get(key), dict) else value
        for key, value in rest.items()
    }
