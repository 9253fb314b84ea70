"""A real Ray cluster on this machine: its control plane, and raylets that stand for boxes."""

import contextlib
import os
import signal
from typing import Any, Self

#: Settings of Ray with which it notices within about two seconds that a box is gone.
QUICK = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
#: The smallest object store that Ray allows; the images of tests are small.
STORE_BYTES = 80 * 2**20


class RayCluster:
    """Boxes on one network. The first, `head`, lends nothing: the server runs on it."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "_system_config": QUICK, "node_name": "head"}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._boxes: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, name: str, cpus: int = 1) -> None:
        """Let a box join that lends this many cores."""
        self._boxes[name] = self._cluster.add_node(
            wait=True, num_cpus=cpus, object_store_memory=STORE_BYTES, node_name=name
        )

    def kill(self, name: str) -> None:
        """Kill a box's raylet and all that runs there, without a word."""
        (raylet,) = self._boxes[name].all_processes["raylet"]
        os.kill(raylet.process.pid, signal.SIGKILL)
        self._cluster.remove_node(self._boxes.pop(name), allow_graceful=False)

    def kill_head(self) -> None:
        """Let Ray be gone from the box that the server runs on: its control plane, its raylet and all else."""
        for processes in self._cluster.head_node.all_processes.values():
            for each in processes:
                os.kill(each.process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._cluster.shutdown()
