import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from jaxrec.cli import main
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
        (["serve.keys=none", "--host", "127.0.0.1.9"], "cannot listen at|other machines reach"),
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
    assert any(part in error for part in message.split("|")) and error.count("\n") == 1


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
