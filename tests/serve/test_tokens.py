"""Signed tokens in place of API keys, and those that others would make up."""

import base64
import dataclasses
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from jaxrec.checks import InputError
from jaxrec.config.serve import ServeConfig
from jaxrec.serve.keys import Key, Keys, RateLimit
from jaxrec.serve.tokens import LEEWAY, LONGEST, Tokens
from tests.serve.client import OPEN, Client, run

SECRET = b"a secret of tests only, of more than 32 bytes"
PEM = serialization.Encoding.PEM
PKCS8, PLAIN = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    """A private and a public key."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return private.private_bytes(PEM, PKCS8, PLAIN), private.public_key().public_bytes(PEM, PUBLIC)


def verifier(folder: Path, key: bytes, **settings: Any) -> Tokens:
    path = folder / "key"
    path.write_bytes(key)
    return Tokens(ServeConfig(**{"jwt": "HS256", "jwt_audience": "jaxrec", "jwt_key": str(path), **settings}))


def claims(**more: Any) -> dict[str, Any]:
    usual = {"sub": "shop", "aud": "jaxrec", "exp": time.time() + 600, "scope": "recommend feedback"}
    return {name: value for name, value in {**usual, **more}.items() if value is not None}


def by_hand(header: dict, body: dict, sign: Callable[[bytes], bytes]) -> str:
    """A token as anybody can write it."""
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (header, body)]
    signature = base64.urlsafe_b64encode(sign(b".".join(parts))).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_a_token_may_do_what_its_scopes_say(algorithm: str, pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    private, public = (SECRET, SECRET) if algorithm == "HS256" else pair
    tokens = verifier(tmp_path, public, jwt=algorithm)
    found = tokens.find(jwt.encode(claims(), private, algorithm))
    assert found == Key("token of shop", ("recommend", "feedback"))
    listed = verifier(tmp_path, public, jwt=algorithm, jwt_scopes="roles")
    assert listed.find(jwt.encode(claims(roles=["admin", 7, "x"]), private, algorithm)) == Key(
        "token of shop", ("admin",)
    )
    assert listed.find(jwt.encode(claims(), private, algorithm)) == Key("token of shop", ())  # another claim's


WRONG: dict[str, Callable[[], dict]] = {  # made in the test: their times count from then
    "expired": lambda: claims(exp=time.time() - LEEWAY - 5),
    "without expiry": lambda: claims(exp=None),
    "of another audience": lambda: claims(aud="others"),
    "without audience": lambda: claims(aud=None),
    "without subject": lambda: claims(sub=None),
    "not valid yet": lambda: claims(nbf=time.time() + 600),
    "an expiry that is no number": lambda: claims(exp="soon"),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_signed_token_is_refused_that_is(why: str, tmp_path: Path) -> None:
    token = by_hand({"alg": "HS256", "typ": "JWT"}, WRONG[why](), hs256(SECRET))
    assert verifier(tmp_path, SECRET).find(token) is None
    right = by_hand({"alg": "HS256", "typ": "JWT"}, claims(), hs256(SECRET))
    assert verifier(tmp_path, SECRET).find(right) is not None
    assert verifier(tmp_path, SECRET, jwt_issuer="us").find(right) is None


def test_forged_tokens_and_other_algorithms_are_refused(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    private, public = pair
    rs256 = verifier(tmp_path, public, jwt="RS256")
    right = jwt.encode(claims(), private, "RS256")
    head, body, signature = right.split(".")
    more = base64.urlsafe_b64encode(json.dumps(claims(scope="admin")).encode()).rstrip(b"=").decode()
    confused = [by_hand({"alg": "HS256"}, claims(), hs256(key)) for key in (public, public.strip(), b"")]
    forged = [
        *confused,  # the public key as the secret of HMAC
        by_hand({"alg": "none"}, claims(), lambda _: b""),
        by_hand({"alg": "None"}, claims(), lambda _: b""),
        by_hand({"alg": "RS256"}, claims(), lambda _: b"\0" * 256),
        by_hand({"alg": ["RS256"]}, claims(), lambda _: b""),
        f"{head}.{more}.{signature}",
        f"{head}.{body}.",
        jwt.encode(claims(), private, "RS512"),
        jwt.encode(claims(), SECRET, "HS256"),
        *("", ".", "..", "a.b.c", "\ud800", "ä.ö.ü", right + "=" * LONGEST, right[:-5], f"{right}.x"),
    ]
    assert rs256.find(right) is not None
    for token in forged:
        assert rs256.find(token) is None, token[:60]
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(PEM, PKCS8, PLAIN)
    assert rs256.find(jwt.encode(claims(), other, "RS256")) is None
    key_of_ours = by_hand(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}, "kid": "../../dev/null"}, claims(), hs256(b"")
    )
    assert verifier(tmp_path, SECRET).find(key_of_ours) is None


def test_keys_that_cannot_be_are_refused(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key().public_bytes(PEM, PUBLIC)
    curve = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(PEM, PUBLIC)
    for key in (pair[0], short, curve, b"", b"-----BEGIN PUBLIC KEY-----"):
        with pytest.raises(InputError, match="expected the public RSA key of RS256 as PEM"):
            verifier(tmp_path, key, jwt="RS256")
    with pytest.raises(InputError, match=r"a PEM file is no secret of HS256"):
        verifier(tmp_path, pair[1])
    with pytest.raises(InputError, match=r"at least 32 bytes, got 5"):
        verifier(tmp_path, b"short\n")
    with pytest.raises(InputError, match=r"serve.jwt_key: .*cannot be read"):
        Tokens(ServeConfig(jwt="HS256", jwt_audience="a", jwt_key=str(tmp_path / "none")))
    for settings in ({"jwt_key": "x"}, {"jwt_audience": "x"}, {"jwt_key": "x", "jwt_audience": "x", "keys": "none"}):
        with pytest.raises(InputError, match=r"^serve\.jwt: "):
            ServeConfig(jwt="HS256", **settings)


def test_the_service_takes_tokens_next_to_keys(tmp_path: Path) -> None:
    key = Keys(tmp_path / "keys.json").add("shop", ["recommend"])
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    config = dataclasses.replace(OPEN, keys="required", jwt="HS256", jwt_key=str(path), jwt_audience="jaxrec")

    async def test(client: Client) -> None:
        token = jwt.encode(claims(scope="recommend"), SECRET, "HS256")
        for good in (key, token):
            assert (await client("POST", "/recommend", {}, key=good)).status == 200
        assert (await client("GET", "/metrics", key=token)).status == 403
        expired = jwt.encode(claims(exp=time.time() - 3600), SECRET, "HS256")
        refused = await client("POST", "/recommend", {}, key=expired)
        assert refused.status == 401 and "no known API key or valid token" in refused.body["error"]
        assert "/openapi.json" in (await client("GET", "/openapi.json")).body["paths"]

    run(tmp_path, test, config)


def test_the_limit_of_rates_forgets_who_could_send_as_much_as_somebody_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxrec.serve.keys.MOST_BUCKETS", 3)
    now = [0.0]
    limit = RateLimit(1.0, 2, lambda: now[0])
    assert [limit.wait("often") for _ in range(2)] == [0.0, 0.0]
    for n in range(10):
        now[0] += 0.05
        assert limit.wait(f"token {n}") == 0.0
    assert limit.wait("often") > 0
    now[0] += 10.0
    for n in range(8):  # the last one makes more than twice the 9 that were there at the last look
        assert limit.wait(f"new {n}") == 0.0
    assert set(limit._buckets) == {f"new {n}" for n in range(8)}
