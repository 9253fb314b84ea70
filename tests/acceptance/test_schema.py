"""The OpenAPI document is true of the running server: schemathesis sends what it allows, and what it does not."""

from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance, unsupported_method

from server.api.capabilities import RULES
from server.ledger.clients import Capability
from tests.support.server import ServerWithoutGpu

#: Headers that frame a request. One with other values of these is no request, of which the document could say anything.
_OF_HTTP = ("Connection", "Content-Length", "Host", "Transfer-Encoding", "Upgrade")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_document_is_true(light_server: ServerWithoutGpu, mode: GenerationMode) -> None:
    # Every POST that is accepted makes a job; there must be credits and room for all of them.
    light_server.backlot("clients", "grant", "studio", "100000")
    schema = schemathesis.openapi.from_url(f"{light_server.url}/schema")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert {found.label for found in operations} >= {" ".join(place) for place in RULES}
    every = [word for capability in Capability for word in ("--capability", capability)]
    key = light_server.backlot("keys", "add", "studio", *every).stdout.strip()
    for operation in operations:
        _check(operation, mode, key)


def _check(operation: Any, mode: GenerationMode, key: str) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=15, database=None, suppress_health_check=list(HealthCheck))
    def send(case: Any) -> None:
        if isinstance((case.query or {}).get("wait"), int | float) and case.query["wait"] > 0:
            # Nothing changes during a wait.
            case.query["wait"] = 0
        for name in _OF_HTTP:
            case.headers.pop(name, None)
        case.call_and_validate(
            headers={"Authorization": f"Bearer {key}"},
            excluded_checks=[
                # Litestar answers TRACE itself.
                unsupported_method,
                # Colours, models and tiers have rules that a schema cannot say.
                positive_data_acceptance,
                # A query cannot express null or a single string: `ids=x` is a list of one.
                negative_data_rejection,
            ],
        )

    # An operation that allows every input has none to refuse.
    with suppress(Unsatisfiable):
        send()
