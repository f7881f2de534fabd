"""Reading the files of a folder that may be half written or damaged."""

from pathlib import Path
from typing import Any

from jaxrec.storage.digests import check_file
from jaxrec.storage.files import read_json_object
from jaxrec.storage.run import rows_of


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file, without an incomplete last row."""
    return [row for _, row in rows_of(path)] if path.is_file() else []


def read_account(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; it must be the one that was written if it has a digest next to it."""
    fix = "its folder is half copied or damaged: restore the file, or make the folder again"
    check_file(path, fix, must=False)
    return read_json_object(path, fix)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
