"""Asks NVIDIA's management library about the GPUs of this box, if it is there: `pip install backlot[nvidia]`."""

import logging
from contextlib import suppress
from functools import cache
from types import ModuleType

from server import metrics

log = logging.getLogger(__name__)


@cache
def _library() -> ModuleType | None:
    """Return the library once it is up; None if it is not installed, or there is no driver."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.info("There are no metrics of GPUs: %s", error)
        return None
    found: ModuleType = pynvml
    return found


def note_gpus() -> None:
    """Set the metrics of every GPU of this box, by its number, but for lost GPUs and values that a GPU does not tell."""
    library = _library()
    if library is None:
        return
    for gauge in (
        metrics.gpu_memory_used,
        metrics.gpu_memory_total,
        metrics.gpu_utilization,
        metrics.gpu_power,
        metrics.gpu_temperature,
    ):
        gauge.clear()
    for index in range(library.nvmlDeviceGetCount()):
        gpu = str(index)
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
        except library.NVMLError:
            continue
        with suppress(library.NVMLError):
            memory = library.nvmlDeviceGetMemoryInfo(handle)
            metrics.gpu_memory_used.labels(gpu).set(memory.used)
            metrics.gpu_memory_total.labels(gpu).set(memory.total)
        with suppress(library.NVMLError):
            metrics.gpu_utilization.labels(gpu).set(library.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
        with suppress(library.NVMLError):
            metrics.gpu_power.labels(gpu).set(library.nvmlDeviceGetPowerUsage(handle) / 1000)
        with suppress(library.NVMLError):
            sensor = library.NVML_TEMPERATURE_GPU
            metrics.gpu_temperature.labels(gpu).set(library.nvmlDeviceGetTemperature(handle, sensor))
