"""Idempotency keys: a request that is repeated within a day gets its first answer, and nothing is done or paid twice."""

import sqlite3
from datetime import timedelta

import msgspec

from server.clock import ago, now
from server.ledger.rows import as_json

SPAN = timedelta(hours=24)


class Idempotency(msgspec.Struct, frozen=True):
    """A key, and the request that it stands for."""

    key: str
    path: str
    body_hash: bytes


class KeyUsed(Exception):
    """The idempotency key was used for another request."""


def first_answer(connection: sqlite3.Connection, client_id: int, idempotency: Idempotency) -> str | None:
    """Return the JSON that answered a client's first request with this key; None if there was none. Raises KeyUsed."""
    row = connection.execute(
        "SELECT path, body_hash, response FROM idempotency_keys WHERE client_id = ? AND key = ? AND created_at > ?",
        (client_id, idempotency.key, ago(SPAN)),
    ).fetchone()
    if row is None:
        return None
    if row["body_hash"] != idempotency.body_hash or row["path"] not in (None, idempotency.path):
        raise KeyUsed(idempotency.key)
    return str(row["response"])


def keep(connection: sqlite3.Connection, client_id: int, idempotency: Idempotency, answer: msgspec.Struct) -> None:
    """Keep the answer to a request for those that repeat it."""
    connection.execute(
        "INSERT OR REPLACE INTO idempotency_keys (client_id, key, path, body_hash, response, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (client_id, idempotency.key, idempotency.path, idempotency.body_hash, as_json(answer), now()),
    )


def forget_keys(connection: sqlite3.Connection) -> int:
    """Delete the keys whose span is over and return how many they were."""
    return connection.execute("DELETE FROM idempotency_keys WHERE created_at <= ?", (ago(SPAN),)).rowcount
