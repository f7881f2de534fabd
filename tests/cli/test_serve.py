import dataclasses
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxrec.cli import main
from jaxrec.runs.serve import KEYS_LOCK, _usual_state, plan_of, policy_and_version
from jaxrec.serve import load_policy
from jaxrec.storage.lock import _locked, hold, one_command
from jaxrec.storage.run import RunFolder
from tests.serve.small_policy import save, small_policy
from tests.serve_kills import Server, kill_often


def test_every_acknowledged_row_is_in_the_log_once_after_kills(tmp_path: Path) -> None:
    counts = kill_often(tmp_path, kills=2, seed=3, longest=1.0)
    assert counts["acknowledged"] > 20 and counts["rows"] >= counts["acknowledged"]
    assert counts["refused"] == {}  # also the slates that were answered just before a kill are known
    assert counts["missing"] == counts["twice"] == 0 and counts["last_status"] == 128 + signal.SIGTERM


def test_a_second_service_on_one_state_is_refused_and_requests_without_a_key_too(tmp_path: Path, capfd) -> None:
    policy, state = save(small_policy(20), tmp_path / "run" / "policy"), tmp_path / "state"
    server = Server(policy, state)
    try:
        assert main(["serve", str(policy), "serve.keys=none", "--port", "0", "--state", str(state)]) == 2
        assert "`jaxrec serve`" in capfd.readouterr().err
        url = f"http://127.0.0.1:{server.port}"
        request = urllib.request.Request(f"{url}/recommend", b'{"k": 2}', {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            assert len(json.load(response)["items"]) == 2 and "server" not in response.headers
    finally:
        assert server.end(signal.SIGINT) == 130


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no API keys yet; make one with `jaxrec serve RUN --new-key NAME`"),
        (["serve.keys=none", "--host", "0.0.0.0"], "none, but other machines reach 0.0.0.0"),
        (["serve.keys=none", "--port", "70000"], "serve.port: expected a value at least 0 and at most 65535"),
        (["serve.keys=none", "--host", "127.0.0.1.9"], "none, but other machines reach 127.0.0.1.9"),
        (["serve.expl=softmax"], "did you mean 'explore'"),
        (["serve.explore=epsilon", "serve.epsilon=1"], "expected a share above 0 and below 1"),
        (["--scopes", "admin"], "only used with --new-key"),
        (["--new-key", "a/b"], "--new-key: expected a name"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(
    words: list[str], message: str, tmp_path: Path, capsys
) -> None:
    policy = save(small_policy(20), tmp_path / "policy")
    assert main(["serve", str(policy), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_occupied_port_is_refused_in_one_line(tmp_path: Path, capsys) -> None:
    policy = save(small_policy(20), tmp_path / "policy")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(policy), "serve.keys=none", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"cannot listen at 127.0.0.1 port {port}" in error and error.count("\n") == 1


def test_a_policy_that_diverged_ends_the_command_in_one_line(tmp_path: Path) -> None:
    def huge(path: Any, leaf: Any) -> Any:  # finite parameters, and scores that are not
        name = jax.tree_util.keystr(path)
        return jnp.full_like(leaf, 3e38) if name == "['query']['bias']" else leaf * 1e3 if "item_vec" in name else leaf

    saved = small_policy(20)
    broken = dataclasses.replace(saved, params=jax.tree_util.tree_map_with_path(huge, saved.params))
    policy = save(broken, tmp_path / "policy")
    words = [sys.executable, "-m", "jaxrec.cli", "serve", str(policy), "serve.keys=none", "--port", "0"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "it diverged, so train it again" in ended.stderr


def test_the_state_is_next_to_the_run_whatever_the_run_is_called(tmp_path: Path, monkeypatch) -> None:
    policy = save(small_policy(20), tmp_path / "run" / "policy")
    assert plan_of(policy).state == tmp_path / "run" / "policy-serve"  # there is no run around it
    RunFolder(tmp_path / "run").config.write_text("")
    assert plan_of(policy).state == tmp_path / "run-serve"
    monkeypatch.chdir(policy)
    for name in (".", "..", "../../run", "../policy"):
        assert _usual_state(Path(name)).resolve() == tmp_path.resolve() / "run-serve"
    assert main(["serve", str(policy), "--new-key", "shop", "--state", "2024"]) == 0  # a number in YAML
    assert (policy / "2024" / "keys.json").is_file()


def test_the_version_is_that_of_the_policy_that_was_loaded(tmp_path: Path, monkeypatch) -> None:
    first, second = small_policy(20), small_policy(21)
    folder, reads = save(first, tmp_path / "policy"), []

    def load(path: Any) -> Any:
        reads.append(load_policy(path))
        if len(reads) == 1:
            save(second, folder)  # training goes on between the two looks
        return reads[-1]

    monkeypatch.setattr("jaxrec.runs.serve.open_policy", load)
    saved, version = policy_and_version(folder)
    assert len(reads) == 2 and len(saved.ids) == 21 and version == policy_and_version(folder)[1]


def test_keys_are_made_one_command_at_a_time(tmp_path: Path, capsys) -> None:
    policy, state = save(small_policy(20), tmp_path / "policy"), tmp_path / "s"
    words = ["serve", str(policy), "--state", str(state), "--new-key"]
    with one_command():
        hold(state, "serve")  # a service that runs hinders nobody
        assert main([*words, "shop"]) == 0
    held = _locked(state / KEYS_LOCK)
    try:
        assert main([*words, "other"]) == 2
    finally:
        os.close(held)
    assert "wait for its end" in capsys.readouterr().err
    names = [row["name"] for row in json.loads((state / "keys.json").read_text())]
    assert names == ["shop"]


def test_keys_are_made_on_the_command_line(tmp_path: Path, capsys) -> None:
    policy = save(small_policy(20), tmp_path / "policy")
    assert main(["serve", str(policy), "--new-key", "shop", "--state", str(tmp_path / "s")]) == 0
    key = capsys.readouterr().out.strip()
    path = tmp_path / "s" / "keys.json"
    assert key.startswith("jr_") and key not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())[0]["scopes"] == ["recommend", "feedback"]


def test_an_exported_run_is_used_by_its_own_loader(tmp_path: Path, capsys) -> None:
    saved = small_policy(20)
    policy = save(saved, tmp_path / "policy")
    assert main(["export", str(policy), "-o", str(tmp_path / "out")]) == 0
    words = [sys.executable, "-I", str(tmp_path / "out" / "load.py"), "3", "7"]
    shown = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})
    first = [line.split()[1] for line in shown.stdout.splitlines()]
    assert first == [item.id for item in saved.recommend(["3", "7"], k=10)]
    capsys.readouterr()
    assert main(["export", str(tmp_path / "nothing"), "-o", str(tmp_path / "out2")]) == 2
    assert "no saved policy here" in capsys.readouterr().err and not (tmp_path / "out2").exists()
