"""Internet addresses, as settings, headers and links write them."""

import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


def networks(text: str) -> list[IPv4Network | IPv6Network]:
    """Return the networks of a list such as `127.0.0.1, 10.0.0.0/8, ::1`. Raises ValueError."""
    return [ip_network(part.strip()) for part in text.split(",") if part.strip()]


# Addresses are cached, since every request asks for its peer's, and a LAN has few.
@lru_cache(maxsize=4096)
def address_of(text: str) -> Address | None:
    """Return the address of `1.2.3.4`, `1.2.3.4:80`, `::1` or `[::1]:80`; None for anything else.

    An IPv4 client of an IPv6 socket has its IPv4 address.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def url_of(host: str, port: int) -> str:
    """Return the URL at which this box reaches a server that listens on `host`: a loopback one if it listens on all."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  not a bind
    return f"http://[{reached.replace('%', '%25')}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def lan_url_of(host: str, port: int) -> str:
    """Return the URL at which other boxes reach a server on `host`: with this box's name if it listens on all."""
    return url_of(socket.gethostname() if host in ("0.0.0.0", "::") else host, port)  # noqa: S104  not a bind
