"""The types of the API that the page's scripts are checked against."""

import os

import pytest

from tests.support.page_types import GENERATOR, TYPES, types_of
from tests.support.server import Server

pytestmark = pytest.mark.skipif(
    not GENERATOR.exists() and os.environ.get("REQUIRE_NODE") != "1",
    reason="there is no Node.js here; REQUIRE_NODE=1 makes that a failure",
)


def test_they_are_those_of_the_openapi_document(server: Server) -> None:
    expected = types_of(server.client.get("/schema").json())
    assert TYPES.read_text() == expected, "the API has changed; `./scripts/fix` writes the page's types anew"
