"""The OpenAPI document: what each route declares, and what Litestar does not know."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, get_origin

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
    Server,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.routes import HTTPRoute
from litestar.types import Method

from server.api.views import WebhookMessage
from server.errors import ErrorEnvelope, ValidationEnvelope
from server.ledger.webhooks import WebhookEvent

_DESCRIPTIONS = {
    401: "UNAUTHORIZED: no key or a bad one; BAD_SIGNATURE: the signature header does not fit the body",
    402: "INSUFFICIENT_BALANCE: no job was made and nothing was taken",
    403: "FORBIDDEN: the key lacks the capability; OPERATION_DISABLED",
    404: "JOB_NOT_FOUND or RESOURCE_NOT_FOUND: unknown, or another client's",
    409: "IDEMPOTENCY_CONFLICT, PRICE_TOO_HIGH, JOB_NOT_CANCELLABLE, JOB_NOT_RETRYABLE, CONFLICT: nothing was changed",
    413: "PAYLOAD_TOO_LARGE: the body is above 1 MiB",
    422: "VALIDATION_ERROR: every error found",
    429: "RATE_LIMITED: wait as long as Retry-After says",
    503: "QUEUE_FULL, BUSY or DISK_FULL: nothing was charged; wait as long as Retry-After says",
}


def answer(body: type[Any], description: str) -> ResponseSpec:
    """Return what a route declares of an answer; examples would be made-up values."""
    return ResponseSpec(body, generate_examples=False, description=description)


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the responses with these statuses, and with 401, 403 and 429, which every `/v1` route can give."""
    return {
        status: answer(ValidationEnvelope if status == 422 else ErrorEnvelope, _DESCRIPTIONS[status])
        for status in sorted({401, 403, 429, *statuses})
    }


def config(page: OpenAPIRenderPlugin, public_url: str) -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="A key of `backlot clients add`: sk_live_…")
    return OpenAPIConfig(
        title="Backlot",
        version=version("backlot"),
        description="A local, GPU-backed generation server: background specs in, catalogue backgrounds out.",
        path="/openapi",
        servers=[Server(url=public_url or "/")],
        render_plugins=[page],
        components=Components(security_schemes={"key": bearer}),
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        webhooks={event.value: PathItem(post=_webhook(event)) for event in WebhookEvent},
    )


def _webhook(event: WebhookEvent) -> Operation:
    """Return what the server sends of an event, and what the receiver has to answer."""
    headers = {
        "webhook-id": "The same on every try of one message",
        "webhook-timestamp": "The moment of this try in Unix seconds",
        "webhook-signature": "`v1,` and a base64 HMAC-SHA256; several between spaces while a secret is changed",
    }
    return Operation(
        operation_id="on" + event.title().replace(".", ""),
        summary=f"Sent to the client's receiver, set by the operator: {event}",
        tags=["webhooks"],
        parameters=[
            Parameter(name, "header", Schema(type=OpenAPIType.STRING), text, required=True)
            for name, text in headers.items()
        ],
        request_body=RequestBody(
            content={"application/json": OpenAPIMediaType(schema=_reference(WebhookMessage))}, required=True
        ),
        responses={"2XX": OpenAPIResponse(description="The message was taken; anything else is tried again")},
        security=[],
    )


def complete(
    app: Litestar, bodies: dict[str, type[msgspec.Struct]], never_found: set[str], files: dict[str, str]
) -> None:
    """Add what Litestar does not know to the app's document.

    A wrong parameter is a 422 here, not a 400. The routes of `bodies` decode their bodies themselves, as the given type.
    Those of `never_found` have no 200, and those of `files` answer with a file of the given media type.
    """
    document = app.openapi_schema
    paths = document.paths or {}
    for path in paths.values():
        for operation in _operations(path):
            (operation.responses or {}).pop("400", None)
    # msgspec knows more of its own types than Litestar does: bounds within `… | None`, formats, unknown fields. Its JSON
    # schemas are copied as they are.
    known = [*bodies.values(), *_answers(app), WebhookMessage]
    _, schemas = msgspec.json.schema_components(known, ref_template="#/components/schemas/{name}")
    document.components.schemas.update(schemas)
    for route, body in bodies.items():
        content = {"application/json": OpenAPIMediaType(schema=_reference(body))}
        for operation in filter(None, (paths[route].post, paths[route].patch)):
            operation.request_body = RequestBody(content=content, required=True)
    for route in never_found:
        for operation in _operations(paths[route]):
            (operation.responses or {}).pop("200", None)
    binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    for route, media_type in files.items():
        for operation in _operations(paths[route]):
            (operation.responses or {})["200"] = OpenAPIResponse(
                description="The file", content={media_type: OpenAPIMediaType(schema=binary)}
            )


def _reference(body: type[msgspec.Struct]) -> Reference:
    return Reference(ref=f"#/components/schemas/{body.__name__}")


def _answers(app: Litestar) -> Iterator[Any]:
    """Yield the Structs and lists that the handlers return or declare."""
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            declared = [spec.data_container for spec in (handler.responses or {}).values()]
            for answer in (handler.parsed_fn_signature.return_type.annotation, *declared):
                if get_origin(answer) is list or (isinstance(answer, type) and issubclass(answer, msgspec.Struct)):
                    yield answer


def _operations(path: Any) -> list[Operation]:
    return [operation for operation in (path.get, path.post, path.patch, path.delete) if operation is not None]


def _operation_id(handler: HTTPRouteHandler, _: Method, __: list[Any]) -> str:
    """Return a handler's name as an operation id: `listJobs` for `list_jobs`."""
    first, *rest = handler.handler_name.split("_")
    return first + "".join(word.capitalize() for word in rest)
