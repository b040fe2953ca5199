"""How much memory a step of the guided loop will hold, before it starts."""

import os

import torch
from torch import Tensor

from ..device import free_memory

AT_LEAST = 8  # cuts at once keep every core of a CPU busy


def free(device: torch.device) -> float:
    """Free megabytes where the pictures are made; infinity if nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 1e6
    gigabytes = free_memory() if device.type == "cpu" else None
    return 1000 * gigabytes if gigabytes else float("inf")


def room(device: torch.device) -> float:
    """Megabytes that a step could have at most; infinity if nobody tells.

    On a CPU that counts what the system keeps in memory only as long as nobody asks.
    """
    if device.type == "cuda":
        return free(device)
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            rows = dict(line.split(":", 1) for line in file)
        return int(rows["MemAvailable"].split()[0]) * 1024 / 1e6
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (AttributeError, OSError, ValueError):
        return float("inf")


def held(function, weights) -> float:
    """Megabytes that autograd keeps of a call, without the modules ``weights``."""
    known = {p.untyped_storage().data_ptr() for w in weights for p in w.parameters()}
    seen: dict[int, int] = {}

    def pack(t: Tensor):
        if t.untyped_storage().data_ptr() not in known:
            seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()  # t itself would hold the graph that holds it: a leak

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        kept = function()
    del kept
    return sum(seen.values()) / 1e6


def refuse(trial, width: int, height: int) -> None:
    """Raise ValueError with one sentence if a picture of this size cannot fit.

    ``trial``: a small drawer of the same kind; what it holds grows with the area.
    """
    trial.start(torch.Generator().manual_seed(0))
    weights = [w for w in [getattr(trial, "vqgan", None)] if w]
    larger = width * height / (trial.width * trial.height)
    need, free = held(trial.draw, weights) * larger, room(trial.device)
    if need > free:
        raise ValueError(
            f"A step at {width} x {height} needs about {need / 1000:.0f} GB, and "
            f"{free / 1000:.0f} GB are free: draw smaller and enlarge the result."
        )


def step(drawer: float, cut: float, cuts: int, parts: int) -> float:
    """Megabytes of one step whose cuts are made in parts.

    drawer: of the drawer for one picture; cut: of all guides for one cut.
    """
    return drawer + -(-cuts // parts) * cut


def split(
    drawer: float, cut: float, cuts: int, megabytes: float, cpu: bool, parts: int = 1
) -> int:
    """In how many parts the cuts must be made to fit into memory, at least ``parts``.

    On a CPU large guides get ``AT_LEAST`` cuts at once anyhow: more are no faster.
    """
    while cpu and cuts * cut > 300 and cuts // (2 * parts) >= AT_LEAST:
        parts *= 2
    while step(drawer, cut, cuts, parts) > megabytes and parts < cuts:
        parts *= 2
    return parts


def is_memory(error: Exception) -> bool:
    """Does this error say that memory ran out?"""
    text = str(error).lower()
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or any(
        words in text
        for words in ("out of memory", "can't allocate memory", "not enough memory")
    )
