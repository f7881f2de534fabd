import json
import stat
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.serve.keys import Keys, RateLimit


def test_a_key_is_found_and_only_its_hash_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = Keys(path).add("shop", ["recommend"])
    keys = Keys(path)
    found = keys.find(key)
    assert found is not None and found.name == "shop" and found.may("recommend") and not found.may("admin")
    assert keys.find(key + "x") is None and keys.find("") is None and keys.find("\ud800") is None
    assert key not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    admin = keys.add("boss", ["admin"])
    boss = Keys(path).find(admin)
    assert len(Keys(path)) == 2 and boss is not None and boss.may("feedback")


@pytest.mark.parametrize(
    ("name", "scopes", "message"),
    [
        ("a b", ["recommend"], "--new-key: expected a name"),
        ("shop", ["recommend"], "there is a key shop already"),
        ("b", ["recomend"], "did you mean 'recommend'"),
        ("b", [], "expected at least one"),
    ],
)
def test_wrong_names_and_scopes_are_refused(name: str, scopes: list[str], message: str, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    keys.add("shop", ["recommend"])
    with pytest.raises(InputError, match=message):
        keys.add(name, scopes)


@pytest.mark.parametrize("rows", [["x"], [{"name": "a", "scopes": ["root"], "sha256": "0" * 64}], [{"name": "a"}]])
def test_a_damaged_file_is_refused(rows: list, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(rows))
    with pytest.raises(InputError, match="a row is not an API key"):
        Keys(tmp_path / "keys.json")


def test_a_key_may_send_a_burst_and_then_its_rate() -> None:
    now = [0.0]
    limit = RateLimit(2.0, 3, lambda: now[0])
    assert [limit.wait("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limit.wait("b") == 0.0  # has tokens of its own
    now[0] = 0.5
    assert limit.wait("a") == 0.0 and limit.wait("a") == 0.5
    assert RateLimit(0.0, 1).wait("a") == 0.0
