import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from jaxrec.serve.batching import Batcher, Closed, Full
from jaxrec.serve.slates import Slate, Visit


def visit(k: int) -> Visit:
    return Visit(np.zeros(0, np.int32), np.zeros((0, 1), np.float32), k)


class Device:
    """Answers with k, when it is let go, after some seconds; keeps the sizes of its batches."""

    def __init__(self, open_: bool = True, seconds: float = 0.0):
        self.sizes: list[int] = []
        self.seconds = seconds
        self.gate = threading.Event()
        if open_:
            self.gate.set()

    def choose(self, visits: Sequence[Visit]) -> list[Slate]:
        self.gate.wait(10)
        time.sleep(self.seconds)
        self.sizes.append(len(visits))
        if any(one.k == 13 for one in visits):
            raise ValueError("thirteen")
        return [Slate(np.array([one.k]), np.zeros(1), None) for one in visits]


def test_requests_share_calls_and_each_gets_its_own_answer() -> None:
    async def go() -> None:
        device = Device()
        batcher = Batcher(device.choose, most=4, wait=0.2, queue=100)
        batcher.start()
        answers = await asyncio.gather(*(batcher.submit(visit(n)) for n in range(8)))
        assert [int(one.rows[0]) for one in answers] == list(range(8)) and device.sizes == [4, 4]
        assert int((await batcher.submit(visit(9))).rows[0]) == 9 and device.sizes[-1] == 1  # after 0.2 s
        await batcher.stop()

    asyncio.run(go())


def test_a_full_queue_refuses_at_once_and_a_stop_finishes_what_was_accepted() -> None:
    async def go() -> None:
        device = Device(open_=False)
        batcher = Batcher(device.choose, most=2, wait=0.0, queue=3)
        batcher.start()
        first = [asyncio.create_task(batcher.submit(visit(n))) for n in range(2)]
        await asyncio.sleep(0.05)  # these two are on the device
        waiting = [asyncio.create_task(batcher.submit(visit(n))) for n in range(2, 5)]
        await asyncio.sleep(0)
        assert batcher.waiting == 3
        with pytest.raises(Full):
            await batcher.submit(visit(6))
        stopping = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)
        with pytest.raises(Closed):
            await batcher.submit(visit(7))
        device.gate.set()
        await stopping
        assert [int((await one).rows[0]) for one in (*first, *waiting)] == [0, 1, 2, 3, 4]

    asyncio.run(go())


def test_a_request_that_would_wait_too_long_is_refused_but_the_next_batch_has_room() -> None:
    async def go() -> None:
        batcher = Batcher(Device(seconds=0.1).choose, most=2, wait=0.0, queue=100, patience=0.02)
        batcher.start()
        await asyncio.gather(*(batcher.submit(visit(n % 8)) for n in range(16)))  # until the mean has followed
        tasks = [asyncio.create_task(batcher.submit(visit(n))) for n in range(2)]
        await asyncio.sleep(0.02)  # these two are on the device
        tasks += [asyncio.create_task(batcher.submit(visit(n))) for n in range(2, 4)]
        await asyncio.sleep(0)
        with pytest.raises(Full):
            batcher.check_room()
        with pytest.raises(Full):
            await batcher.submit(visit(5))
        assert [int((await one).rows[0]) for one in tasks] == [0, 1, 2, 3]
        batcher.check_room()  # nobody waits now, however slow calls are
        await batcher.stop()

    asyncio.run(go())


def test_single_requests_do_not_make_a_burst_look_slow() -> None:
    """A call takes the same time for one request as for eight, so two calls of 50 ms answer 16 requests in time."""

    async def go() -> None:
        device = Device(seconds=0.05)
        batcher = Batcher(device.choose, most=8, wait=0.0, queue=100, patience=0.4)
        batcher.start()
        for _ in range(30):
            await batcher.submit(visit(1))
        await asyncio.gather(*(batcher.submit(visit(1)) for _ in range(24)))
        assert device.sizes[-3:] == [8, 8, 8]
        await batcher.stop()

    asyncio.run(go())


def test_a_failure_reaches_its_batch_and_no_other() -> None:
    async def go() -> None:
        batcher = Batcher(Device().choose, most=1, wait=0.0, queue=10)
        batcher.start()
        with pytest.raises(ValueError, match="thirteen"):
            await batcher.submit(visit(13))
        assert int((await batcher.submit(visit(2))).rows[0]) == 2
        await batcher.stop()

    asyncio.run(go())
