"""The types of the API for the studio page's scripts, made from the OpenAPI document of this checkout's server.

`python -m tests.support.page_types` writes them; `./scripts/fix` calls it.
"""

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.server import ROOT, ServerWithoutGpu

TYPES = ROOT / "server" / "studio" / "openapi.d.ts"
GENERATOR = ROOT / "scripts" / "page" / "node_modules" / ".bin" / "openapi-typescript"
OPTIONS = [
    "--root-types",
    "--root-types-no-schema-prefix",
    "--root-types-keep-casing",
    "--alphabetize",
    "--empty-objects-unknown",
    # A client may leave out a field that has a default.
    "--default-non-nullable=false",
]


def types_of(document: dict[str, Any]) -> str:
    """Return TypeScript declarations of the document's schemas; the page knows the paths itself, and receives no webhooks."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "openapi.json", Path(folder) / "openapi.d.ts"
        source.write_text(json.dumps({**document, "paths": {}, "webhooks": {}}))
        subprocess.run([GENERATOR, source, "-o", target, *OPTIONS], check=True, capture_output=True)
        return target.read_text()


def main() -> None:
    with TemporaryDirectory() as data:
        server = ServerWithoutGpu(Path(data), BACKLOT_LOG_LEVEL="ERROR")
        server.start(wait_ready=False)
        try:
            TYPES.write_text(types_of(server.client.get("/schema").json()))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
