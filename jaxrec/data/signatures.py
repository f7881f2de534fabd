"""Tell by its ending or its first bytes that a file is no table of the kind that its name says."""

from pathlib import Path

from jaxrec.checks import InputError
from jaxrec.data.unpacked import COMPRESSED, open_bytes

UNPACK, SAVE, AGAIN = "unpack it", "save the sheet as CSV", "download the file again"
WRITE = "write it as Parquet or CSV with the program that made it"
# Endings of files that are often at hand and are not read, what they are, and how to mend it.
ENDINGS = {
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".tgz"), ("an archive", UNPACK)),
    **dict.fromkeys((".lz4", ".z", ".br", ".snappy", ".lzo"), ("compressed in a way that is not read", UNPACK)),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), ("a workbook", SAVE)),
    **dict.fromkeys((".arrow", ".feather", ".orc", ".avro", ".h5", ".hdf5"), ("a format that is not read", WRITE)),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".mat", ".rds", ".sav", ".dta"), ("a format that is not read", WRITE)),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".duckdb", ".sql"), ("a database", "export its table as CSV")),
}
# First bytes, the endings that they belong to, what the file is, and how to mend it.
SIGNATURES = (
    (b"PK\x03\x04", (".zip",), "a zip archive or a workbook", f"{UNPACK}, or {SAVE}"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", (".xls",), "a workbook of Excel", SAVE),
    (b"\x1f\x8b", (".gz",), "compressed by gzip", "add .gz to its name"),
    (b"BZh91AY&SY", (".bz2",), "compressed by bzip2", "add .bz2 to its name"),
    (b"\x28\xb5\x2f\xfd", (".zst",), "compressed by zstd", "add .zst to its name"),
    (b"\xfd7zXZ\x00", (".xz",), "compressed by xz", "add .xz to its name"),
    (b"\x04\x22\x4d\x18", (), "compressed by lz4", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", (), "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", (), "a rar archive", UNPACK),
    (b"PAR1", (".parquet",), "a Parquet file", "let its name end in .parquet"),
    (b"ARROW1", (), "an Arrow or Feather file", "write it as Parquet"),
    (b"Obj\x01", (), "an Avro file", "write it as Parquet"),
    (b"\x89HDF\r\n", (), "an HDF5 file", "write it as Parquet"),
    (b"SQLite format 3\x00", (), "a database of SQLite", "export its table as CSV"),
    (b"%PDF-", (), "a PDF", "save the table as CSV"),
    (b"{\\rtf", (), "a text with formats", "save it as plain text"),
    (b"version https://git-lfs", (), "a pointer of Git LFS in place of the file", "fetch it with `git lfs pull`"),
    (b"<!doctype html", (), "a web page", AGAIN),
    (b"<html", (), "a web page", AGAIN),
    (b"<?xml", (), "an XML page", f"{AGAIN}, or write it as CSV"),
)
START = 512  # bytes; an archive of tar has its mark in the first block
TAR, TAR_MARK = 257, b"ustar"


def check_ending(file: Path, known: str) -> None:
    """Raise InputError for a file whose ending is of a known kind that is not read; `known` lists those that are."""
    for suffix in reversed(file.suffixes[-2:]):  # of log.tar.gz both
        if suffix.lower() in ENDINGS:
            kind, mend = ENDINGS[suffix.lower()]
            raise InputError(f"{file}: is {kind}; expected a table ({known}); {mend}.")


def check_signature(file: Path) -> None:
    """Raise InputError if the first bytes of a file, or of what it unpacks to, are of another kind than it says."""
    with file.open("rb") as opened:
        _check(file, opened.read(START), file.suffix.lower())
    if file.suffix.lower() in COMPRESSED:
        with open_bytes(file) as unpacked:
            _check(file, bytes(unpacked.read(START)), Path(file.stem).suffix.lower(), inside=True)


def _check(file: Path, start: bytes, suffix: str, inside: bool = False) -> None:
    if start[TAR:].startswith(TAR_MARK):
        raise InputError(f"{file}: is an archive of tar; expected a table; {UNPACK}.")
    for signature, endings, kind, mend in SIGNATURES:
        if start.lower().startswith(signature.lower()) and suffix not in endings:
            what = f"contains data that is {kind}" if inside else f"is {kind}"
            raise InputError(f"{file}: {what}; expected a table; {'unpack it first' if inside else mend}.")
