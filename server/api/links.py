"""Signed image links: a link gives access to one image without a key, until it expires."""

import base64
import hmac
import time

from server.errors import LinkRefused


class Links:
    """Makes and checks links under one secret."""

    def __init__(self, secret: bytes, lifetime_s: int) -> None:
        self._secret = secret
        self._lifetime_s = lifetime_s

    def url(self, base: str, artifact: str) -> str:
        """Return an absolute link to the artifact's PNG. Links made in the same minute are equal, so that browsers cache."""
        expires = (int(time.time()) // 60 + 1) * 60 + self._lifetime_s
        return f"{base}/images/{artifact}.png?expires={expires}&signature={self._sign(artifact, expires)}"

    def check(self, artifact: str, expires: int, signature: str) -> None:
        """Raise LinkRefused if the signature does not belong to this link, or its time is over."""
        if not hmac.compare_digest(signature.encode(), self._sign(artifact, expires).encode()):
            raise LinkRefused("This image link was not made by this server; read the job again for a good one")
        if expires < time.time():
            raise LinkRefused("This image link has expired; read the job or the catalogue again for a new one")

    def _sign(self, artifact: str, expires: int) -> str:
        digest = hmac.digest(self._secret, f"{artifact}.{expires}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:24]).decode()
