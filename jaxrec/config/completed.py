"""Configs of public data sets that were built in Python and not loaded from a recipe."""

import dataclasses

from jaxrec.config.data import DataConfig
from jaxrec.config.load import build_section, to_dict
from jaxrec.config.presets import without_general

# How the files are read. Everything else, such as the kinds of feedback, is what the program set.
READING = ("version", "log_file", "item_file", "user_file", "columns", "files", "where", "ids", "time_format")


def completed(config: DataConfig) -> DataConfig:
    """Fill in how the files of a public data set are read, where the config has the general defaults.

    A recipe has been filled in when it was loaded: then `version` is set.
    """
    if config.version:
        return config
    values = {name: value for name, value in to_dict(config).items() if name in ("source", "path", *READING)}
    given = without_general(values, to_dict(DataConfig()))
    built = build_section(DataConfig, given, "data", f"data.source={config.source}")
    return dataclasses.replace(config, **{name: getattr(built, name) for name in READING})
