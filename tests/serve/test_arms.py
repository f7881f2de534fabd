"""Services with a second policy: a share of the users gets its slates, or it only watches."""

import asyncio
import dataclasses
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns
from jaxrec.data.pseudonyms import pseudonymise
from jaxrec.serve.arms import in_share
from jaxrec.serve.batching import Closed
from jaxrec.serve.service import Service, Serving
from tests.serve.client import OPEN, SECRET, Client, run
from tests.serve.small_policy import small_policy

SPLIT, SHADOW = small_policy(shown=[1, 2, 3, 4]), small_policy(shown=[7, 8, 9])
SECONDS = {"split": lambda: (SPLIT, "new"), "shadow": lambda: (SHADOW, "shadow")}


def test_a_user_always_gets_the_same_version_and_every_slate_is_logged(tmp_path: Path) -> None:
    answered: dict[str, tuple[str, str, list[str]]] = {}

    async def test(client: Client) -> None:
        for user in [f"user {n}" for n in range(12)] * 2:
            slate = (await client("POST", "/recommend", {"user": user, "k": 2})).body
            answered[slate["request"]] = user, slate["version"], [item["id"] for item in slate["items"]]
            second = in_share(pseudonymise([user], SECRET)[0], 0.5)
            assert slate["version"] == ("new" if second else "7-test")
            if second:
                assert {item["id"] for item in slate["items"]} <= {"1", "2", "3", "4"}
        visits = [(await client("POST", "/recommend", {})).body["version"] for _ in range(40)]
        assert set(visits) == {"new", "7-test"}  # nobody known: drawn for each request
        assert "jaxrec_shadow_missed_total 0.0" in (await client("GET", "/metrics")).body

    run(tmp_path, test, dataclasses.replace(OPEN, split="there", shadow="there"), seconds=SECONDS)
    paths = sorted((tmp_path / "state" / "slates").glob("*.parquet"))
    rows = {row["request"]: row for path in paths for row in pq.read_table(path).to_pylist()}
    assert len(rows) == 64 and {version for _, version, _ in answered.values()} == {"new", "7-test"}
    for request, (user, version, items) in answered.items():
        row = rows[request]
        assert (row["version"], row["items"], row["user"]) == (version, items, pseudonymise([user], SECRET)[0])
        want = [item.id for item in SHADOW.recommend([], 2)]
        assert (row["shadow_version"], row["shadow_items"]) == ("shadow", want)


def test_requests_are_refused_before_their_body_only_if_no_version_has_room(tmp_path: Path) -> None:
    serving = Serving(lambda: (small_policy(), "7-test"), Columns(), SECRET, **SECONDS)
    service = Service(serving, dataclasses.replace(OPEN, split="there", shadow="there"), tmp_path)
    assert service._split is not None
    service._main._batcher._closed = True
    service.check_room()  # the user may be of the other version's share
    service._split._batcher._closed = True
    with pytest.raises(Closed):
        service.check_room()
    asyncio.run(service.stop())


def test_numbers_of_slates_go_on_after_a_restart(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        await client("POST", "/recommend", {"user": "a", "k": 2})

    for _ in range(2):
        run(tmp_path, test, OPEN, seconds={"shadow": SECONDS["shadow"]})
        (tmp_path / "state" / "service.sqlite").unlink()
    names = sorted(path.name for path in (tmp_path / "state" / "slates").iterdir())
    assert names == [f"slates-{n:012}-{n:012}.parquet" for n in (1, 2)]


def test_the_share_is_the_one_that_was_asked_for() -> None:
    for share in (0.0, 0.2, 1.0):
        found = sum(in_share(f"name {n}", share) for n in range(5000)) / 5000
        assert found == pytest.approx(share, abs=0.02 if 0 < share < 1 else 0.0)
    assert all(in_share(f"name {n}", 0.7) for n in range(99) if in_share(f"name {n}", 0.2))  # a larger share keeps them


def test_a_second_policy_of_another_catalogue_is_refused(tmp_path: Path) -> None:
    async def nothing(client: Client) -> None:
        pass

    with pytest.raises(InputError, match=r"serve\.shadow: this policy has other items; choose one that was trained"):
        run(tmp_path, nothing, OPEN, seconds={"shadow": lambda: (small_policy(49), "other")})
