"""Follows which boxes are in the Ray cluster, and so which devices the server has, by asking Ray every second."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import ray
from ray._private.worker import global_worker
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from server.cluster.boxes import Box, boxes_of
from server.cluster.process import RayProcess
from server.scheduler.devices import Device
from server.scheduler.pool import Pool
from server.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
#: Seconds that Ray may take to say which boxes there are before that is told: if its head is gone, it waits for that.
SILENT_S = 5.0

T = TypeVar("T")


class Membership:
    """Keeps the devices of a cluster in the pool, for as long as their boxes are there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: The names of the devices in the pool, by the node that they are on.
        self._devices: dict[str, list[str]] = {}

    async def keep(self, pool: Pool) -> None:
        """Add the devices of boxes that join and remove those of boxes that leave, until cancelled."""
        cluster = f"the Ray cluster at BACKLOT_RAY={self._settings.ray}"
        # If nothing listens there, Ray tries for minutes before it says so.
        pool.problem = f"{cluster} has not answered yet"
        is_told = False
        while True:
            try:
                await self._change(pool, await self._boxes(pool, cluster))
            except Exception as error:
                pool.problem = f"{cluster} cannot be followed: {error}"
                if not is_told:
                    # A missing cluster is no fault of the code, so it needs no traceback; another error may be one.
                    trace = None if isinstance(error, ConnectionError) else error
                    log.log(logging.ERROR, "%s; the server tries again", pool.problem, exc_info=trace)
                is_told = True
            else:
                pool.problem, is_told = None, False
            await asyncio.sleep(LOOK_EVERY_S)

    async def _boxes(self, pool: Pool, cluster: str) -> list[Box]:
        """Return the boxes that are in the cluster now, and tell if Ray takes long to say it. Raises what Ray raises."""
        looking = _in_daemon_thread(self._look)
        try:
            await asyncio.wait([looking], timeout=SILENT_S)
            if not looking.done() and pool.problem is None:
                pool.problem = f"{cluster} does not answer any more: if Ray has ended on this box, start it again"
                log.error("%s; Ray then ends this server, and jobs go on after its next start", pool.problem)
            return await looking
        finally:
            looking.cancel()

    def _look(self) -> list[Box]:
        """Return the boxes that are in the cluster now, and join it first if need be. Raises what Ray raises."""
        if not ray.is_initialized():
            ray.init(address=self._settings.ray, log_to_driver=False, configure_logging=False)
            # Ray's thread that prints errors of the cluster takes a whole core while the head is gone, unless it is to stop.
            global_worker.threads_stopped.set()
        boxes = boxes_of(ray.nodes(), ray.get_runtime_context().get_node_id())
        if boxes is None:
            # Leaving and joining again from here is not safe: Ray ends a process whose threads call it in between.
            raise ConnectionError("Ray has ended on this box: start it again, and restart the server")
        return boxes

    async def _change(self, pool: Pool, boxes: Iterable[Box]) -> None:
        present = {box.node_id: box for box in boxes}
        for node_id in self._devices.keys() - present.keys():
            for name in self._devices[node_id]:
                await pool.remove(name, f"{name.split('/')[0]} has left the cluster")
            # Forget the box only now: a device that could not be removed is tried again.
            del self._devices[node_id]
        # A cluster that has GPUs lends only those; its other boxes may be there for their disks.
        with_gpus = any(box.gpus for box in present.values())
        for box in present.values():
            if box.node_id not in self._devices and (box.gpus or not with_gpus):
                taken = {name.split("/")[0] for names in self._devices.values() for name in names}
                label = box.name if box.name not in taken else f"{box.name}-{box.node_id[:6]}"
                devices = [self._device(box, label, index) for index in range(box.gpus or 1)]
                self._devices[box.node_id] = [device.name for device in devices]
                for device in devices:
                    pool.add(device)

    def _device(self, box: Box, label: str, index: int) -> Device:
        share = {"num_gpus": 1, "num_cpus": 0} if box.gpus else {"num_cpus": box.cpus}
        placement: dict[str, Any] = {
            **share,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(box.node_id, soft=False),
        }
        return Device(
            name=f"{label}/{f'gpu:{index}' if box.gpus else 'cpu'}",
            start=partial(RayProcess, label, placement, self._settings.memory_gib),
            log=f"Ray's log of its actor on {label}",
        )


def _in_daemon_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a thread that does not hold up the end of the server: Ray waits minutes for a head that is gone."""
    done: Future[T] = Future()
    # From here on a cancel reaches only who waits for it.
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  told to the one who waits
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=run, name="boxes", daemon=True).start()
    return asyncio.wrap_future(done)
