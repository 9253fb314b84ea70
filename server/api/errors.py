"""The one place where an exception becomes a response, Litestar's own exceptions included."""

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from server.api.request_log import record_of
from server.errors import (
    ApiError,
    Busy,
    DiskFull,
    ErrorBody,
    ErrorDetail,
    ErrorEnvelope,
    Invalid,
    LedgerMissing,
    ValidationEnvelope,
)
from server.ledger.database import DatabaseBusy, DatabaseFull
from server.ledger.opened_files import DatabaseMissing
from server.validation import Problem, explained

log = logging.getLogger(__name__)


#: The request log's status for a client that went away before it had its answer, the same as nginx's.
CLIENT_GONE = 499

_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "PAYLOAD_TOO_LARGE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
}


class Parts(msgspec.Struct, frozen=True):
    """The parts of an error's response, for every shape that it may have."""

    status: int
    code: str
    message: str
    headers: dict[str, str]
    problems: list[Problem]
    request_id: str


def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorEnvelope | ValidationEnvelope]:
    """Return the response to any exception a request ends with."""
    parts = response_parts(request, error)
    body = ErrorBody(code=parts.code, message=parts.message, request_id=parts.request_id)
    content: ErrorEnvelope | ValidationEnvelope = ErrorEnvelope(body)
    if parts.status == 422:
        found = parts.problems or [Problem(("body",), "value_error", parts.message)]
        details = [ErrorDetail(loc=list(problem.loc), msg=problem.message, type=problem.kind) for problem in found]
        content = ValidationEnvelope(detail=details, error=body)
    return Response(content, status_code=parts.status, headers=parts.headers, media_type="application/json")


def response_parts(request: Request[Any, Any, Any], error: Exception) -> Parts:
    """Work out what to say of an exception, note its code in the request log, and log an unforeseen one whole."""
    record = record_of(request.scope)
    if record.client_gone and not isinstance(error, ApiError):
        # Nobody reads the answer; the request log says what happened.
        record.error_code = "CLIENT_GONE"
        return Parts(CLIENT_GONE, record.error_code, "The client went away", {}, [], record.request_id)
    if isinstance(error, ValidationException):
        extras = error.extra if isinstance(error.extra, list) else []
        found = [_problem(request, extra) for extra in extras if isinstance(extra, dict)]
        error = Invalid(found or [Problem(("query",), "missing", error.detail)])
    if isinstance(error, DatabaseBusy):
        error = Busy("The database is locked by another program; nothing was made or charged. Try again")
    if isinstance(error, DatabaseFull):
        error = DiskFull("The disk of the server is full; nothing was made or charged. Tell the operator")
    if isinstance(error, DatabaseMissing):
        error = LedgerMissing("The database was removed or replaced; nothing was made or charged. Tell the operator")
    if isinstance(error, ApiError):
        record.error_code = error.code
        problems = error.problems if isinstance(error, Invalid) else []
        return Parts(error.status, error.code, str(error), dict(error.headers), problems, record.request_id)
    if isinstance(error, HTTPException) and error.status_code < 500:
        headers = {name: value for name, value in (error.headers or {}).items() if name.lower() != "set-cookie"}
        record.error_code = _CODES.get(error.status_code, "BAD_REQUEST")
        message = _message(request, error)
        return Parts(error.status_code, record.error_code, message, headers, [], record.request_id)
    log.error("%s %s broke", request.method, record.route, exc_info=error)
    record.error_code = "INTERNAL_ERROR"
    message = "The server met an error of its own; the operator finds it in the log under this request_id"
    return Parts(500, record.error_code, message, {}, [], record.request_id)


def _message(request: Request[Any, Any, Any], error: HTTPException) -> str:
    messages = {
        404: f"There is no route {request.url.path[:200]!r}; GET /schema lists them",
        405: f"{request.url.path[:200]!r} does not take {request.method}; GET /schema lists what it takes",
        413: "The body is larger than 1 MiB",
    }
    return messages.get(error.status_code, error.detail)


def _problem(request: Request[Any, Any, Any], found: dict[str, Any]) -> Problem:
    # The source is Litestar's ParamType, a string enum.
    source = str(getattr(found.get("source"), "value", "query"))
    key = str(found.get("key", ""))
    name = key.replace("_", "-").title() if source == "header" else key
    sent = (request.headers if source == "header" else request.query_params).get(name)
    parameter = request.route_handler.parsed_fn_signature.parameters.get(key)
    expected = None if parameter is None else parameter.annotation
    kind, message = explained(str(found.get("message", "Invalid value")), sent, expected)
    return Problem((source, name) if name else (source,), kind, message)
