"""The error responses that OpenAPI lists, so that each route declares just those it can give."""

from litestar.openapi.datastructures import ResponseSpec

from server.api.errors import ErrorEnvelope, ValidationEnvelope

_DESCRIPTIONS = {
    401: "UNAUTHORIZED: no key or a bad one; BAD_SIGNATURE: the signature header does not fit the body",
    402: "INSUFFICIENT_BALANCE: no job was made and nothing was taken",
    403: "FORBIDDEN: the key lacks the capability; OPERATION_DISABLED",
    404: "JOB_NOT_FOUND or RESOURCE_NOT_FOUND: unknown, or another client's",
    409: "IDEMPOTENCY_CONFLICT or JOB_NOT_CANCELLABLE",
    413: "PAYLOAD_TOO_LARGE: the body is above 1 MiB",
    429: "RATE_LIMITED: wait as long as Retry-After says",
    503: "QUEUE_FULL: nothing was charged; wait as long as Retry-After says",
}


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """401, 403 and 429, which every `/v1` route can give, and these."""
    return {
        status: ResponseSpec(
            ValidationEnvelope if status == 422 else ErrorEnvelope,
            generate_examples=False,
            description="VALIDATION_ERROR: every error found" if status == 422 else _DESCRIPTIONS[status],
        )
        for status in sorted({401, 403, 429, *statuses})
    }
