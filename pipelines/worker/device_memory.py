"""The memory of a device, GPU or CPU: how much there is, how much may be taken, how much was taken."""

import ctypes
import gc
import resource
from pathlib import Path

import psutil
import torch

#: mallopt's number for it, from malloc.h.
_M_MMAP_THRESHOLD = -3


def total_bytes(device: torch.device) -> int:
    """Return how much memory the device has."""
    return int(torch.cuda.mem_get_info(device)[1]) if device.type == "cuda" else int(psutil.virtual_memory().total)


def used_bytes(device: torch.device) -> int:
    """Return how much memory is in use: of a GPU by all programs, of the CPU's memory by this process."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(total - free)
    return int(psutil.Process().memory_info().rss)


def free_bytes(device: torch.device) -> int:
    """Return how much memory this process could take beside what it and all other programs hold now."""
    if device.type == "cuda":
        # torch keeps what was freed, and takes it again.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + kept)
    return int(psutil.virtual_memory().available)


def limit_memory(device: torch.device, limit_bytes: int) -> None:
    """Let this process take at most this much memory from now on: of the GPU, or on a CPU in addition to what it holds."""
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total_bytes(device)), device)
        return
    # Give each tensor a mapping of its own, so that what is freed no longer counts; the heap would keep the holes.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)
    held = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit_bytes, resource.RLIM_INFINITY))


def release_unused(device: torch.device) -> None:
    """Give back what nothing refers to any more: to the device, and host memory that was pinned for it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.accelerator.empty_host_cache()


def forget_peak(device: torch.device) -> None:
    """Make peak_bytes start again from what is held now."""
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
