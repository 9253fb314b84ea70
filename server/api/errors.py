"""Every error a client can meet, each with its HTTP status and stable code.

    ApiError
    ├── Unauthorized 401        ├── InsufficientBalance 402    ├── Forbidden 403
    ├── BadSignature 401        ├── OperationDisabled 403      ├── LinkRefused 403
    ├── JobNotFound 404         ├── ResourceNotFound 404
    ├── IdempotencyConflict 409 ├── JobNotCancellable 409
    ├── Invalid 422             └── QueueFull 503

`error_response` is the one place where an exception becomes a response, Litestar's own exceptions included.
"""

import logging
from typing import Any, ClassVar

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, TooManyRequestsException, ValidationException

from server.api.request_log import record_of
from server.validation import Problem

log = logging.getLogger(__name__)


class ErrorBody(msgspec.Struct):
    code: str
    message: str
    #: The row of this request in the request log; also the X-Request-Id header.
    request_id: str


class ErrorEnvelope(msgspec.Struct):
    error: ErrorBody


class ErrorDetail(msgspec.Struct):
    loc: list[str | int]
    msg: str
    type: str


class ValidationEnvelope(msgspec.Struct):
    """Every error found, and the same envelope as any other error."""

    detail: list[ErrorDetail]
    error: ErrorBody


class ApiError(Exception):
    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"

    @property
    def headers(self) -> dict[str, str]:
        return {}


class Unauthorized(ApiError):
    status, code = 401, "UNAUTHORIZED"

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class BadSignature(ApiError):
    status, code = 401, "BAD_SIGNATURE"

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class InsufficientBalance(ApiError):
    status, code = 402, "INSUFFICIENT_BALANCE"


class Forbidden(ApiError):
    status, code = 403, "FORBIDDEN"


class OperationDisabled(ApiError):
    status, code = 403, "OPERATION_DISABLED"


class LinkRefused(ApiError):
    status, code = 403, "LINK_EXPIRED"


class JobNotFound(ApiError):
    status, code = 404, "JOB_NOT_FOUND"

    def __init__(self, public_id: str) -> None:
        super().__init__(f"There is no job {public_id[:64]!r} among this client's jobs")


class ResourceNotFound(ApiError):
    status, code = 404, "RESOURCE_NOT_FOUND"


class IdempotencyConflict(ApiError):
    status, code = 409, "IDEMPOTENCY_CONFLICT"


class JobNotCancellable(ApiError):
    status, code = 409, "JOB_NOT_CANCELLABLE"


class QueueFull(ApiError):
    status, code = 503, "QUEUE_FULL"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class Invalid(ApiError):
    """The request cannot be understood; `problems` has every reason, each located from `body`, `query` and so on."""

    status, code = 422, "VALIDATION_ERROR"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        places = ", ".join(".".join(str(part) for part in problem.loc) for problem in problems[:5])
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        super().__init__(f"The request has {len(problems)} error{'s'[: len(problems) > 1]}: {places}{more}")


_CODES = {
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "PAYLOAD_TOO_LARGE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
}


def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorEnvelope | ValidationEnvelope]:
    """The response to any exception a request ends with. What nobody foresaw is logged with its traceback."""
    if isinstance(error, ValidationException):
        found = [_problem(extra) for extra in _extra(error)]
        error = Invalid(found or [Problem(("query",), "missing", error.detail)])
    if isinstance(error, ApiError):
        return _envelope(request, error.status, error.code, str(error), error.headers, getattr(error, "problems", None))
    if isinstance(error, HTTPException) and error.status_code < 500:
        headers = {name: value for name, value in (error.headers or {}).items() if name.lower() != "set-cookie"}
        message = _message(request, error)
        if isinstance(error, TooManyRequestsException):
            headers["Retry-After"] = headers.get("RateLimit-Reset", "60")
        return _envelope(request, error.status_code, _CODES.get(error.status_code, "BAD_REQUEST"), message, headers)
    log.error("%s %s broke", request.method, request.url.path, exc_info=error)
    message = "The server met an error of its own; the operator finds it in the log under this request_id"
    return _envelope(request, 500, "INTERNAL_ERROR", message, {})


def _envelope(
    request: Request[Any, Any, Any],
    status: int,
    code: str,
    message: str,
    headers: dict[str, str],
    problems: list[Problem] | None = None,
) -> Response[ErrorEnvelope | ValidationEnvelope]:
    record = record_of(request.scope)
    record.error_code = code
    body = ErrorBody(code=code, message=message, request_id=record.request_id)
    content: ErrorEnvelope | ValidationEnvelope = ErrorEnvelope(body)
    if status == 422:
        found = problems or [Problem(("body",), "value_error", message)]
        details = [ErrorDetail(loc=list(problem.loc), msg=problem.message, type=problem.kind) for problem in found]
        content = ValidationEnvelope(detail=details, error=body)
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def _message(request: Request[Any, Any, Any], error: HTTPException) -> str:
    messages = {
        404: f"There is no route {request.url.path[:200]!r}; GET /schema lists them",
        405: f"{request.url.path[:200]!r} does not take {request.method}; GET /schema lists what it takes",
        413: "The body is larger than 1 MiB",
        429: "Too many requests with this key; wait as long as Retry-After says",
    }
    return messages.get(error.status_code, error.detail)


def _extra(error: ValidationException) -> list[dict[str, Any]]:
    return [found for found in error.extra if isinstance(found, dict)] if isinstance(error.extra, list) else []


def _problem(found: dict[str, Any]) -> Problem:
    # Litestar's ParamType, a string enum.
    source = str(getattr(found.get("source"), "value", "query"))
    key = str(found.get("key", ""))
    if source == "header":
        key = key.replace("_", "-").title()
    return Problem((source, key) if key else (source,), "value_error", str(found.get("message", "Invalid value")))
