"""Serve the policy of a run over HTTP."""

import contextlib
import functools
import gc
import hashlib
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig
from jaxrec.config.load import apply_overrides, build_section, load_config
from jaxrec.config.schema import Config
from jaxrec.config.section import section
from jaxrec.config.serve import ServeConfig
from jaxrec.data.ids import one_id
from jaxrec.data.pseudonyms import check_key_outside, user_key
from jaxrec.home import expanded
from jaxrec.progress import note, warn
from jaxrec.runs.recommend_generative import open_policy
from jaxrec.serve.arms import Served
from jaxrec.serve.keys import SCOPES, Keys, check_new, is_loopback
from jaxrec.serve.tokens import Tokens
from jaxrec.storage.digests import DIGESTS
from jaxrec.storage.lock import hold, one_command
from jaxrec.storage.portable import DESCRIPTION
from jaxrec.storage.run import RunFolder

KEYS, KEYS_LOCK = "keys.json", "keys.lock"  # in the folder of the state
READS = 10  # of a policy that is replaced while it is read
# Open ones, or requests in progress; further requests get status 503. Half of them may wait for a request: after that
# the one that has waited longest is closed for a new one.
CONNECTIONS = 4096
BACKLOG = 2048
SWITCH = 0.0005  # s that a thread waits for the interpreter's lock before it asks for it
KEEP_ALIVE = 75  # s; longer than proxies keep idle connections, so that they close them and not the service
FILES = 512  # that are open besides connections


class Plan(NamedTuple):
    """The settings of a service, and where its state is."""

    config: ServeConfig
    data: DataConfig
    state: Path


def plan_of(path: str | Path, overrides: Sequence[str] = ()) -> Plan:
    """Read the `serve` and `data` sections of a run, with overrides; a policy folder alone has the defaults.

    Raises InputError for unknown names and values out of range.
    """
    run = RunFolder(path)
    if run.config.is_file():
        config = load_config(Config, RunFolder.open(path).config, overrides)
        settings, data = config.serve, config.data or DataConfig()
    else:
        values: dict[str, Any] = {}
        apply_overrides(values, overrides)
        config = build_section(_Alone, values, "", "command line")
        settings, data = config.serve, config.data
    state = expanded(settings.state) if settings.state else _usual_state(run.path)
    return Plan(settings, data, state)


def _usual_state(path: Path) -> Path:
    """RUN-serve next to a run, also for its policy folder and for names such as '.'; links keep their own names."""
    folder = path.absolute() if path.name and ".." not in path.parts else path.resolve()
    if folder.name == "policy" and RunFolder(folder.parent).config.is_file():
        folder = folder.parent
    return folder.with_name(f"{folder.name}-serve")


def new_key(plan: Plan, name: str, scopes: Sequence[str] = SCOPES[:2]) -> str:
    """Make an API key, store its hash in the state, and give the key.

    Raises InputError for a wrong name or scope, a name that is taken, and while another command makes a key there.
    """
    check_new(name, scopes)
    with one_command():
        hold(plan.state / KEYS_LOCK, "serve --new-key")  # not the state: a service may run in it
        return Keys(plan.state / KEYS).add(name, scopes)


