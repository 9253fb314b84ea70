"""The errors that refusals become."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from backlot_client import errors
from backlot_client.errors import ApiError, BacklotError, Invalid, UnexpectedAnswer, error_of

BY_STATUS = {
    400: ApiError,
    401: errors.Unauthorized,
    402: errors.InsufficientBalance,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    422: Invalid,
    429: errors.RateLimited,
    500: errors.ServerError,
    503: errors.Unavailable,
}


def refusal(status: int, **options: object) -> BacklotError:
    request = httpx.Request("GET", "http://box:8700/v1/jobs?secret=1")
    return error_of(httpx.Response(status, request=request, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("status", BY_STATUS)
def test_each_status_has_its_error(status: int) -> None:
    error = refusal(
        status, json={"error": {"code": "A_CODE", "message": "What happened", "request_id": "01ID", "new": 1}}
    )
    assert type(error) is BY_STATUS[status]
    assert (error.code, error.message, error.request_id) == ("A_CODE", "What happened", "01ID")
    assert error.passes == (status in (429, 503))


def test_every_problem_of_a_request_is_told() -> None:
    detail = [
        {"loc": ["body", "mood"], "msg": "it is missing", "type": "missing"},
        {"loc": ["body", "dominant_colors", 1], "msg": "no colour", "type": "value_error", "more": {}},
    ]
    envelope = {"code": "VALIDATION_ERROR", "message": "2 errors", "request_id": "01ID"}
    error = refusal(422, json={"detail": detail, "error": envelope})
    assert isinstance(error, Invalid)
    assert [problem.loc for problem in error.problems] == [["body", "mood"], ["body", "dominant_colors", 1]]
    assert str(error) == "mood: it is missing; dominant_colors.1: no colour (request 01ID)"


@pytest.mark.parametrize(
    ("status", "passes"), [(200, False), (404, False), (500, False), (502, True), (503, True), (504, True)]
)
def test_a_page_of_something_else(status: int, passes: bool) -> None:
    error = refusal(status, text="<html>Welcome to nginx</html>", headers={"Content-Type": "text/html"})
    assert error.passes == passes
    assert isinstance(error, UnexpectedAnswer) != passes
    assert "text/html" in error.message
    assert "secret" not in error.message


def test_retry_after_is_seconds_or_a_date() -> None:
    assert refusal(503, headers={"Retry-After": "7"}).retry_after_s == 7
    soon = refusal(
        503, headers={"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=100))}
    ).retry_after_s
    assert soon is not None
    assert 90 < soon <= 100
    assert refusal(503, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}).retry_after_s == 0
    assert refusal(503, headers={"Retry-After": "soon"}).retry_after_s is None
    assert refusal(503).retry_after_s is None
