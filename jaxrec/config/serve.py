"""The section about the service."""

from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.section import section


@section
class ServeConfig:
    """How `jaxrec serve` answers requests; docs/serving.md."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free one
    state: str = ""  # folder of the feedback log, the users and the API keys; empty: the run's name and -serve
    keys: Literal["required", "none"] = "required"  # none: whoever reaches the port may ask for everything
    jwt: Literal["none", "HS256", "RS256"] = "none"  # algorithm of signed tokens that are accepted next to API keys
    jwt_key: str = ""  # file with the secret of HS256, or the public key of RS256 as PEM
    jwt_audience: str = ""  # what `aud` of a token must hold
    jwt_issuer: str = ""  # what `iss` of a token must be; empty: anybody
    jwt_scopes: str = "scope"  # claim with the scopes: words in one text, or a list
    page: bool = True  # a page at / on which a person tries the service
    requests_per_second: float = 0.0  # requests per second of each API key, on average; 0: no limit
    burst: int = 50  # requests that a key may send at once before the limit holds
    batch_size: int = 8  # users in one call of the device
    max_wait_ms: float = 0.0  # how long a request waits for others to share its call, while the device is idle
    queue: int = 64  # requests that may wait; further ones get status 429 at once
    max_queue_ms: float = 10.0  # so do those that would wait longer; one batch always may; 0: no limit
    max_k: int = 64  # largest slate
    max_history: int = 1000  # items in the history, or among the exclusions, of a request
    max_body_bytes: int = 65536
    body_seconds: float = 5.0  # for a request to arrive
    grace_seconds: float = 20.0  # for accepted requests after SIGTERM
    unknown_items: Literal["ignore", "refuse"] = "ignore"  # items of histories that the catalogue lacks
    # policy: slates as the trained policy shows them. softmax: drawn item by item from its scores divided by
    # `temperature`. epsilon: each place has a random item with probability `epsilon`. Answers then have propensities.
    explore: Literal["policy", "softmax", "epsilon"] = "policy"
    temperature: float = 1.0
    epsilon: float = 0.1
    shadow: str = ""  # run whose policy also chooses a slate for each request, which is logged and not shown
    split: str = ""  # run whose policy answers a share of the users; their slates and the others' are logged
    split_share: float = 0.5  # of the users, whom a hash of their pseudonyms draws
    history_kept: int = 200  # latest rows per user that are stored
    redis: str = ""  # redis://HOST:PORT/0 or rediss://...: histories of users that services share; empty: in `state`
    remember_hours: float = 48.0  # after a slate was shown, in which feedback on it is accepted
    part_rows: int = 10_000  # feedback rows after which a Parquet part is written
    part_seconds: float = 600.0  # or this many seconds after the first row that is in no part

    def __post_init__(self):
        check_range("serve.port", self.port, 0, 65535)
        for name in ("burst", "batch_size", "queue", "max_k", "part_rows"):
            check_range(f"serve.{name}", getattr(self, name), 1)
        check_range("serve.batch_size", self.batch_size, 1, 4096)
        for name in ("requests_per_second", "max_history", "history_kept"):
            check_range(f"serve.{name}", getattr(self, name), 0)
        check_range("serve.max_body_bytes", self.max_body_bytes, 1024)
        check_range("serve.max_wait_ms", self.max_wait_ms, 0, 10_000)
        check_range("serve.max_queue_ms", self.max_queue_ms, 0, 60_000)
        check_range("serve.temperature", self.temperature, 0, 1e6, open_low=True)
        for name in ("body_seconds", "grace_seconds", "remember_hours", "part_seconds"):
            check_range(f"serve.{name}", getattr(self, name), 0, 1e6, open_low=True)
        if self.jwt != "none" and not (self.jwt_key and self.jwt_audience):
            raise InputError("serve.jwt: set serve.jwt_key, a file, and serve.jwt_audience too.")
        if self.jwt != "none" and self.keys == "none":
            raise InputError("serve.jwt: nobody needs a token with serve.keys=none; set serve.keys=required.")
        check_range("serve.split_share", self.split_share, 0, 1)
        if not 0 < self.epsilon < 1:
            raise InputError(
                f"serve.epsilon: expected a share above 0 and below 1, got {self.epsilon:g}; for no exploration set "
                "serve.explore=policy."
            )
