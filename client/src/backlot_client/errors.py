"""Every error of this package. Each has a `code` to compare with, a `message` to show, and a `request_id` to ask about.

    BacklotError
    ├── NotConfigured            no key, or no address of a server
    ├── Unreachable              no answer came within the time that retries may take
    ├── UnexpectedAnswer         an answer that is not the API's, such as a proxy's page
    ├── IncompleteDownload       a picture arrived with another size than announced
    ├── WaitTimeout              a job did not end within the time given
    ├── JobFailed                a job ended as FAILURE; its credits are back
    └── ApiError                 the server refused: code and message are its own
        ├── Unauthorized 401     ├── Forbidden 403       ├── InsufficientBalance 402
        ├── NotFound 404         ├── Conflict 409        ├── Invalid 422
        ├── RateLimited 429      ├── Unavailable 503     └── ServerError, any other 5xx

RateLimited and Unavailable pass by themselves, and so do a proxy's 502 and 504: calls repeat on them, as they do on a
network fault, and raise them when their time for it is over.
"""

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from backlot_client.answers import Job


class BacklotError(Exception):
    code = "CLIENT_ERROR"
    #: Whether the same request may succeed later, unchanged.
    passes = False

    def __init__(self, message: str, *, code: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        #: The row of the server's request log; None if no request was refused.
        self.request_id = request_id
        #: Seconds that the server asks to wait; None if it did not say.
        self.retry_after_s: float | None = None


class NotConfigured(BacklotError):
    code = "NOT_CONFIGURED"


class Unreachable(BacklotError):
    code = "UNREACHABLE"
    passes = True


class UnexpectedAnswer(BacklotError):
    code = "UNEXPECTED_ANSWER"


class IncompleteDownload(BacklotError):
    code = "INCOMPLETE_DOWNLOAD"
    passes = True


class WaitTimeout(BacklotError):
    code = "WAIT_TIMEOUT"


class JobFailed(BacklotError):
    """`code` is the stable reason; `job` is the whole job."""

    def __init__(self, job: Job) -> None:
        event = job.latest_event
        super().__init__(event.message if event else "The job failed", code=job.failure_reason)
        self.job = job
        #: Credits that were given back.
        self.refunded = int(event.extra.get("refunded", 0)) if event else 0


class ApiError(BacklotError):
    def __init__(self, message: str, *, code: str | None = None, request_id: str | None = None, status: int) -> None:
        super().__init__(message, code=code, request_id=request_id)
        self.status = status

    def __str__(self) -> str:
        return f"{self.message} ({self.code}, request {self.request_id})"


class Unauthorized(ApiError):
    pass


class InsufficientBalance(ApiError):
    pass


class Forbidden(ApiError):
    pass


class NotFound(ApiError):
    pass


class Conflict(ApiError):
    pass


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a request; `loc` leads to it, as `["body", "dominant_colors", 1]` does."""

    loc: list[str | int]
    msg: str
    type: str

    def __str__(self) -> str:
        return f"{'.'.join(str(part) for part in self.loc[1:] or self.loc)}: {self.msg}"


class Invalid(ApiError):
    """`problems` has everything that is wrong with the request."""

    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return f"{'; '.join(str(problem) for problem in self.problems) or self.message} (request {self.request_id})"


class RateLimited(ApiError):
    passes = True


class Unavailable(ApiError):
    passes = True


class ServerError(ApiError):
    pass


class _ErrorBody(msgspec.Struct):
    code: str
    message: str
    request_id: str


class _Envelope(msgspec.Struct):
    error: _ErrorBody
    detail: list[Problem] = []


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthorized,
    402: InsufficientBalance,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: RateLimited,
    503: Unavailable,
}
_decode = msgspec.json.Decoder(_Envelope).decode


def error_of(response: httpx.Response) -> BacklotError:
    """Return the error that a response other than a 2xx means. The response must have been read."""
    status = response.status_code
    error: BacklotError
    try:
        envelope = _decode(response.content)
    except (msgspec.DecodeError, msgspec.ValidationError):
        error = _unexpected(response)
    else:
        kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
        body = envelope.error
        error = kind(body.message, code=body.code, request_id=body.request_id, status=status)
        if isinstance(error, Invalid):
            error.problems = tuple(envelope.detail)
    error.retry_after_s = _retry_after(response.headers.get("Retry-After"))
    return error


def unreachable(fault: httpx.RequestError) -> Unreachable:
    """Return the error that a network fault means."""
    address = fault.request.url.copy_with(query=None)
    error = Unreachable(f"No answer from {address}: {fault or type(fault).__name__}")
    error.__cause__ = fault
    return error


def unexpected_answer(response: httpx.Response, reason: str) -> UnexpectedAnswer:
    """Return the error of an answer that cannot be understood."""
    return UnexpectedAnswer(
        f"{response.request.url.copy_with(query=None)} answered {response.status_code} with something else than the "
        f"Backlot API does ({reason}); is the address right?",
        request_id=response.headers.get("X-Request-Id"),
    )


def _unexpected(response: httpx.Response) -> BacklotError:
    status = response.status_code
    error = unexpected_answer(response, f"content type {response.headers.get('Content-Type', 'none')!r}")
    if status not in (429, 502, 503, 504):
        return error
    kind = RateLimited if status == 429 else Unavailable
    return kind(error.message, code=f"HTTP_{status}", request_id=error.request_id, status=status)


def _retry_after(header: Any) -> float | None:
    """Return the seconds that a Retry-After header asks for, which are a number or an HTTP date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
