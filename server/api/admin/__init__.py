"""`/v1/admin`: the operator's routes. Each asks for the capability `admin`, and each change is in the request log."""

import msgspec
from litestar import Router

from server.api.admin import clients, devices, disk, keys, models, queue, reports

ROUTER = Router(
    "/admin",
    tags=["admin"],
    route_handlers=[
        devices.list_devices,
        models.list_model_states,
        models.load_model,
        models.unload_model,
        queue.read_queue,
        queue.pause_queue,
        queue.resume_queue,
        queue.cancel_any_job,
        queue.move_job_to_front,
        clients.list_clients,
        clients.add_client,
        clients.grant_credits,
        clients.disable_client,
        clients.enable_client,
        keys.list_keys,
        keys.add_key,
        keys.revoke_key,
        reports.sum_up_usage,
        reports.list_requests,
        reports.list_failures,
        disk.read_disk,
    ],
)

#: The structs of the bodies that routes decode themselves.
BODIES: dict[str, type[msgspec.Struct]] = {
    "/v1/admin/clients": clients.NewClient,
    "/v1/admin/clients/{name}/grants": clients.Grant,
    "/v1/admin/keys": keys.NewKey,
}
