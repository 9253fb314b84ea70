"""Limits the connections that are open at once: as many as leave files for the rest of the server."""

import resource

#: Connections at most: more than a studio ever has. Each costs the server some kilobytes.
MOST = 8192
#: Files for the database, its readers, images on their way, webhooks and GPU processes.
RESERVED = 256
#: Connections at least, even if the operating system allows next to no files.
LEAST = 16


def connection_limit() -> int:
    """Raise this process's limit on open files as far as it may go, and return how many connections that has room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = MOST + RESERVED if hard == resource.RLIM_INFINITY else hard
    return max(LEAST, min(MOST, files - RESERVED))
