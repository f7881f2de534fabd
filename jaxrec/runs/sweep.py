"""Train every combination of a grid of settings, once for each seed; each run is that of `jaxrec train`."""

import contextlib
import contextvars
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Literal

import jax

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.config.load import Overrides, build_section, read_yaml, to_dict, to_yaml
from jaxrec.config.schema import Config
from jaxrec.foreign import quoted
from jaxrec.progress import Advance, hushed, note, quiet, track, warn
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.divergence import Diverged
from jaxrec.runs.host_loop import Watching
from jaxrec.runs.recipe import Recipe, default_folder
from jaxrec.runs.sources import Sources
from jaxrec.runs.stopping import stop_on_signals, stopped_by
from jaxrec.runs.sweep_grid import LIMIT, Grid, Member, Setting, members_of
from jaxrec.runs.sweep_programs import Shared, Together
from jaxrec.runs.sweep_results import Sweep, ended, write_results
from jaxrec.runs.sweep_sharing import Users, users_of
from jaxrec.runs.train import check_key, check_recipe, open_folder, train_in, what_changed
from jaxrec.sharding.mesh import make_mesh
from jaxrec.storage.files import write_json
from jaxrec.storage.lock import one_command
from jaxrec.storage.run import RunFolder
from jaxrec.storage.stage_folders import DIVERGED, SweepFolder

MODES = ("auto", "threads", "vmap")
MOST_TOGETHER = 64  # runs in one mapped program


def sweep(
    recipe: Recipe,
    grid: Grid | None = None,
    seeds: int | None = None,
    run: str | Path | None = None,
    overrides: Overrides = (),
    *,
    resume: bool = False,
    silent: bool = False,
    limit: int = LIMIT,
    mode: Literal["auto", "threads", "vmap"] = "auto",
    workers: int = 0,
) -> Sweep:
    """Train every combination of `grid` with each seed, and compare the settings over the seeds.

    `grid` gives values by name, as in `{"learner.learning_rate": [1e-4, 3e-4]}`. `seeds` are 0 to seeds - 1 (default:
    the seed of the recipe). `run` is the folder of the sweep (default: runs/, the recipe's name and -sweep). It holds a
    folder for each run, equal to that of `jaxrec.train` with these settings and this seed. With `resume`, a stopped
    sweep continues, bit for bit. SIGINT and SIGTERM write checkpoints and return (`Sweep.interrupted`).

    Runs that differ only in the seed and in numbers such as the learning rate share one compiled program. `mode` says
    how they go through it: on `threads`, `workers` at a time (default: one per processor core), or all in one mapped
    program (`vmap`). `auto` takes threads on CPU and with several devices, and vmap on one accelerator.

    Raises InputError, with a one-line message, for bad input, and for more than `limit` runs.
    """
    check_name("mode", mode, MODES)
    check_range("limit", limit, 1)
    check_range("workers", workers, 0)
    with quiet(silent), one_command():
        settings, members = members_of(recipe, grid or {}, seeds, overrides, limit)
        _check(members, mode)
        folder = Path(run or f"{default_folder(recipe)}-sweep")
        for member in members:
            check_key(member.config, folder)
        opened = _open(folder, members, resume)
        return _sweep(opened, settings, members, mode, workers, list(grid or {}))


def _check(members: list[Member], mode: str) -> None:
    """Raise InputError for recipes that cannot be trained, before anything is written."""
    if mode == "vmap" and (size := _largest_mesh(members).size) > 1:
        raise InputError(
            f"mode: vmap maps runs on one device, and train.devices asks for {size}; set train.devices to 1, or mode "
            "to threads."
        )
    for member in members:
        if member.config.train.continue_from:
            raise InputError("train.continue_from: a sweep starts its runs anew; use `jaxrec train --continue`.")
        check_recipe(member.config)


def _open(path: Path, members: list[Member], resume: bool) -> SweepFolder:
    """Create the folder, or check that it holds this sweep."""
    values = [pair for member in members for pair in member.setting.values]
    words = {
        "grid": {name: list(dict.fromkeys(value for other, value in values if other == name)) for name, _ in values},
        "seeds": list(dict.fromkeys(member.seed for member in members)),
        "recipe": members[0].config,
    }
    words = to_dict(words)
    if not resume:
        return SweepFolder.create(path, to_yaml(words))
    folder = SweepFolder.reopen(path)
    before = read_yaml(folder.config)
    for name in ("grid", "seeds"):
        # As text: the order of the names decides the names of the runs.
        if to_yaml(before.get(name)) != to_yaml(words[name]):
            raise InputError(
                f"{folder.path}: holds another sweep ({name}: {quoted(before.get(name))} there, {quoted(words[name])} "
                "now); repeat its command with --resume, or name another folder with --run."
            )
    if not isinstance(before.get("recipe"), dict):
        raise InputError(
            f"{folder.config}: damaged (it holds no recipe); restore it, or start another sweep with --run."
        )
    recipe = build_section(Config, before["recipe"], "", str(folder.config))
    if changed := what_changed(recipe, members[0].config):
        raise InputError(
            f"{folder.path}: holds a sweep of another recipe ({changed}); repeat its command with --resume, or name "
            "another folder with --run."
        )
    folder.write_config(to_yaml(words))
    return folder


