"""Private ids: a user id becomes a keyed hash as it is read, and the key stays outside every run.

The hash is HMAC-SHA256 (RFC 2104), 128 bits in hex. Without the key, a pseudonym cannot be turned back into the id, not
even by hashing all possible ids. With the key, `jaxrec recommend RUN --user ID` finds a user's rows.
"""

import contextlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.home import expanded

VARIABLE = "JAXREC_USER_KEY"
KEY_BYTES, KEY_CHARACTERS = 32, 32  # bytes of a key made here (written in hex); least characters of any key
PSEUDONYM_BYTES = 16  # among a billion users, a collision has probability 2e-21
PSEUDONYM = re.compile(rf"(visit-)?[0-9a-f]{{{2 * PSEUDONYM_BYTES}}}")  # visit-: somebody without an id (jaxrec serve)
REMEDY = f"set data.user_key_file to another file, or the environment variable {VARIABLE}"


class UserKey(NamedTuple):
    """The secret, and a line for the account that says where it came from."""

    secret: bytes
    account: str


def pseudonymise(ids: Iterable[str], secret: bytes) -> tuple[str, ...]:
    """Pseudonyms of ids, in order; to save time, pass each id only once."""
    return tuple(hmac.digest(secret, user.encode(), "sha256")[:PSEUDONYM_BYTES].hex() for user in ids)


def check_pseudonyms(users: Sequence[str], where: Path) -> None:
    """Raise InputError unless all user ids of a log are pseudonyms already, as `data.pseudonyms` says."""
    if wrong := sum(PSEUDONYM.fullmatch(user) is None for user in users):
        raise InputError(
            f"{where}: data.pseudonyms says that user ids are hashed already, but {wrong:,} of {len(users):,} are no "
            "pseudonyms; set data.pseudonyms=false for a log with ids of your own."
        )


def user_key(config: DataConfig) -> UserKey:
    """Get the key from JAXREC_USER_KEY, else from `data.user_key_file`, which is made if it does not exist.

    Raises InputError if the key is too short or cannot be read or made.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return UserKey(_checked(given.encode(), VARIABLE), f"user ids: hashed with the key in {VARIABLE}")
    path = _path(config)
    try:
        if not path.exists():
            _make(path)
        tightened = _tighten(path)
        secret = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the key for user ids cannot be read or made ({error.strerror}); {REMEDY}.") from None
    return UserKey(_checked(secret, str(path)), f"user ids: hashed with the key in {path}{tightened}")


def check_key_outside(config: DataConfig, folder: Path) -> None:
    """Raise InputError if the key would be in `folder`: whoever gets the run must not get the key with it."""
    if config.source == "generated" or VARIABLE in os.environ:
        return
    path = _path(config).resolve()
    if path.is_relative_to(folder.resolve()):
        raise InputError(f"data.user_key_file: {path} is inside {folder}, which may be passed on; {REMEDY}.")


def _path(config: DataConfig) -> Path:
    if not config.user_key_file:
        raise InputError(f"data.user_key_file: expected a file, got an empty name; {REMEDY}.")
    return expanded(config.user_key_file)


def _tighten(path: Path) -> str:
    """Take a key from all but its owner; gives what to say of it. Raises InputError where that cannot be done."""
    others = stat.S_IMODE(path.stat().st_mode) & 0o077
    if not others or path.is_dir():
        return ""
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o077)
    except OSError as error:
        raise InputError(
            f"{path}: the key for user ids can be read by others, and cannot be taken from them ({error.strerror}); "
            f"run chmod 600 on it as its owner, or {REMEDY}."
        ) from None
    return ", which others could read until now: if they may have, change it"


def _make(path: Path) -> None:
    """Write a random key that only its owner can read, unless another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # unlike a rename it never replaces a key that is already in use
    finally:
        temporary.unlink(missing_ok=True)


def _checked(secret: bytes, where: str) -> bytes:
    """Strip the blanks around a key, so that the variable and the file may hold the same text, and check its length."""
    secret = secret.strip()
    if len(secret) < KEY_CHARACTERS:
        raise InputError(
            f"{where}: expected a key for user ids of at least {KEY_CHARACTERS} characters, got {len(secret)}; "
            "give a longer one, or remove it to have one made."
        )
    return secret
