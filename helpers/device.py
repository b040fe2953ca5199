"""Where tensors live, and what the machine can do."""

import contextlib
import ctypes
import os
import platform
import shutil
from pathlib import Path

import psutil
import torch

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # what a container may use: "150000 100000"
THREADS = "OMP_NUM_THREADS"  # the variable that numeric libraries read
SPARE = 0.7  # of a core must be free for a thread of its own
MAP, TRIM = 2**25, 2**28  # bytes from which glibc maps memory, and gives it back
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(MAP), "MALLOC_TRIM_THRESHOLD_": str(TRIM)}


def pick_device(prefer: str | None = None) -> torch.device:
    """The device to compute on: CUDA if there is one, otherwise the CPU.

    Apple's MPS gives slightly different numbers, so it is used only when you ask:
    ``pick_device("mps")``. Raises RuntimeError with one sentence if the device you ask
    for is absent.
    """
    if prefer is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(prefer)
    except (RuntimeError, TypeError):
        raise RuntimeError(f'"{prefer}" is no device; use "cpu" or "cuda".') from None
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    here = there.get(device.type, lambda: device.type in ("cpu", "meta"))()
    if (
        not here
        or device.type == "cuda"
        and ((device.index or 0) >= torch.cuda.device_count())
    ):
        raise RuntimeError(f'This machine has no "{prefer}" device; use "cpu".')
    return device


def free_cores(seconds: float = 0.2) -> int:
    """How many cores this process may use that nobody keeps busy, at least 1.

    Looks for ``seconds`` at the cores that the process may run on, and minds the share
    that a container allows.
    """
    many = os.cpu_count() or 1
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(many)
    allowed = float(len(mine))
    try:
        quota, period = QUOTA.read_text("utf-8").split()
        allowed = min(allowed, int(quota) / int(period))
    except (OSError, ValueError):  # no container, or "max"
        pass
    try:
        busy = psutil.cpu_percent(seconds, percpu=True)
    except (OSError, RuntimeError, psutil.Error):  # the system does not tell
        busy = []
    rows = [busy[core] for core in mine if core < len(busy)] or busy or [0.0]
    free = len(mine) * (1 - sum(rows) / len(rows) / 100)
    return max(1, int(min(allowed, free) + 1 - SPARE))


def set_threads() -> int:
    """Take as many threads as cores are free, once for a process; returns the number.

    Threads without a core wait for those that have one, and a page crawls. Where
    ``OMP_NUM_THREADS`` is set, by you or by the first call, it is left as it is. Set
    it to 1 if a seed must give the same picture every time: another number of threads
    adds in another order.
    """
    if not os.environ.get(THREADS):
        count = min(torch.get_num_threads(), free_cores())
        os.environ[THREADS] = str(count)  # for libraries that are loaded later
        torch.set_num_threads(count)
    return torch.get_num_threads()


def keep_memory() -> None:
    """Let this process keep the memory that one layer frees, for the next layer.

    glibc gives free memory back to the system early and must ask for it anew: up to a
    fifth of a network's time on a CPU. Pieces above 32 MB still go back at once, for
    kept ones would leave holes. Where there is no glibc, nothing happens.
    ``MALLOC`` holds the variables that say the same to a process before it starts.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        for option, size in ((-3, MAP), (-1, TRIM)):  # numbers of malloc.h
            ctypes.CDLL(None).mallopt(option, size)


def free_memory() -> float | None:
    """Free main memory in GB, or None where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (ValueError, OSError, AttributeError):
        return None


def report() -> None:
    """Print device, versions, free memory and disk, with advice if one is short."""
    import torchvision

    print(f"Python {platform.python_version()} on {platform.system()}.")
    print(f"torch {torch.__version__} and torchvision {torchvision.__version__}.")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        print(
            f"GPU: {name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free: it is used."
        )
    else:
        print(
            f"No CUDA GPU: the CPU is used, {torch.get_num_threads()} threads. "
            "Every notebook is made for that."
        )
    memory = free_memory()
    if memory is not None:
        advice = "enough." if memory > 3 else "little: close other notebooks first."
        print(f"Free memory: {memory:.1f} GB, {advice}")
    disk = shutil.disk_usage(".").free / 1e9
    print(f"Free disk: {disk:.0f} GB.")
