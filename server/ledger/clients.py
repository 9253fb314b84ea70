"""Clients and their keys."""

import sqlite3
from collections.abc import Sequence
from enum import StrEnum

import msgspec
from ulid import ULID

from server.clock import now


class Capability(StrEnum):
    """What a key may do."""

    CREATE = "jobs:create"
    READ = "jobs:read"
    ADMIN = "admin"


class Caller(msgspec.Struct, frozen=True):
    """Whose key a request carries."""

    client_id: int
    key_id: int
    client_name: str
    capabilities: frozenset[str]
    signing_secret: str | None
    priority: int


class Client(msgspec.Struct, frozen=True):
    id: int
    name: str
    test: bool


class NoSuchClient(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no client {name!r}; `backlot clients list` shows them")


class ClientExists(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is a client {name!r} already; choose another name, or grant it credits")


def any_exists(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM clients LIMIT 1").fetchone() is not None


def add(connection: sqlite3.Connection, name: str, *, test: bool) -> int:
    """Make a client and return its id. Raises ClientExists."""
    if connection.execute("SELECT 1 FROM clients WHERE name = ?", (name,)).fetchone():
        raise ClientExists(name)
    row = connection.execute(
        "INSERT INTO clients (public_id, name, test, created_at) VALUES (?, ?, ?, ?) RETURNING id",
        (str(ULID()), name, int(test), now()),
    ).fetchone()
    return int(row["id"])


def named(connection: sqlite3.Connection, name: str) -> Client:
    """Return the client of this name. Raises NoSuchClient."""
    row = connection.execute("SELECT id, name, test FROM clients WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NoSuchClient(name)
    return Client(row["id"], row["name"], bool(row["test"]))


def set_signing_secret(connection: sqlite3.Connection, client_id: int, secret: str) -> None:
    connection.execute("UPDATE clients SET signing_secret = ? WHERE id = ?", (secret, client_id))


def add_key(
    connection: sqlite3.Connection,
    client_id: int,
    digest: bytes,
    hint: str,
    capabilities: Sequence[Capability],
    priority: int,
) -> None:
    """Keep a key by its SHA-256 `digest`; `hint` is its beginning, by which people tell keys apart."""
    connection.execute(
        "INSERT INTO keys (client_id, hash, hint, capabilities, priority, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (client_id, digest, hint, " ".join(capabilities), priority, now()),
    )


def caller(connection: sqlite3.Connection, digest: bytes) -> Caller | None:
    """Return who holds the key with this digest; None if it is unknown or revoked."""
    row = connection.execute(
        "SELECT keys.id AS key_id, keys.capabilities, keys.priority,"
        " clients.id AS client_id, clients.name, clients.signing_secret"
        " FROM keys JOIN clients ON clients.id = keys.client_id WHERE keys.hash = ? AND keys.revoked_at IS NULL",
        (digest,),
    ).fetchone()
    if row is None:
        return None
    return Caller(
        row["client_id"],
        row["key_id"],
        row["name"],
        frozenset(row["capabilities"].split()),
        row["signing_secret"],
        row["priority"],
    )


def revoke_keys(connection: sqlite3.Connection, which: str) -> int:
    """Revoke the key with this hint, or all keys of the client of this name; return how many were revoked."""
    return connection.execute(
        "UPDATE keys SET revoked_at = ? WHERE revoked_at IS NULL"
        " AND (hint = ? OR client_id = (SELECT id FROM clients WHERE name = ?))",
        (now(), which, which),
    ).rowcount
