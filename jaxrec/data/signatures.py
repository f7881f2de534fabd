"""Tell by its first bytes that a file is no table of the kind that its name says."""

from pathlib import Path

from jaxrec.checks import InputError

# First bytes, the ending of a name that they belong to, what the file is, and how to mend it.
SIGNATURES = (
    (b"PK\x03\x04", ".zip", "a zip archive or a workbook", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".xls", "a workbook of Excel", "save the sheet as CSV"),
    (b"\x1f\x8b", ".gz", "compressed by gzip", "add .gz to its name"),
    (b"BZh91AY&SY", ".bz2", "compressed by bzip2", "add .bz2 to its name"),
    (b"\x28\xb5\x2f\xfd", ".zst", "compressed by zstd", "add .zst to its name"),
    (b"\xfd7zXZ\x00", ".xz", "compressed by xz", "add .xz to its name"),
    (b"PAR1", ".parquet", "a Parquet file", "let its name end in .parquet"),
    (b"version https://git-lfs", ".lfs", "a pointer of Git LFS in place of the file", "fetch it with `git lfs pull`"),
    (b"<!doctype html", ".html", "a web page", "download the file again"),
    (b"<html", ".html", "a web page", "download the file again"),
)
LONGEST = max(len(signature[0]) for signature in SIGNATURES)


def check_signature(file: Path) -> None:
    """Raise InputError if the first bytes of a file are those of another kind than its name says."""
    with file.open("rb") as opened:
        start = opened.read(LONGEST).lower()
    for signature, ending, kind, mend in SIGNATURES:
        if start.startswith(signature.lower()) and file.suffix.lower() != ending:
            raise InputError(f"{file}: is {kind}; expected a table; {mend}.")
