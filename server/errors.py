"""Every error a client can meet, each with its HTTP status and stable code."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec

from server.validation import Problem


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
    #: Sent with the response.
    headers: Mapping[str, str] = MappingProxyType({})


class BadRequest(ApiError):
    """What was sent is not HTTP."""

    status, code = 400, "BAD_REQUEST"


class RequestTimeout(ApiError):
    """The request did not arrive in time."""

    status, code = 408, "REQUEST_TIMEOUT"


class HeadersTooLarge(ApiError):
    status, code = 431, "HEADERS_TOO_LARGE"


class TooManyConnections(ApiError):
    """Every connection that there is room for is busy."""

    status, code = 503, "TOO_MANY_CONNECTIONS"
    headers = MappingProxyType({"Retry-After": "5"})


class Unauthorized(ApiError):
    status, code = 401, "UNAUTHORIZED"
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


class BadSignature(ApiError):
    status, code = 401, "BAD_SIGNATURE"
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


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

    def __init__(self, public_id: str, among: str = "this client's jobs") -> None:
        super().__init__(f"There is no job {public_id[:64]!r} among {among}")


class ResourceNotFound(ApiError):
    status, code = 404, "RESOURCE_NOT_FOUND"


class IdempotencyConflict(ApiError):
    status, code = 409, "IDEMPOTENCY_CONFLICT"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key {key!r} was used for another request in the last 24 hours; send a new key with a new request"
        )


class JobNotCancellable(ApiError):
    status, code = 409, "JOB_NOT_CANCELLABLE"


class JobNotRetryable(ApiError):
    status, code = 409, "JOB_NOT_RETRYABLE"


class Conflict(ApiError):
    """The change that the operator asks for contradicts the present state."""

    status, code = 409, "CONFLICT"


class PriceTooHigh(ApiError):
    """The job costs more than the client said it would pay."""

    status, code = 409, "PRICE_TOO_HIGH"

    def __init__(self, cost: int, most: int) -> None:
        super().__init__(f"This costs {cost} credits, and the request allows {most}; nothing was made or charged")


class GenerationFailed(ApiError):
    """The job of a request that waited for it ended as FAILURE."""

    status, code = 500, "GENERATION_FAILED"


class ServerStopping(ApiError):
    """The server stops before the job that a request waits for has ended."""

    status, code = 503, "SERVER_STOPPING"
    headers = MappingProxyType({"Retry-After": "5"})


class QueueFull(ApiError):
    status, code = 503, "QUEUE_FULL"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after)}


class Busy(ApiError):
    """Another program keeps the database locked."""

    status, code = 503, "BUSY"
    headers = MappingProxyType({"Retry-After": "5"})


class DiskFull(ApiError):
    """The disk has too little room for a new job."""

    status, code = 503, "DISK_FULL"
    headers = MappingProxyType({"Retry-After": "60"})


class LedgerMissing(ApiError):
    """The database was removed or replaced under the running server."""

    status, code = 503, "DATABASE_MISSING"
    headers = MappingProxyType({"Retry-After": "60"})


class Invalid(ApiError):
    """The request cannot be understood; `problems` has every reason, each located from `body`, `query` and so on.

    The message has the first few.
    """

    status, code = 422, "VALIDATION_ERROR"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        told = "; ".join(f"{'.'.join(map(str, problem.loc))}: {problem.message}" for problem in problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        super().__init__(f"The request has {len(problems)} error{'s'[: len(problems) > 1]}: {told}{more}")
