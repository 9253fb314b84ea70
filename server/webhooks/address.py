"""The address of a receiver."""

import ipaddress
import re

import httpx

_LONGEST = 2000
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


class BadAddress(ValueError):
    """The text is no address that a webhook can be sent to; the message says why."""


def check(text: str) -> None:
    """Raise BadAddress unless `text` is a whole http or https URL. Addresses on the LAN are as good as any."""
    if len(text) > _LONGEST:
        raise BadAddress(f"the URL has {len(text)} characters; at most {_LONGEST} are taken")
    if not text.isprintable() or " " in text:
        raise BadAddress(f"{text!r} has a space or a control character in it; write it as %20 and the like")
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise BadAddress(f"{text!r} is not a URL: {error}") from None
    if url.scheme not in ("http", "https"):
        raise BadAddress(f"{text!r} does not begin with http:// or https://")
    if not _is_host(url.raw_host.decode("ascii")):
        raise BadAddress(f"{text!r} has {host!r} for a host, which can be none")
    if url.port is not None and not 1 <= url.port <= 65535:
        raise BadAddress(f"{text!r} has the port {url.port}; there are 1–65535")
    if url.fragment:
        raise BadAddress(f"{text!r} has a fragment, #{url.fragment}, which no receiver would see; leave it out")


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))
    return True
