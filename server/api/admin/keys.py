"""`/v1/admin/keys`: the keys by which clients are known."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from server.api.admin.change import change
from server.api.bodies import read_body
from server.api.openapi import errors
from server.clock import Time, as_text, now
from server.keys import digest_of, new_key
from server.ledger import clients, reports
from server.ledger.clients import CLIENT, Caller, Capability, KeyTerms
from server.ledger.database import Database
from server.ledger.reports import KeyReport
from server.validation import Problem


class KeyList(msgspec.Struct, frozen=True):
    keys: list[KeyReport]


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client: str
    #: Its purpose, in words.
    label: Annotated[str, Meta(max_length=200)] = ""
    #: When it expires; null is never.
    expires_at: datetime | None = None
    capabilities: Annotated[tuple[Capability, ...], Meta(min_length=1, max_length=3)] = CLIENT
    #: Each step doubles the client's share of the GPU for jobs sent with this key.
    priority: Annotated[int, Meta(ge=-4, le=4)] = 0


class MadeKey(msgspec.Struct, frozen=True):
    client: str
    #: Shown this once.
    key: str
    label: str
    expires_at: Time | None
    capabilities: list[Capability]
    priority: int


@get("/keys", responses=errors(), summary="List keys")
async def list_keys(database: NamedDependency[Database]) -> KeyList:
    """List all keys, the revoked ones too, by their first characters."""
    return KeyList(await database.read(reports.keys))


@post("/keys", responses=errors(404, 413, 422, 503), summary="Make a key")
async def add_key(request: Request[Caller, Any, Any], database: NamedDependency[Database]) -> MadeKey:
    """Make another key for a client."""
    new = await read_body(request, NewKey, _expiry_problems)
    terms = KeyTerms(
        capabilities=tuple(dict.fromkeys(new.capabilities)),
        priority=new.priority,
        label=new.label.strip(),
        expires_at=None if new.expires_at is None else as_text(new.expires_at),
    )

    def work(connection: Any) -> str:
        client = clients.named(connection, new.client)
        return new_key(connection, client.id, test=client.test, terms=terms)

    key = await change(request, database, work)
    return MadeKey(new.client, key, terms.label, terms.expires_at, list(terms.capabilities), terms.priority)


def _expiry_problems(values: dict[str, Any]) -> list[Problem]:
    """Return a problem if a key would have expired already."""
    expires_at: datetime | None = values.get("expires_at")
    if expires_at is None or as_text(expires_at) > now():
        return []
    return [Problem(("expires_at",), "value_error", "It is over already; give a time to come, or null for never")]


@delete("/keys/{key:str}", status_code=204, responses=errors(404, 409, 503), summary="Revoke a key")
async def revoke_key(
    request: Request[Caller, Any, Any], key: FromPath[str], database: NamedDependency[Database]
) -> None:
    """Revoke the key with these first 14 characters, or a whole key."""
    await change(request, database, clients.revoke_key, key, digest_of(key))