def _sweep(
    folder: SweepFolder, settings: list[Setting], members: list[Member], mode: str, workers: int, names: list[str]
) -> Sweep:
    started = time.perf_counter()
    mesh = _largest_mesh(members)
    together = Together() if mode == "vmap" or (mode == "auto" and _one_accelerator(mesh)) else None
    if together is None:
        # Programs over several devices wait for each other's parts, and two at once could wait forever.
        workers = 1 if mesh.size > 1 else workers or (_cores() if mesh.devices.flat[0].platform == "cpu" else 1)
    note(
        f"sweep {folder.path}: {len(members)} runs of {len(settings)} settings on {describe_devices()}, "
        + ("all in one mapped program" if together else f"{min(workers, len(members))} at a time")
    )
    left = [one for one in members if not ended(RunFolder(folder.runs / one.name), one.config)]
    shared, users = Shared(names, together), Users(left)
    # Runs with the same users follow each other, so that few users are in memory at once.
    order = list(dict.fromkeys(users_of(one.config) for one in left))
    left.sort(key=lambda one: order.index(users_of(one.config)))
    grace = max(one.config.train.grace_seconds for one in members)
    with _bar(members, left) as begin_bar, stop_on_signals(grace) as stop:

        def work(member: Member) -> None:
            try:
                if not stop:
                    _train(folder, member, shared, users, begin_bar(member, stop))
            except BaseException:
                stop.append(0)  # the others write a checkpoint and end
                raise
            finally:
                users.done(member.config)
                if together is not None:
                    together.leave()

        if together is None:
            _on_threads(work, left, workers, stop)
        else:
            for batch in _batches(left):
                together.begin(len(batch))
                _on_threads(work, batch, len(batch), stop)
    done = [one for one in members if ended(RunFolder(folder.runs / one.name), one.config)]
    seconds = time.perf_counter() - started
    result = Sweep(folder, settings, members, len(done), shared.groups, seconds, stopped_by(stop) if stop else 0)
    if not result.interrupted:
        write_results(result)
    return result


def _batches(left: list[Member]) -> Iterator[list[Member]]:
    """Runs that are mapped together: not too many, and with the same users if these are fitted to a log."""
    same_users = itertools.groupby(left, lambda one: users_of(one.config) if one.config.data is not None else "")
    for _, same in same_users:
        runs = list(same)
        yield from (runs[first : first + MOST_TOGETHER] for first in range(0, len(runs), MOST_TOGETHER))


def _largest_mesh(members: list[Member]) -> jax.sharding.Mesh:
    """The mesh of the runs with the most devices, which may be swept over too."""
    return max((make_mesh(devices) for devices in {one.config.train.devices for one in members}), key=lambda m: m.size)


def _one_accelerator(mesh: jax.sharding.Mesh) -> bool:
    return mesh.size == 1 and mesh.devices.flat[0].platform != "cpu"


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _train(folder: SweepFolder, member: Member, shared: Shared, users: Users, watching: Watching) -> None:
    """Train one run to its end, from where it stands."""
    run = RunFolder(folder.runs / member.name)
    sources = Sources(
        preparing=lambda opened: users.preparing(member.config, opened),
        prepare=users.prepare,
        build=shared.build,
        simulation=shared.simulation,
        watching=watching,
    )
    with hushed():
        opened = open_folder(member.config, run.path, resume=run.config.is_file())
        try:
            train_in(member.config, opened, sources)
        except Diverged as error:  # a figure of the sweep, and no reason to lose the other runs
            write_json(run.path / DIVERGED, {"message": str(error)})
            warn(f"{member.name}: {error}")


@contextlib.contextmanager
def _bar(members: list[Member], left: list[Member]) -> Iterator[Callable[[Member, list[int]], Watching]]:
    """One progress bar over the updates of all runs; yields what makes a run advance it."""
    total, finished = sum(one.config.train.updates for one in members), len(members) - len(left)
    lock = threading.Lock()  # runs advance the bar from their own threads
    with track("sweep", total) as advance:
        advance(total - sum(one.config.train.updates for one in left), f"{finished}/{len(members)} runs")

        def watching(member: Member, stop: list[int]) -> Watching:
            @contextlib.contextmanager
            def part(title: str, updates: int) -> Iterator[Advance]:
                nonlocal finished
                done = 0

                def forward(steps: int = 1, text: str | None = None) -> None:
                    nonlocal done
                    done += steps
                    with lock:
                        advance(steps, f"{finished}/{len(members)} runs")

                try:
                    yield forward
                except Diverged:
                    forward(updates - done)
                    raise
                finally:
                    with lock:
                        finished += done >= updates
                        advance(0, f"{finished}/{len(members)} runs")

            return Watching(part, lambda _: contextlib.nullcontext(stop))

        yield watching


def _on_threads(work: Callable[[Member], None], members: list[Member], workers: int, stop: list[int]) -> None:
    """Run `work` for all members; the first error is raised once the others have written their checkpoints."""
    if not members:
        return
    with ThreadPoolExecutor(min(workers, len(members)), "sweep") as pool:
        waiting = [pool.submit(contextvars.copy_context().run, work, member) for member in members]
        try:
            for one in as_completed(waiting):
                one.result()
        except BaseException:
            stop.append(0)
            raise
