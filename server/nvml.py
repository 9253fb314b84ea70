"""Asks NVIDIA's management library about the GPUs of this box, if it is there: `pip install backlot[nvidia]`."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any

from prometheus_client import Gauge

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
    readings: dict[Gauge, Callable[[Any], float]] = {
        metrics.gpu_memory_used: lambda gpu: library.nvmlDeviceGetMemoryInfo(gpu).used,
        metrics.gpu_memory_total: lambda gpu: library.nvmlDeviceGetMemoryInfo(gpu).total,
        metrics.gpu_utilization: lambda gpu: library.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
        metrics.gpu_power: lambda gpu: library.nvmlDeviceGetPowerUsage(gpu) / 1000,
        metrics.gpu_temperature: lambda gpu: library.nvmlDeviceGetTemperature(gpu, library.NVML_TEMPERATURE_GPU),
    }
    for gauge, read in readings.items():
        gauge.clear()
        for index in range(library.nvmlDeviceGetCount()):
            with suppress(library.NVMLError):
                gauge.labels(str(index)).set(read(library.nvmlDeviceGetHandleByIndex(index)))
