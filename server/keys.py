"""API keys and signatures. A key is shown once; only its SHA-256 is kept.

A key has 160 random bits, so nobody can guess it, and a slow hash would protect it no better.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import sqlite3
from pathlib import Path

from pipelines.output.whole_file import whole_file
from server.ledger import clients, credits
from server.ledger.clients import KeyTerms
from server.operator_error import OperatorError

_SECRET_BYTES = 32
_KEY = re.compile(r"sk_(?:live|test)_\w+")


class DamagedSecret(OperatorError):
    """The file of the server's secret cannot be used; the message says what to do."""


def new_client(connection: sqlite3.Connection, name: str, credits_: int, *, test: bool) -> str:
    """Make a client with its credits and its first key, and return the key. Raises clients.ClientExists."""
    client_id = clients.add(connection, name, test=test)
    if credits_:
        credits.grant(connection, client_id, credits_, "First credits")
    return new_key(connection, client_id, test=test)


def new_key(
    connection: sqlite3.Connection,
    client_id: int,
    *,
    test: bool,
    terms: KeyTerms = KeyTerms(),  # noqa: B008  immutable
) -> str:
    """Make a key for a client and return it."""
    key = f"sk_{'test' if test else 'live'}_{base64.b32encode(secrets.token_bytes(20)).decode().lower()}"
    clients.add_key(connection, client_id, digest_of(key), key[: clients.HINT], terms)
    return key


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def without_keys(text: str) -> str:
    """Return a text in which each key is cut to its first characters, by which the operator knows it."""
    return _KEY.sub(lambda key: key[0] if len(key[0]) <= clients.HINT else f"{key[0][: clients.HINT]}…", text)


def body_signature(secret: str, body: bytes) -> str:
    """Return the base64 HMAC-SHA256 that `X-Shopify-Hmac-Sha256` carries."""
    return base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()


def load_secret(path: Path) -> bytes:
    """Return the server's own secret, 32 random bytes in a file that only its owner reads; the first call makes it.

    Raises DamagedSecret if it cannot be read or made, or has other content.
    """
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_bytes()
    except OSError as error:
        raise DamagedSecret(
            f"{path} cannot be used: {error.strerror}; give it to the user that runs the server, or move it away to have a"
            " new one made, which ends all image links given out so far"
        ) from error
    if len(secret) != _SECRET_BYTES:
        raise DamagedSecret(
            f"{path} has {len(secret)} bytes instead of {_SECRET_BYTES}; restore it, or delete it to have a new one made, "
            "which ends all image links given out so far"
        )
    return secret


def _make_secret(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with whole_file(path) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(secrets.token_bytes(_SECRET_BYTES))
