"""Clients that others' tools make from the OpenAPI document work: this does what docs/howto/make-a-client.md says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.server import ROOT, ServerWithoutGpu

PYTHON_TOOLS = ROOT / "scripts" / "clients" / ".venv" / "bin"
NODE_TOOLS = ROOT / "scripts" / "page" / "node_modules"


def code(language: str) -> str:
    page = (ROOT / "docs" / "howto" / "make-a-client.md").read_text()
    [found] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return str(found)


def run(folder: Path, server: ServerWithoutGpu, *command: str | Path) -> str:
    environment = {**os.environ, "BACKLOT_URL": server.url, "BACKLOT_KEY": server.key}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(folder: Path, server: ServerWithoutGpu, told: str) -> None:
    """Check that a program has followed its job to the end, fetched the image and paid once."""
    assert "succeeded" in told.lower().splitlines()[-1]
    assert (folder / "marble.png").read_bytes().startswith(b"\x89PNG")
    job = server.client.get("/v1/jobs", params={"limit": 1}).json()["jobs"][0]["public_id"]
    assert server.job(job)["request"]["dominant_colors"] == ["ivory"]


@pytest.mark.skipif(
    not PYTHON_TOOLS.exists() and os.environ.get("REQUIRE_GENERATED_CLIENTS") != "1",
    reason="run `./scripts/setup clients`; REQUIRE_GENERATED_CLIENTS=1 makes that a failure",
)
def test_openapi_python_client(light_server: ServerWithoutGpu, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(light_server.client.get("/schema/openapi.json").text)
    (tmp_path / "config.yaml").write_text(code("yaml"))
    (tmp_path / "use.py").write_text(code("python"))
    # The generator formats its code with the ruff installed beside it.
    path = f"{PYTHON_TOOLS}:{os.environ['PATH']}"
    generate = ["openapi-python-client", "generate", "--path", "openapi.json", "--config", "config.yaml"]
    told = run(tmp_path, light_server, "env", f"PATH={path}", *generate)
    assert "WARNING" not in told
    told = run(tmp_path, light_server, "env", "PYTHONPATH=backlot-api", PYTHON_TOOLS / "python", "use.py")
    check(tmp_path, light_server, told)


@pytest.mark.skipif(
    not NODE_TOOLS.exists() and os.environ.get("REQUIRE_NODE") != "1",
    reason="there is no Node.js here; REQUIRE_NODE=1 makes that a failure",
)
def test_openapi_typescript(light_server: ServerWithoutGpu, tmp_path: Path) -> None:
    shutil.copytree(NODE_TOOLS / "openapi-fetch", tmp_path / "node_modules" / "openapi-fetch")
    shutil.copytree(NODE_TOOLS / "openapi-typescript-helpers", tmp_path / "node_modules" / "openapi-typescript-helpers")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    # These are the few names of Node.js that the program uses, so that its types need no package.
    (tmp_path / "node.d.ts").write_text(
        'declare module "node:fs" { export function writeFileSync(path: string, data: Uint8Array): void }\n'
        "declare const process: { env: Record<string, string | undefined> };\n"
        "declare const Buffer: { from(data: ArrayBuffer): Uint8Array };\n"
    )
    (tmp_path / "use.ts").write_text(code("ts"))
    document = f"{light_server.url}/schema/openapi.json"
    tool = NODE_TOOLS / ".bin"
    run(
        tmp_path,
        light_server,
        tool / "openapi-typescript",
        document,
        "--default-non-nullable=false",
        "-o",
        "backlot.d.ts",
    )
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "--outDir", "out"]
    run(tmp_path, light_server, tool / "tsc", *options, "--allowImportingTsExtensions", "--rewriteRelativeImportExtensions",
        "use.ts", "node.d.ts")  # fmt: skip
    check(tmp_path, light_server, run(tmp_path, light_server, "node", "out/use.js"))
