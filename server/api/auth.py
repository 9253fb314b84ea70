"""Finds out who calls: bearer keys, and the optional signature of the body."""

import hmac
from typing import Any

from litestar import Request
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from server.api.request_log import record_of
from server.errors import BadSignature, Unauthorized
from server.keys import body_signature, digest_of
from server.ledger import clients
from server.ledger.clients import Caller
from server.ledger.database import Database

SIGNATURE_HEADER = "X-Shopify-Hmac-Sha256"


class Authentication(ASGIMiddleware):
    """Puts the Caller into the scope, or refuses. It runs before the rate limit, which counts by key."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        database: Database = scope["litestar_app"].state.database
        caller = _identify(request, database)
        record = record_of(scope)
        record.client_id, record.key_id = caller.client_id, caller.key_id
        scope["user"] = caller
        signature = request.headers.get(SIGNATURE_HEADER)
        if signature is not None:
            # Litestar keeps the body it has read, so the handler finds it again.
            _check_signature(caller, signature, await request.body())
        await next_app(scope, receive, send)


def _identify(request: Request[Any, Any, Any], database: Database) -> Caller:
    header = request.headers.get("Authorization")
    if header is None:
        raise Unauthorized("Send your key in the header: Authorization: Bearer sk_live_…")
    scheme, _, key = header.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise Unauthorized("The Authorization header must read: Bearer sk_live_…")
    digest = digest_of(key)
    try:
        return database.look_up(clients.caller, digest)
    except clients.KeyRefused as error:
        raise Unauthorized(str(error)) from None


def _check_signature(caller: Caller, signature: str, body: bytes) -> None:
    if caller.signing_secret is None:
        raise BadSignature(f"{SIGNATURE_HEADER} was sent, but this client has no signing secret; leave the header out")
    if not hmac.compare_digest(signature.encode(), body_signature(caller.signing_secret, body).encode()):
        raise BadSignature(
            f"{SIGNATURE_HEADER} is not the base64 HMAC-SHA256 of the raw body under this client's signing secret"
        )
