import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind
from jaxrec.data import load_dataset
from jaxrec.serve.feedback_log import FeedbackLog, forget, parts
from jaxrec.serve.store import Store
from jaxrec.serve.stored import Event, NotShown, Shown, UnknownRequest

RATING = {"liked": FeedbackKind(column="rating", at_least=4.0)}


@pytest.fixture
def open_store(tmp_path: Path):
    opened = []

    def make(kept: int = 4, remember: float = 3600.0) -> Store:
        opened.append(Store(tmp_path / "s.sqlite", kept=kept, remember_seconds=remember))
        return opened[-1]

    yield make
    for store in opened:
        store.close_writer()
        store.close()


def show(store: Store, request: str, user: str = "u", items: str = "abcdef", probs: list[float] | None = None) -> None:
    store.add_shown(Shown(request, time.time(), user, list(items), probs, "7-abc"))


def rated(item: str, value: float = 5.0, when: float | None = None) -> Event:
    return Event(item, "rating", value, when)


def rows_of(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_feedback_is_in_the_history_of_its_user_once_and_the_latest_rows_are_kept(open_store: Callable) -> None:
    async def go() -> None:
        store = open_store(kept=3)
        show(store, "r1")
        show(store, "r2", user="other")
        show(store, "r3", user="")
        assert await store.add_feedback("r1", [rated("a"), rated("b", 2.0)]) == ([rated("a"), rated("b", 2.0)], 0, 2)
        again = await store.add_feedback("r1", [rated("a"), rated("c")])  # from a client that got no answer
        assert again == ([rated("c")], 1, 3)
        assert await store.add_feedback("r2", [rated("f")]) == ([rated("f")], 0, 4)
        assert await store.add_feedback("r3", [rated("f")]) == ([rated("f")], 0, 0)  # of nobody
        entries = [{"item": "a", "rating": 5.0}, {"item": "b", "rating": 2.0}, {"item": "c", "rating": 5.0}]
        assert store.history("u") == entries
        await store.add_feedback("r1", [rated("d")])
        assert store.history("u") == [*entries[1:], {"item": "d", "rating": 5.0}]
        await store.add_feedback("r1", [Event("d", "clicked", 1.0, None)])  # more about the same item
        assert store.history("u")[-1] == {"item": "d", "rating": 5.0, "clicked": 1.0}
        assert store.history("nobody") == []

    asyncio.run(go())


def test_an_event_is_repeated_if_its_value_and_time_are_too(open_store: Callable) -> None:
    async def go() -> None:
        store = open_store()
        show(store, "r1")
        for when in (None, 0.0, 7.0):
            assert (await store.add_feedback("r1", [rated("a", 5.0, when)]))[:2] == ([rated("a", 5.0, when)], 0)
            assert (await store.add_feedback("r1", [rated("a", 2.0, when)]))[:2] == ([rated("a", 2.0, when)], 0)
            assert (await store.add_feedback("r1", [rated("a", 5.0, when)]))[:2] == ([], 1)
        times = await store.alone(lambda db: [row[0] for row in db.execute("SELECT time FROM feedback WHERE time < 9")])
        assert times == [0.0, 0.0, 7.0, 7.0]

    asyncio.run(go())


def test_events_have_numbers_and_times_in_their_order(open_store: Callable) -> None:
    async def go() -> None:
        store = open_store(kept=2)
        show(store, "r1")
        show(store, "r2", user="other")
        await store.add_feedback("r1", [rated("a"), rated("b"), rated("c")])
        await store.add_feedback("r2", [rated("f")])
        events = store.events(0, 9)
        assert [(one.number, one.user, one.item) for one in events] == [(2, "u", "b"), (3, "u", "c"), (4, "other", "f")]
        assert events[0].time < events[1].time < time.time() + 1.0
        assert store.latest("u") == events[:2] and store.events(0, 1) == events[:1] and store.last() == 4

    asyncio.run(go())


def test_events_of_a_user_stay_in_order_when_the_clock_is_set_back(
    open_store: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        store, now = open_store(), time.time()
        show(store, "r1")
        for clock, item in ((now + 10.0, "a"), (now, "b"), (now + 5.0, "c")):
            monkeypatch.setattr(time, "time", lambda clock=clock: clock)
            await store.add_feedback("r1", [rated(item)])
        times = [event.time for event in store.latest("u")]
        assert times == sorted(set(times)) and [event.item for event in store.latest("u")] == ["a", "b", "c"]

    asyncio.run(go())


def test_a_file_keeps_its_name(tmp_path: Path) -> None:
    names = []
    for file in ("a", "a", "b"):
        store = Store(tmp_path / file, kept=4, remember_seconds=3600.0)
        names.append(store.name)
        store.close_writer()
        store.close()
    assert names[0] == names[1] != names[2]


def test_a_file_of_a_version_without_times_is_opened(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "old.sqlite")) as db:
        db.execute(
            "CREATE TABLE history (number INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, "
            "request TEXT NOT NULL, item TEXT NOT NULL, kind TEXT NOT NULL, value)"
        )
        db.execute("INSERT INTO history VALUES (1, 'u', 'r', 'a', 'rating', 5.0)")
        db.commit()
    for _ in range(2):
        store = Store(tmp_path / "old.sqlite", kept=4, remember_seconds=3600.0)
        assert store.events(0, 9) == store.latest("u") == [(1, "u", "r", "a", "rating", 5.0, 0.0)]
        store.close_writer()
        store.close()


def test_a_new_file_of_the_store_goes_on_with_the_numbers_of_the_parts(tmp_path: Path) -> None:
    async def go(name: str, items: str) -> None:
        store = Store(tmp_path / name, kept=4, remember_seconds=3600.0)
        log = FeedbackLog(tmp_path / "log", Columns(), RATING)
        await store.alone(log.continue_numbers)
        show(store, items)
        await store.add_feedback(items, [rated(item) for item in items])
        assert await store.alone(lambda db: log.write(db, 9)) == len(items)
        store.close_writer()
        store.close()

    asyncio.run(go("first.sqlite", "abc"))
    asyncio.run(go("first.sqlite", "d"))
    asyncio.run(go("second.sqlite", "ef"))  # as after the first one was moved away
    assert [row["item"] for row in rows_of(tmp_path / "log")] == list("abcdef")
    assert sorted(parts(tmp_path / "log")) == [(1, 3), (4, 4), (5, 6)]


def test_feedback_without_its_slate_is_refused_and_leaves_nothing(open_store: Callable) -> None:
    async def go() -> None:
        store = open_store()
        show(store, "r1")
        good = asyncio.create_task(store.add_feedback("r1", [rated("a")]))
        with pytest.raises(NotShown, match="z"):
            await store.add_feedback("r1", [rated("b"), rated("z")])
        with pytest.raises(UnknownRequest):
            await store.add_feedback("r9", [rated("a")])
        await good
        assert [entry["item"] for entry in store.history("u")] == ["a"]
        old = open_store(remember=0.0)
        with pytest.raises(UnknownRequest):
            await old.add_feedback("r1", [rated("c")])

    asyncio.run(go())


def test_each_row_is_in_one_part_also_after_a_kill_between_its_name_and_its_mark(
    open_store: Callable, tmp_path: Path
) -> None:
    async def go() -> None:
        store, log = open_store(), FeedbackLog(tmp_path / "log", Columns(), RATING)
        show(store, "r1", probs=[-0.5, -0.25])
        await store.add_feedback("r1", [rated(item) for item in "abc"])
        assert await store.alone(lambda db: log.write(db, 2)) == 2

        def killed(db) -> None:  # the part has its name, and the transaction is lost
            log.write(db, 2)
            raise KeyError("killed")

        with pytest.raises(OSError, match="killed"):
            await store.alone(killed)
        assert await store.alone(lambda db: log.write(db, 2)) == 0
        await store.add_feedback("r1", [rated("d", when=12.0)])
        assert await store.alone(lambda db: log.write(db, 2)) == 1
        rows = rows_of(tmp_path / "log")
        assert [row["item"] for row in rows] == list("abcd")
        assert sorted(parts(tmp_path / "log")) == [(1, 2), (3, 3), (4, 4)] and rows[3]["time"] == 12
        assert rows[1]["serve_position"] == 1 and rows[1]["serve_slate"] == list("abcdef")
        assert rows[0]["serve_log_propensity"] == -0.75 and rows[0]["serve_version"] == "7-abc"
        await store.alone(lambda db: forget(db, time.time() + 1))
        assert await store.alone(lambda db: db.execute("SELECT count(*) FROM feedback").fetchone()[0]) == 0
        show(store, "r2")
        await store.add_feedback("r2", [rated("e")])  # has a new number, although the table was empty
        assert await store.alone(lambda db: log.write(db, 9)) == 1 and len(rows_of(tmp_path / "log")) == 5

    asyncio.run(go())


def test_the_log_is_read_as_files_are_with_the_columns_of_the_recipe(open_store: Callable, tmp_path: Path) -> None:
    columns = Columns(user="who", item="what", time="when")
    kinds = {
        "liked": FeedbackKind(column="rating", at_least=4.0),
        "bought": FeedbackKind(column="event", equals="buy"),
        "finished": FeedbackKind(column="watched", over="length", at_least=0.9),
    }

    async def go() -> None:
        store, log = open_store(), FeedbackLog(tmp_path / "log", columns, kinds)
        for n, user in enumerate(("u", "v", "")):
            show(store, f"r{n}", user=user)
            events = [rated("a", 5.0), Event("b", "event", "buy", None), Event("c", "watched", 0.95, None)]
            await store.add_feedback(f"r{n}", [*events, rated("d", 1.0)])
        await store.alone(lambda db: log.write(db, 5))
        await store.alone(lambda db: log.write(db, 50))

    asyncio.run(go())
    data = DataConfig(
        source="files",
        path=str(tmp_path / "log"),
        log_file="feedback-*.parquet",
        item_file="",
        text="{title}",
        columns=columns,
        feedback=kinds,
    )
    log = load_dataset(data, 0)
    assert len(log.users) == 3 and len(log.log.item) == 12
    by_item = {log.catalogue.ids[i]: tuple(f) for i, f in zip(log.log.item, log.log.feedback, strict=True)}
    assert by_item == {"a": (1, 0, 0), "b": (0, 1, 0), "c": (0, 0, 1), "d": (0, 0, 0)}


def test_the_writer_outlives_an_event_loop_that_is_closed(open_store: Callable) -> None:
    store, gate = open_store(), threading.Event()

    async def leave() -> None:
        waiting = asyncio.create_task(store.alone(lambda db: gate.wait(10)))
        await asyncio.sleep(0)  # the job is with the writer; its loop is closed before it ends
        waiting.cancel()

    async def later() -> int:
        return await asyncio.wait_for(store.alone(lambda db: 5), 10)

    asyncio.run(leave())
    gate.set()
    assert asyncio.run(later()) == 5


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"cannot be used .*move it away"):
        Store(tmp_path / "s.sqlite", kept=1, remember_seconds=1.0)
