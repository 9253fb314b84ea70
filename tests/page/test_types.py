"""The generated parts of the page: the types of the API, and the view library."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.page_types import GENERATOR, TYPES, types_of
from tests.support.server import ROOT, ServerWithoutGpu

pytestmark = pytest.mark.skipif(
    not GENERATOR.exists() and os.environ.get("REQUIRE_NODE") != "1",
    reason="there is no Node.js here; REQUIRE_NODE=1 makes that a failure",
)


def test_the_types_are_those_of_the_openapi_document(light_server: ServerWithoutGpu) -> None:
    expected = types_of(light_server.client.get("/schema").json())
    assert TYPES.read_text() == expected, "the API has changed; `./scripts/fix` writes the page's types anew"


def test_the_view_library_is_that_of_the_pinned_packages(tmp_path: Path) -> None:
    vendored = ROOT / "server" / "studio" / "vendor"
    subprocess.run(["node", ROOT / "scripts" / "page" / "vendor.js", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path.name: path.read_bytes() for path in vendored.iterdir()} == made, "run `./scripts/fix`"
