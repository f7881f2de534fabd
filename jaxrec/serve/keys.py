"""API keys: random words of which the service keeps only hashes, what they may do, and how often.

A key has 256 random bits, so one round of SHA-256 is enough: nobody can guess it, with or without its hash.
"""

import hashlib
import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jaxrec.checks import InputError, check_name
from jaxrec.foreign import quoted
from jaxrec.storage.files import read_json, write_json

SCOPES = ("recommend", "feedback", "admin")  # admin may do everything
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
HASH = re.compile(r"[0-9a-f]{64}")
MOST_BUCKETS = 100_000  # keys and subjects of tokens that the limit of rates remembers
REMEDY = "restore the file, or delete it and make new keys with `jaxrec serve RUN --new-key NAME`"


class Key(NamedTuple):
    """What is known of a key; never the key itself."""

    name: str
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        """Whether the key is good for `scope`."""
        return scope in self.scopes or "admin" in self.scopes


class Verifier(Protocol):
    """Verifies tokens that are not in the file of keys."""

    def find(self, token: str) -> Key | None:
        """What is known of a token; None if it is not valid."""
        ...


class Keys:
    """The keys in a file: {hash: Key}."""

    def __init__(self, path: Path, tokens: Verifier | None = None):
        """Read the file, if it exists; raises InputError if it is damaged. `tokens` verifies what is not in it."""
        self.path, self._keys = path, _read(path) if path.exists() else {}
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key: str) -> Key | None:
        """What is known of a key; None if it is no key of ours."""
        found = self._keys.get(_hash(key))
        return self._tokens.find(key) if found is None and self._tokens is not None else found

    def add(self, name: str, scopes: Sequence[str]) -> str:
        """Make a key, store its hash and give the key, which is never shown again. Raises InputError."""
        check_new(name, scopes)
        if any(known.name == name for known in self._keys.values()):
            raise InputError(f"--new-key: there is a key {name} already; remove it from {self.path} or name another.")
        key = f"jr_{secrets.token_urlsafe(32)}"
        self._keys[_hash(key)] = Key(name, tuple(scopes))
        rows = [{"name": k.name, "scopes": list(k.scopes), "sha256": h} for h, k in self._keys.items()]
        write_json(self.path, rows)
        self.path.chmod(0o600)
        return key


def check_new(name: str, scopes: Sequence[str]) -> None:
    """Raise InputError unless a key may have this name and these scopes."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"--new-key: expected a name of letters, digits, '_', '.' and '-', at most 64, got {quoted(name)}."
        )
    if not scopes:
        raise InputError(f"--scopes: expected at least one of {', '.join(SCOPES)}, got none.")
    for scope in scopes:
        check_name("--scopes", scope, SCOPES)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> dict[str, Key]:
    found: dict[str, Key] = {}
    for row in read_json(path, REMEDY, kind=list):
        if not _whole(row):
            raise InputError(f"{path}: damaged (a row is not an API key); {REMEDY}.")
        found[row["sha256"]] = Key(row["name"], tuple(row["scopes"]))
    return found


def _whole(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("name"), str)
        and isinstance(row.get("scopes"), list)
        and all(scope in SCOPES for scope in row["scopes"])
        and isinstance(row.get("sha256"), str)
        and HASH.fullmatch(row["sha256"]) is not None
    )


def is_loopback(host: str) -> bool:
    """Whether a name or an address is one of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class RateLimit:
    """A token bucket for each key: `rate` requests per second on average, `burst` at once; rate 0: no limit."""

    def __init__(self, rate: float, burst: int, now: Callable[[], float] = time.monotonic):
        """`now` gives seconds."""
        self._rate, self._burst, self._now = rate, float(burst), now
        self._buckets: dict[str, tuple[float, float]] = {}  # name -> tokens, when they were counted
        self._sweep = MOST_BUCKETS  # buckets from which on full ones are forgotten

    def wait(self, name: str) -> float:
        """Take a token; gives 0, or the seconds until there is one, and then takes none."""
        if not self._rate:
            return 0.0
        now = self._now()
        tokens, then = self._buckets.get(name, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        taken = tokens >= 1.0
        self._buckets[name] = (tokens - taken, now)
        if len(self._buckets) > self._sweep:  # forget full buckets: they equal new ones
            full = [one for one, (left, at) in self._buckets.items() if left + (now - at) * self._rate >= self._burst]
            for one in full:
                del self._buckets[one]
            self._sweep = max(MOST_BUCKETS, 2 * len(self._buckets))  # not at every request while none is full
        return 0.0 if taken else (1.0 - tokens) / self._rate
