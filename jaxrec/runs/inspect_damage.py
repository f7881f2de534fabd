"""What is damaged in a folder: everything in it that has digests is compared with them. Imports no JAX."""

import os
from collections.abc import Iterator
from pathlib import Path

from jaxrec.checks import InputError
from jaxrec.storage.digests import (
    DESCRIPTION,
    DIGESTS,
    ENDING,
    Damaged,
    check_described,
    check_digests,
    check_file,
    is_sealed,
)
from jaxrec.storage.files import read_json_object
from jaxrec.storage.inside import check_folder
from jaxrec.storage.steps import ASIDE, METRICS, read_metrics

FIX = "restore it, or make it again"


def damage_in(folder: Path) -> list[str]:
    """One line for each sealed folder or file in `folder` that is not as it was written.

    What an earlier version wrote has no digests, and a note says so. Raises InputError if a link leads out of the
    folder, or if something in it is no file.
    """
    check_folder(folder)
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.endswith((ASIDE, ".tmp")))
        for check in _checks(Path(place), names):
            try:
                check()
            except Damaged as error:
                found.append(str(error))
    return found


def _checks(place: Path, names: list[str]) -> Iterator:
    """The checks of one folder, without those of the folders in it."""
    if place.name.isdigit() and (place / METRICS).is_file():
        yield lambda: read_metrics(place)
    elif is_sealed(place):
        yield lambda: check_digests(place, FIX)
    elif DESCRIPTION in names:
        yield lambda: _check_description(place)
    for name in sorted(names):
        if name.endswith(ENDING) and name != DIGESTS:
            yield lambda name=name: check_file(place / name.removesuffix(ENDING), FIX)


def _check_description(place: Path) -> None:
    try:
        description = read_json_object(place / DESCRIPTION, FIX)
    except InputError as error:
        raise Damaged(str(error)) from None
    check_described(place, description, FIX)
