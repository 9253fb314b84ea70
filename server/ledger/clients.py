"""Clients and their keys."""

import sqlite3
from enum import StrEnum

import msgspec
from ulid import ULID

from server.clock import now
from server.operator_error import OperatorError

#: Characters of a key that are kept in the clear.
HINT = 14


class Capability(StrEnum):
    """A permission that a key may have."""

    CREATE = "jobs:create"
    READ = "jobs:read"
    ADMIN = "admin"


#: The capabilities of a key unless the operator says otherwise.
CLIENT = (Capability.CREATE, Capability.READ)


class Caller(msgspec.Struct, frozen=True):
    """The client and the key that a request comes from."""

    client_id: int
    key_id: int
    capabilities: frozenset[str]
    signing_secret: str | None
    priority: int
    #: Whether it is an `sk_test_` key.
    test: bool


class Client(msgspec.Struct, frozen=True):
    id: int
    name: str
    test: bool


class NoSuchClient(OperatorError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no client {name!r}; `backlot clients list` shows them")


class ClientExists(OperatorError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is a client {name!r} already; choose another name, or grant it credits")


class NoSuchKey(OperatorError):
    def __init__(self, which: str) -> None:
        super().__init__(f"no key to revoke is known as {which!r}; `backlot keys list` shows them")


class SeveralKeys(OperatorError):
    """The first characters of a key are those of another one too."""

    def __init__(self, hint: str) -> None:
        super().__init__(
            f"several keys begin with {hint!r}; give the whole key, or a client's name to revoke all of its keys"
        )


class KeyRefused(Exception):
    """A key is not good, or no longer; the message says why."""


def any_exists(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM clients LIMIT 1").fetchone() is not None


def add(connection: sqlite3.Connection, name: str, *, test: bool) -> int:
    """Make a client and return its id. Raises ClientExists."""
    _check_is_free(connection, name)
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


def rename(connection: sqlite3.Connection, client_id: int, name: str) -> None:
    """Call a client by another name, in all that was recorded of it too. Raises ClientExists."""
    _check_is_free(connection, name)
    connection.execute("UPDATE clients SET name = ? WHERE id = ?", (name, client_id))


def _check_is_free(connection: sqlite3.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM clients WHERE name = ?", (name,)).fetchone():
        raise ClientExists(name)


def set_signing_secret(connection: sqlite3.Connection, client_id: int, secret: str) -> None:
    connection.execute("UPDATE clients SET signing_secret = ? WHERE id = ?", (secret, client_id))


def set_disabled(connection: sqlite3.Connection, client_id: int, *, disabled: bool) -> None:
    """Refuse the keys of a client from now on, or take them again. Its jobs go on either way."""
    connection.execute("UPDATE clients SET disabled_at = ? WHERE id = ?", (now() if disabled else None, client_id))


class KeyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of a key: what it may do, for how long, and what it is for."""

    capabilities: tuple[Capability, ...] = CLIENT
    #: −4 to 4; each step doubles the client's share of the GPU.
    priority: int = 0
    label: str = ""
    #: A time as the wire writes it; None is never.
    expires_at: str | None = None


def add_key(connection: sqlite3.Connection, client_id: int, digest: bytes, hint: str, terms: KeyTerms) -> None:
    """Keep a key by its SHA-256 `digest`; `hint` is its beginning, by which people tell keys apart."""
    connection.execute(
        "INSERT INTO keys (client_id, hash, hint, capabilities, priority, label, expires_at, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (client_id, digest, hint, " ".join(terms.capabilities), terms.priority, terms.label, terms.expires_at, now()),
    )


def caller(connection: sqlite3.Connection, digest: bytes) -> Caller:
    """Return the caller whose key has this digest.

    Raises KeyRefused if the key is unknown, revoked or expired, or its client is disabled.
    """
    row = connection.execute(
        "SELECT keys.id AS key_id, keys.capabilities, keys.priority, keys.revoked_at, keys.expires_at,"
        " clients.id AS client_id, clients.signing_secret, clients.test, clients.disabled_at"
        " FROM keys JOIN clients ON clients.id = keys.client_id WHERE keys.hash = ?",
        (digest,),
    ).fetchone()
    if row is None or row["revoked_at"] is not None:
        raise KeyRefused("This key is unknown or was revoked; ask the operator for another one")
    if row["expires_at"] is not None and row["expires_at"] <= now():
        raise KeyRefused(f"This key expired at {row['expires_at']}; ask the operator for another one")
    if row["disabled_at"] is not None:
        raise KeyRefused("The client of this key is disabled; ask the operator to enable it")
    return Caller(
        row["client_id"],
        row["key_id"],
        frozenset(row["capabilities"].split()),
        row["signing_secret"],
        row["priority"],
        bool(row["test"]),
    )


def is_good(connection: sqlite3.Connection, key_id: int) -> bool:
    """Return whether a key that was good once still is: neither revoked nor expired, and its client not disabled."""
    found = connection.execute(
        "SELECT 1 FROM keys JOIN clients ON clients.id = keys.client_id WHERE keys.id = ? AND revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > ?) AND disabled_at IS NULL",
        (key_id, now()),
    )
    return found.fetchone() is not None


def revoke_key(connection: sqlite3.Connection, key: str, digest: bytes) -> None:
    """Revoke the key with this `digest`, or with `key` for its first characters. Raises NoSuchKey and SeveralKeys.

    A whole key does as well as its first characters, so that the operator can paste a leaked one.
    """
    revoked = connection.execute(
        "UPDATE keys SET revoked_at = ? WHERE revoked_at IS NULL AND (hash = ? OR hint = ?)", (now(), digest, key)
    ).rowcount
    if not revoked:
        raise NoSuchKey(key if len(key) <= HINT else f"{key[:HINT]}…")
    if revoked > 1:
        raise SeveralKeys(key)


def revoke_keys_of(connection: sqlite3.Connection, name: str) -> int:
    """Revoke all keys of the client of this name and return how many were revoked. Raises NoSuchKey."""
    revoked = connection.execute(
        "UPDATE keys SET revoked_at = ? WHERE revoked_at IS NULL"
        " AND client_id = (SELECT id FROM clients WHERE name = ?)",
        (now(), name),
    ).rowcount
    if not revoked:
        raise NoSuchKey(name)
    return revoked
