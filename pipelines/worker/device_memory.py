"""The memory of a device, GPU or CPU: how much there is, how much this process may take, and how much it took."""

import ctypes
import gc
import resource
from pathlib import Path

import psutil
import torch

#: mallopt's number for this option, from malloc.h.
_M_MMAP_THRESHOLD = -3


def total_bytes(device: torch.device) -> int:
    """Return how much memory the device has."""
    return int(torch.cuda.mem_get_info(device)[1]) if device.type == "cuda" else int(psutil.virtual_memory().total)


def used_bytes(device: torch.device) -> int:
    """Return how much memory is in use: a GPU's by all programs, a CPU's by this process."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(total - free)
    return int(psutil.Process().memory_info().rss)


def free_bytes(device: torch.device) -> int:
    """Return how much more memory this process could take."""
    if device.type == "cuda":
        # torch keeps freed memory, and takes it again.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + kept)
    return int(psutil.virtual_memory().available)


def limit_memory(device: torch.device, limit_bytes: int) -> None:
    """Let this process take at most this much memory of the GPU; on a CPU, this much more than it holds now."""
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total_bytes(device)), device)
        return
    # This gives each tensor a mapping of its own, so that freed memory no longer counts; the heap would keep it.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)
    held = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit_bytes, resource.RLIM_INFINITY))


def release_unused(device: torch.device) -> None:
    """Give back memory that nothing refers to any more: the device's, and host memory that was pinned for it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.accelerator.empty_host_cache()


def forget_peak(device: torch.device) -> None:
    """Let peak_bytes begin again at the memory that is in use now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    ctypes.CDLL(None).malloc_trim(0)
    # "5" resets the peak of the resident set; see clear_refs in proc(5).
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Return the most memory that this process held at once since forget_peak."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
