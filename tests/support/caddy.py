"""Caddy, a real reverse proxy with TLS, with the Caddyfile of the documents."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.support.server import ROOT, free_port, wait_for

CADDY = shutil.which("caddy")


@contextmanager
def caddy(folder: Path, server: str) -> Iterator[tuple[str, str, ssl.SSLContext]]:
    """Run Caddy before a server; give the addresses of both sites of the file, and what trusts their certificates.

    Only names, ports and folders differ from docs/deploy/Caddyfile.
    """
    assert CADDY is not None
    whole, shared = free_port(), free_port()
    text = (ROOT / "docs" / "deploy" / "Caddyfile").read_text()
    for before, after in (
        ("\tlocal_certs", f"\tlocal_certs\n\tskip_install_trust\n\tadmin off\n\tstorage file_system {folder}/storage"),
        ("\nbacklot.studio.lan {", f"\nhttps://localhost:{whole} {{"),
        ("\ntools.studio.lan {", f"\nhttps://localhost:{shared} {{"),
        ("127.0.0.1:8700", urlsplit(server).netloc),
    ):
        assert before in text
        text = text.replace(before, after)
    text = text.replace("\tadmin off", "\tadmin off\n\tauto_https disable_redirects")
    (folder / "Caddyfile").write_text(text)
    process = subprocess.Popen(
        [CADDY, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"], stderr=subprocess.DEVNULL
    )
    root = folder / "storage" / "pki" / "authorities" / "local" / "root.crt"
    try:
        wait_for(lambda: root.exists() and _answers(f"https://localhost:{whole}/healthz", root))
        yield f"https://localhost:{whole}", f"https://localhost:{shared}", ssl.create_default_context(cafile=str(root))
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str, root: Path) -> bool:
    try:
        return httpx.get(url, verify=ssl.create_default_context(cafile=str(root))).status_code == 200
    except (httpx.TransportError, ssl.SSLError):
        return False
