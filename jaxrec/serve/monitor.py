"""What /metrics shows, in the text format of Prometheus."""

import time
from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

LATENCIES = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # s
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
HOUR = 3600.0


class Monitor:
    """Counters of one service; `waiting` gives the length of its queue."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, num_items: int, waiting: Callable[[], int]):
        """Begin to count."""
        self._registry = all_ = CollectorRegistry()
        self._shown = np.full(num_items, -np.inf)  # when each item was shown last, s
        labels = ["endpoint", "status"]
        self.requests = Counter("jaxrec_requests", "Answered requests.", labels, registry=all_)
        self.latency = Histogram(
            "jaxrec_request_seconds", "Time to answer.", ["endpoint"], buckets=LATENCIES, registry=all_
        )
        self.batch = Histogram("jaxrec_batch_size", "Users in a call of the device.", buckets=SIZES, registry=all_)
        self.cold = Counter("jaxrec_cold_users", "Slates for users without history.", registry=all_)
        self.unknown = Counter("jaxrec_unknown_items", "Items of histories that were ignored.", registry=all_)
        self.items = Counter("jaxrec_shown_items", "Items in all slates.", registry=all_)
        self.feedback = Counter("jaxrec_feedback", "Stored events.", ["kind"], registry=all_)
        self.reward = Counter("jaxrec_feedback_reward", "Positive rewards of stored events.", registry=all_)
        self.parts = Counter("jaxrec_log_parts", "Parquet parts of the feedback log.", registry=all_)
        self.unwatched = Counter(
            "jaxrec_shadow_missed", "Requests without a slate of the shadow policy.", registry=all_
        )
        self.missed = Counter("jaxrec_redis_failures", "Times that Redis gave no usable answer.", registry=all_)
        queue = Gauge("jaxrec_queue_length", "Requests that wait for the device.", registry=all_)
        queue.set_function(waiting)
        coverage = Gauge("jaxrec_coverage_hour", "Share of items shown in the last hour.", registry=all_)
        coverage.set_function(lambda: float((self._shown > time.monotonic() - HOUR).mean()))

    def shown(self, rows: np.ndarray) -> None:
        """Count the items of a slate."""
        self._shown[rows] = time.monotonic()
        self.items.inc(len(rows))

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(endpoint, str(status)).inc()
        self.latency.labels(endpoint).observe(seconds)

    def text(self) -> bytes:
        """All metrics."""
        return generate_latest(self._registry)
