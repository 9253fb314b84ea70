"""The capability that each route of `/v1` asks of a key: one table. A route that is not in it answers nobody."""

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from server.errors import Forbidden
from server.ledger.clients import Caller, Capability
from server.workflows.registry import WORKFLOWS

#: A method and a path, as the route declares it.
Route = tuple[str, str]

#: The routes that need a key, and the capability that each asks of it.
RULES: dict[Route, Capability] = {
    **{("POST", f"/v1/{workflow.job_type.operation}"): Capability.CREATE for workflow in WORKFLOWS.values()},
    ("POST", "/v1/images/generations"): Capability.CREATE,
    ("POST", "/v1/jobs/{public_id}/cancel"): Capability.CREATE,
    ("POST", "/v1/jobs/{public_id}/retry"): Capability.CREATE,
    ("GET", "/v1/jobs"): Capability.READ,
    ("GET", "/v1/jobs/{public_id}"): Capability.READ,
    ("GET", "/v1/jobs/{public_id}/events"): Capability.READ,
    ("GET", "/v1/events"): Capability.READ,
    ("GET", "/v1/catalog/backgrounds"): Capability.READ,
    ("GET", "/v1/catalog/backgrounds/{public_id}"): Capability.READ,
    ("GET", "/v1/catalog/images"): Capability.READ,
    ("GET", "/v1/catalog/images/{public_id}"): Capability.READ,
    **{
        (method, f"/v1/catalog/{part}/{{public_id}}"): Capability.CREATE
        for method in ("PATCH", "DELETE")
        for part in ("backgrounds", "images")
    },
    ("POST", "/v1/catalog/archive.zip"): Capability.READ,
    ("GET", "/v1/renders"): Capability.READ,
    ("GET", "/v1/renders/{public_id}"): Capability.READ,
    ("GET", "/v1/operations"): Capability.READ,
    ("GET", "/v1/credits"): Capability.READ,
    ("GET", "/v1/transactions"): Capability.READ,
    ("GET", "/v1/usage"): Capability.READ,
    ("GET", "/v1/models"): Capability.READ,
    ("GET", "/v1/admin/devices"): Capability.ADMIN,
    ("GET", "/v1/admin/models"): Capability.ADMIN,
    ("POST", "/v1/admin/models/{name}/load"): Capability.ADMIN,
    ("POST", "/v1/admin/models/{name}/unload"): Capability.ADMIN,
    ("GET", "/v1/admin/queue"): Capability.ADMIN,
    ("POST", "/v1/admin/queue/pause"): Capability.ADMIN,
    ("POST", "/v1/admin/queue/resume"): Capability.ADMIN,
    ("POST", "/v1/admin/jobs/{public_id}/cancel"): Capability.ADMIN,
    ("POST", "/v1/admin/jobs/{public_id}/front"): Capability.ADMIN,
    ("GET", "/v1/admin/clients"): Capability.ADMIN,
    ("POST", "/v1/admin/clients"): Capability.ADMIN,
    ("POST", "/v1/admin/clients/{name}/grants"): Capability.ADMIN,
    ("POST", "/v1/admin/clients/{name}/disable"): Capability.ADMIN,
    ("POST", "/v1/admin/clients/{name}/enable"): Capability.ADMIN,
    ("GET", "/v1/admin/keys"): Capability.ADMIN,
    ("POST", "/v1/admin/keys"): Capability.ADMIN,
    ("DELETE", "/v1/admin/keys/{key}"): Capability.ADMIN,
    ("GET", "/v1/admin/usage"): Capability.ADMIN,
    ("GET", "/v1/admin/requests"): Capability.ADMIN,
    ("GET", "/v1/admin/failures"): Capability.ADMIN,
    ("GET", "/v1/admin/disk"): Capability.ADMIN,
}


class Capabilities(ASGIMiddleware):
    """Refuses a caller whose key may not ask the route. It is around every route that needs a key.

    Litestar's guards could do this, but each costs every request a copy of its route.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        method = str(scope.get("method"))
        # OPTIONS names the methods, as the schema does for everybody.
        if method != "OPTIONS":
            caller: Caller = scope["user"]
            _check(caller, (method, scope["path_template"]))
        await next_app(scope, receive, send)


def _check(caller: Caller, route: Route) -> None:
    capability = RULES.get(route)
    if capability is None:
        raise Forbidden("No key may ask this route, because the server has no rule for it")
    if capability not in caller.capabilities:
        raise Forbidden(f"This key lacks the capability {capability}; it has {', '.join(sorted(caller.capabilities))}")
