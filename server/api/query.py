"""Unknown query parameters are refused, as unknown body fields are: a typo may not silently mean something else."""

from datetime import datetime
from functools import cache
from typing import Any, get_args

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from server.errors import Invalid
from server.validation import MOST_PROBLEMS, Problem, not_a_time, unknown


async def check_query(request: Request[Any, Any, Any]) -> None:
    """Raise Invalid if the query has parameters that the route does not take."""
    if not request.scope["query_string"]:
        return
    known = query_parameters(request.route_handler)
    extra = [name for name in request.query_params if name not in known]
    problems = [
        Problem(("query", name), "extra_forbidden", unknown("query parameter", name, list(known)))
        for name in extra[:MOST_PROBLEMS]
    ]
    for name, value in request.query_params.multi_items():
        # Litestar would take a number for the seconds since 1970.
        if name in known and datetime in known[name] and value.isdecimal():
            problems.append(Problem(("query", name), "value_error", not_a_time(value)))
    if problems:
        raise Invalid(problems)


@cache
def query_parameters(handler: HTTPRouteHandler) -> dict[str, tuple[Any, ...]]:
    """Return the query parameters that a route takes by their names, with the types that each may have."""
    return {
        field.kwarg_definition.name or name: get_args(field.annotation) or (field.annotation,)
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }
