"""The folder of a log, and the files in it that a recipe names."""

import glob
import os
from pathlib import Path

from jaxrec.checks import InputError, suggest
from jaxrec.home import expanded

MARKS = (".", "_SUCCESS", "_metadata", "_common_metadata", "_committed_", "_started_")  # of Spark and others, no tables


def data_folder(path: str) -> Path:
    """Give the folder that `data.path` names, or raise InputError."""
    folder = expanded(path)
    if not path or not folder.is_dir():
        got = f"{folder} is not a folder" if path else "it is empty"
        raise InputError(f"data.path: {got}; set it to the folder that holds the log.")
    return folder


def files_of(path: Path, setting: str = "") -> list[Path]:
    """Find the file, or the files of the pattern in the order of their names; raises InputError if there is none."""
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder; expected a file, or several as {path.name}/*.parquet; correct {setting}."
        )
    if path.is_file():
        return [path]
    if os.path.lexists(path):
        raise InputError(
            f"{path}: is a link to nothing, a pipe or a device; expected a file, which is read more than once; correct "
            f"{setting}."
        )
    folder = next(parent for parent in path.parents if parent.is_dir())
    pattern = str(path.relative_to(folder))
    if not glob.has_magic(pattern):
        others = [p.name for p in folder.iterdir()] if folder == path.parent else []
        raise InputError(f"{path}: no such file{suggest(path.name, others)}; correct {setting} or add the file.")
    aside = tuple(one for one in MARKS if not Path(pattern).name.startswith(one))
    files = sorted(file for file in folder.glob(pattern) if file.is_file() and not file.name.startswith(aside))
    if not files:
        raise InputError(f"{path}: no file matches this pattern; correct {setting} or add files.")
    return files
