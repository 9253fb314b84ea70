"""Unknown query parameters are refused, as unknown body fields are: a typo may not silently mean something else."""

from functools import cache
from typing import Any

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from server.errors import Invalid
from server.validation import MOST_PROBLEMS, Problem, unknown


async def check_query(request: Request[Any, Any, Any]) -> None:
    """Raise Invalid if the query has parameters that the route does not take."""
    if not request.scope["query_string"]:
        return
    known = query_parameters(request.route_handler)
    extra = [name for name in request.query_params if name not in known]
    if extra:
        raise Invalid(
            [
                Problem(("query", name), "extra_forbidden", unknown("query parameter", name, known))
                for name in extra[:MOST_PROBLEMS]
            ]
        )


@cache
def query_parameters(handler: HTTPRouteHandler) -> list[str]:
    """Return the names of the query parameters that a route takes."""
    return [
        field.kwarg_definition.name or name
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    ]
