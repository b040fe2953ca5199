"""Where tensors live, and what the machine can do."""

import os
import platform
import shutil

import torch


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
