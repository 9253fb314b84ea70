"""Authorises requests by the client's key, and signs them if it has a signing secret."""

import base64
import hmac
from collections.abc import Generator

import httpx

SIGNATURE_HEADER = "X-Shopify-Hmac-Sha256"


class KeyAuth(httpx.Auth):
    """Adds the key and, if there is a signing secret, the signature of the body. No traceback shows either."""

    requires_request_body = True

    def __init__(self, key: str, signing_secret: str | None) -> None:
        self._key = key
        self._signing_secret = signing_secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key}"
        if self._signing_secret is not None:
            request.headers[SIGNATURE_HEADER] = signature(self._signing_secret, request.content)
        yield request


def signature(secret: str, body: bytes) -> str:
    """Return the base64 of the HMAC-SHA256 of the raw body under the secret's bytes; an empty body is signed too."""
    return base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
