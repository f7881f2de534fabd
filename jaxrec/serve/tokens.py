"""JSON Web Tokens (RFC 7519) in place of API keys: somebody else signs them, and the service only verifies.

The settings fix the algorithm, and the header of a token does not change it. A token "signed" by `none`, or by HMAC
with the public key of RS256 as its secret, is refused. An expiry, a subject and an audience are required.
"""

import re
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.config.serve import ServeConfig
from jaxrec.home import expanded
from jaxrec.serve.keys import SCOPES, Key

SHORTEST_SECRET = 32  # bytes; RFC 7518, 3.2: as long as the hash of HS256
SHORTEST_RSA = 2048  # bits; RFC 7518, 3.3
LONGEST, LONGEST_FILE = 8192, 65536  # characters of a token; bytes of a key file
LEEWAY = 30  # s by which clocks may differ
PEM = re.compile(rb"-----BEGIN ")


class Tokens:
    """Verifies tokens as the settings `serve.jwt...` say."""

    def __init__(self, config: ServeConfig):
        """Read the key; raises InputError if it cannot be one of the algorithm."""
        try:
            import jwt
        except ModuleNotFoundError:
            raise InputError("serve.jwt: PyJWT is not installed; run pip install 'jaxrec[serve]'.") from None
        self._jwt, self._config = jwt, config
        content = _read(expanded(config.jwt_key))
        self._key: Any = _secret(content) if config.jwt == "HS256" else _public(content)

    def find(self, token: str) -> Key | None:
        """Who a token is of, and what it may do; None if it is not valid (any more)."""
        if len(token) > LONGEST:
            return None
        try:
            claims = self._jwt.decode(
                token,
                self._key,
                algorithms=[self._config.jwt],
                audience=self._config.jwt_audience,
                issuer=self._config.jwt_issuer or None,
                leeway=LEEWAY,
                options={"require": ["exp", "sub", "aud"], "strict_aud": False},
            )
        except (self._jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        scopes = claims.get(self._config.jwt_scopes, ())
        scopes = scopes.split() if isinstance(scopes, str) else scopes
        known = tuple(one for one in SCOPES if isinstance(scopes, list | tuple) and one in scopes)
        subject = claims["sub"]
        return Key(f"token of {subject}", known) if isinstance(subject, str) and subject else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_FILE)
    except OSError as error:
        raise InputError(f"serve.jwt_key: {path} cannot be read ({error.strerror}); correct the path.") from None


def _secret(content: bytes) -> bytes:
    secret = content.strip()
    if PEM.match(secret):
        raise InputError("serve.jwt_key: a PEM file is no secret of HS256; set serve.jwt=RS256, or give a secret.")
    if len(secret) < SHORTEST_SECRET:
        raise InputError(f"serve.jwt_key: expected a secret of at least {SHORTEST_SECRET} bytes, got {len(secret)}.")
    return secret


def _public(content: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < SHORTEST_RSA:
        raise InputError(
            f"serve.jwt_key: expected the public RSA key of RS256 as PEM, of at least {SHORTEST_RSA} bits; export it "
            "from the private key, which stays with whoever signs."
        )
    return key
