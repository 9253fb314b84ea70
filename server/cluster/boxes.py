"""The boxes of a cluster, worked out from what Ray says of its nodes. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Box(msgspec.Struct, frozen=True):
    """One node of the cluster."""

    node_id: str
    #: The name that `ray start --node-name` gave it, else its address.
    name: str
    gpus: int
    cpus: int


def boxes_of(nodes: Iterable[Mapping[str, Any]], own: str) -> list[Box] | None:
    """Return the boxes among Ray's nodes: those that are alive and have a GPU or a CPU to lend.

    Return None if the node with the id `own`, by which this process is in the cluster, is not alive.
    """
    alive = [node for node in nodes if node["Alive"]]
    if all(node["NodeID"] != own for node in alive):
        return None
    found = [
        Box(
            node["NodeID"],
            node.get("NodeName") or node["NodeManagerAddress"],
            int(node["Resources"].get("GPU", 0)),
            int(node["Resources"].get("CPU", 0)),
        )
        for node in alive
    ]
    return [box for box in found if box.gpus or box.cpus]