def serve(path: str | Path, plan: Plan) -> int:
    """Answer requests until SIGINT or SIGTERM; gives the number of the signal.

    Raises InputError for bad settings, and if the policy cannot be served or the state is damaged.
    """
    begun = time.monotonic()
    # Calls are short here: what XLA's dispatch to another thread costs, and waiting for the lock of the interpreter.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    sys.setswitchinterval(SWITCH)
    uvicorn, make_app, service_of, protocol_of = _libraries()
    connections = _allowed_connections()
    keys = Keys(plan.state / KEYS, None if plan.config.jwt == "none" else Tokens(plan.config))
    _check_keys(plan, keys)
    with one_command():
        hold(plan.state, "serve")
        check_key_outside(plan.data, plan.state)
        with _listen(plan.config) as listening:
            host, port = listening.getsockname()[:2]
            note(f"loading {path}; the state is in {plan.state}")
            service = service_of(path, plan)

            def ready() -> None:
                gc.collect()
                gc.freeze()  # what is loaded stays: collections that look at all of it would keep requests waiting
                where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
                seconds = time.monotonic() - begun
                note(f"ready at {where}; loaded and compiled in {seconds:.1f} s (its API: {where}/openapi.json)")

            failures: list[Exception] = []

            def failed(error: Exception) -> None:
                failures.append(error)
                server.should_exit = True

            settings = uvicorn.Config(
                make_app(service, keys, ready, failed),
                log_level="warning",
                access_log=False,
                server_header=False,
                http=protocol_of(connections // 2),
                limit_concurrency=connections,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=max(1, round(plan.config.grace_seconds)),
            )
            server = uvicorn.Server(settings)
            number = _run(server, listening)
            if failures:
                raise failures[0]
            return number


def policy_and_version(path: str | Path) -> tuple[Served, str]:
    """Load a policy or a generator, and give its version: its update, and a hash of the digests of its files.

    Training may replace the policy meanwhile, so it is loaded again until its digests stay the same. Raises InputError
    as `load_policy` does, and if it changes all the time.
    """
    for _ in range(READS):
        before = _content_hash(Path(path))
        saved = open_policy(path)
        if before and before == _content_hash(Path(path)):
            return saved, f"{saved.step}-{before}"
    raise InputError(f"{path}: the policy changes while it is read; try again when nothing writes it.")


def _content_hash(folder: Path) -> str:
    """A short hash of the digests of a policy's files; empty where there are none."""
    folder = folder / "policy" if (folder / "policy").is_dir() else folder
    digests = folder / DIGESTS
    try:
        content = (digests if digests.is_file() else folder / DESCRIPTION).read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(content).hexdigest()[:8]


def _allowed_connections() -> int:
    """How many connections there may be: CONNECTIONS, or fewer if the system lets us open only few files."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return CONNECTIONS
    wanted = CONNECTIONS + FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return CONNECTIONS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed >= wanted:
        return CONNECTIONS
    connections = max(allowed - FILES, allowed // 2)
    warn(f"serve: {allowed:,} files may be open, so {connections:,} connections are accepted; raise ulimit -n.")
    return connections


def _libraries() -> tuple[Any, Any, Any, Any]:
    """uvicorn, and the parts of jaxrec that need it and its companions."""
    try:
        import httptools  # noqa: F401
        import orjson  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn

        from jaxrec.serve.app import make_app
        from jaxrec.serve.connections import bounded_connections
        from jaxrec.serve.service import Service, Serving
    except ModuleNotFoundError as error:
        raise InputError(f"serve: {error.name} is not installed; run pip install 'jaxrec[serve]'.") from None

    def service_of(path: str | Path, plan: Plan) -> Service:
        columns = plan.data.columns if plan.data.source == "files" else Columns()
        load = functools.partial(policy_and_version, path)
        split, shadow = (
            functools.partial(policy_and_version, expanded(one)) if one else None
            for one in (plan.config.split, plan.config.shadow)
        )
        clean_id = functools.partial(one_id, config=plan.data)
        serving = Serving(load, columns, user_key(plan.data).secret, split, shadow, clean_id)
        return Service(serving, plan.config, plan.state)

    return uvicorn, make_app, service_of, bounded_connections


def _check_keys(plan: Plan, keys: Keys) -> None:
    """Raise InputError if keys are required and there are none, or none are required where strangers can connect."""
    if plan.config.keys == "required" and not len(keys) and plan.config.jwt == "none":
        raise InputError(
            f"{keys.path}: no API keys yet; make one with `jaxrec serve RUN --new-key NAME`, or on this machine alone "
            "set serve.keys=none."
        )
    if plan.config.keys == "none" and not is_loopback(plan.config.host):
        raise InputError(
            f"serve.keys: none, but other machines reach {plan.config.host}; set serve.host=127.0.0.1 or "
            "serve.keys=required."
        )


def _listen(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"serve.host, serve.port: cannot listen at {config.host} port {config.port} ({reason}); choose another one."
        ) from None


def _run(server: Any, listening: socket.socket) -> int:
    """Serve until a signal; uvicorn finishes what was accepted, and then sends the signal on."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda n, _: received.append(n)) for number in numbers}
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return received[0] if received else 0


@section
class _Alone:
    """The sections that matter for a policy without a run."""

    serve: ServeConfig = ServeConfig()
    data: DataConfig = DataConfig()
