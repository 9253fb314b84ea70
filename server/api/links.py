"""Signed image links: a link gives access to one file without a key, until it expires."""

import base64
import hmac
import time
from enum import StrEnum

from server.errors import LinkRefused


class LinkKind(StrEnum):
    """The kind of file that a link leads to; the first part of its path."""

    IMAGE = "images"
    THUMBNAIL = "thumbnails"
    PREVIEW = "previews"

    @property
    def suffix(self) -> str:
        return ".png" if self is LinkKind.IMAGE else ".webp"


class Links:
    """Makes and checks links under one secret."""

    def __init__(self, secret: bytes, lifetime_s: int) -> None:
        self._secret = secret
        self._lifetime_s = lifetime_s

    def url(self, base: str, kind: LinkKind, artifact: str) -> str:
        """Return an absolute link to a file of an artifact. Links of the same minute are equal, so that browsers cache."""
        expires = (int(time.time()) // 60 + 1) * 60 + self._lifetime_s
        signature = self._sign(kind, artifact, expires)
        return f"{base}/{kind}/{artifact}{kind.suffix}?expires={expires}&signature={signature}"

    def check(self, kind: LinkKind, name: str, expires: int, signature: str) -> str:
        """Return the artifact of a link's file name. Raises LinkRefused if the signature is wrong or the link has expired."""
        artifact = name.removesuffix(kind.suffix)
        if not hmac.compare_digest(signature.encode(), self._sign(kind, artifact, expires).encode()):
            raise LinkRefused("This image link was not made by this server; read the job again for a good one")
        if expires < time.time():
            raise LinkRefused("This image link has expired; read the job or the catalogue again for a new one")
        return artifact

    def _sign(self, kind: LinkKind, artifact: str, expires: int) -> str:
        of = artifact if kind is LinkKind.IMAGE else f"{kind}/{artifact}"
        digest = hmac.digest(self._secret, f"{of}.{expires}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:24]).decode()
