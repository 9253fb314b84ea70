"""These tests do, word for word, what docs/howto/webhooks.md tells a receiver to do."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from server.webhooks.signing import new_secret, signed_headers
from tests.support.server import ROOT

BODY = '{"type": "job.failed", "data": {"name": "wärm"}}'.encode()
SECRETS = {name: new_secret() for name in ("new", "old", "other")}

#: The secret of the receiver, the age of the message in seconds, and whether the body came as it was sent.
GOOD = [("new", 0, True), ("old", 0, True), ("new", 290, True), ("new", -290, True)]
BAD = [("other", 0, True), ("new", 310, True), ("new", -310, True), ("new", 0, False)]


def code(language: str) -> str:
    text = (ROOT / "docs" / "howto" / "webhooks.md").read_text()
    [found] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


def message(age: int, *, whole: bool) -> tuple[dict[str, str], bytes]:
    headers = signed_headers(
        [SECRETS["new"], SECRETS["old"]], "01KAZ3N8T9E4W1D6V2X5Y7B8C0", int(time.time()) - age, BODY
    )
    return headers, BODY if whole else BODY + b" "


@pytest.mark.parametrize(("secret", "age", "whole"), GOOD + BAD)
def test_the_python_receiver(secret: str, age: int, whole: bool) -> None:
    names: dict[str, Any] = {}
    exec(code("python"), names)
    headers, body = message(age, whole=whole)
    if (secret, age, whole) in GOOD:
        assert names["verify"](SECRETS[secret], headers, body) == json.loads(BODY)
    else:
        with pytest.raises(ValueError, match=r"too old, or from the future|not signed with this secret"):
            names["verify"](SECRETS[secret], headers, body)


STRAY = [("webhook-id", ""), ("webhook-timestamp", ""), ("webhook-signature", ""), ("webhook-signature", "v1,ä")]


@pytest.mark.parametrize(("name", "value"), STRAY)
def test_the_python_receiver_refuses_what_lacks_a_header(name: str, value: str) -> None:
    names: dict[str, Any] = {}
    exec(code("python"), names)
    headers, body = message(0, whole=True)
    del headers[name]
    if value:
        headers[name] = value
    with pytest.raises(ValueError, match=r"too old, or from the future|not signed with this secret"):
        names["verify"](SECRETS["new"], headers, body)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js here")
@pytest.mark.parametrize(("secret", "age", "whole"), GOOD + BAD)
def test_the_node_receiver(tmp_path: Path, secret: str, age: int, whole: bool) -> None:
    (tmp_path / "verify.mjs").write_text(code("javascript"))
    headers, body = message(age, whole=whole)
    (tmp_path / "run.mjs").write_text(
        'import { verify } from "./verify.mjs";'
        f"const found = verify({json.dumps(SECRETS[secret])}, {json.dumps(headers)}, Buffer.from({json.dumps(body.decode())}));"
        "process.stdout.write(JSON.stringify(found));"
    )
    done = subprocess.run(["node", tmp_path / "run.mjs"], capture_output=True, text=True)
    if (secret, age, whole) in GOOD:
        assert json.loads(done.stdout) == json.loads(BODY)
    else:
        assert done.returncode != 0
        assert re.search("too old, or from the future|not signed with this secret", done.stderr)
