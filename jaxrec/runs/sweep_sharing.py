"""What the runs of a sweep share besides programs: the users that are fitted to a log, and a pretrained start."""

import contextlib
import os
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrec.config.load import to_dict, to_yaml
from jaxrec.config.schema import Config
from jaxrec.data.matrix import FILE
from jaxrec.runs.sources import prepare
from jaxrec.runs.start_from import PRETRAIN
from jaxrec.runs.sweep_grid import Member
from jaxrec.runs.users.kind import Prepared
from jaxrec.serve import SavedPolicy
from jaxrec.storage.files import atomic_path
from jaxrec.storage.lock import LOCK
from jaxrec.storage.run import RunFolder
from jaxrec.types import Env

FITTED = ("simulators", FILE, "pretrain")  # what a run makes before it trains


def users_of(config: Config) -> str:
    """What must be equal for two runs to have the same users, and the same start: all but learning itself."""
    sections: dict[str, Any] = to_dict(config)
    learner, train = sections.pop("learner"), sections.pop("train")
    if start := learner["start_from"]:
        sections["start"] = [start, learner["policy"]]
    return to_yaml([sections, train["devices"]])


class Users:
    """Prepares the users of each seed once; the folders of the other runs share its files.

    Users without a log cost nothing, and every run makes its own.
    """

    def __init__(self, members: list[Member]):
        """Nothing is prepared yet; `members` are the runs of this call, each of which must be `done`."""
        self._left = Counter(users_of(one.config) for one in members)
        self._counting = threading.Lock()  # of what all threads change
        self._locks: defaultdict[str, Any] = defaultdict(threading.Lock)
        self._ready: dict[str, tuple[Prepared, Env]] = {}
        self._donors: dict[str, Path] = {}

    @contextlib.contextmanager
    def preparing(self, config: Config, run: RunFolder) -> Iterator[None]:
        """One run at a time prepares the same users; later ones get the files of the first."""
        if config.data is None:
            yield
            return
        key = users_of(config)
        with self._counting:
            preparing = self._locks[key]
        with preparing:
            if key in self._donors:
                for part in FITTED:
                    share(self._donors[key] / part, run.path / part)
            yield
            self._donors.setdefault(key, run.path)

    def prepare(self, config: Config, run: RunFolder, before: SavedPolicy | None) -> tuple[Prepared, Env]:
        """The users of a run, from memory if another run has prepared them."""
        key = users_of(config)
        if config.data is None:
            return prepare(config, run, before)
        if key not in self._ready:
            self._ready[key] = prepare(config, run, before)
        return self._ready[key]

    def done(self, config: Config) -> None:
        """One run has ended; what no further run needs is forgotten."""
        key = users_of(config)
        with self._counting:
            self._left[key] -= 1
            if not self._left[key]:
                self._ready.pop(key, None)


def share(source: Path, target: Path) -> None:
    """Give a run the files of another one, as hard links where the disk has them; such files are only replaced."""
    if target.exists() or not source.exists():
        return
    with atomic_path(target.absolute()) as temporary:
        if source.is_dir():
            ignored = shutil.ignore_patterns("checkpoints", "events.*") if source.name == PRETRAIN else None
            shutil.copytree(source, temporary, copy_function=_link, ignore=ignored)
        else:
            _link(str(source), str(temporary))


def _link(source: str, target: str) -> str:
    """Link a file, or copy it if it is locked or appended to: a change would then be one of both runs."""
    if Path(source).name == LOCK or source.endswith(".jsonl"):
        return shutil.copy2(source, target)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
