"""How much memory a step of the guided loop will hold, before it starts."""

import torch
from torch import Tensor

from . import cutouts
from .machine import free_memory


def free(device: torch.device) -> float:
    """Free megabytes where the pictures are made; infinity if nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 1e6
    gigabytes = free_memory() if device.type == "cpu" else None
    return 1000 * gigabytes if gigabytes else float("inf")


AT_LEAST = 8  # cuts at once keep every core of a CPU busy


def memory(dream) -> float:
    """Megabytes that one step will hold, as autograd keeps them (weights left out)."""
    return memory_of(dream, *pieces(dream))


def memory_of(dream, drawer: float, cut: float) -> float:
    """The same from the two ``pieces``."""
    return drawer + -(-dream.settings.cuts // dream.parts) * cut


def pieces(dream) -> tuple[float, float]:
    """(megabytes that the drawer holds for one picture, and the guides for one cut)."""
    weights = [*dream.guides, dream.drawer]
    weights = [getattr(w, "model", getattr(w, "vqgan", None)) for w in weights]
    known = {
        p.untyped_storage().data_ptr() for w in weights if w for p in w.parameters()
    }
    seen: dict[int, int] = {}

    def pack(t: Tensor):
        if t.untyped_storage().data_ptr() not in known:
            seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()  # t itself would hold the graph that holds it: a leak

    def held(function) -> float:
        seen.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            kept = function()
        size = sum(seen.values())
        del kept
        return size / 1e6

    g = torch.Generator().manual_seed(0)  # the run's own stays where it is
    picture = dream.paint().detach().requires_grad_(True)
    cut = 0.0
    for guide in dream.guides:

        def look(count: int, guide=guide):
            size = cutouts.cut_size(guide)
            return dream.embed(
                guide, cutouts.views(picture, count, size, dream.recipe, g)
            )

        cut += held(lambda: look(2)) - held(lambda: look(1))  # noqa: B023
    return held(dream.paint), cut


def fit(dream, megabytes: float) -> float:
    """Make the cuts in as many parts as fit into memory; returns the estimate in MB.

    On a CPU large guides get ``AT_LEAST`` cuts at once anyhow: more are no faster.
    """
    cuts, (drawer, cut) = dream.settings.cuts, pieces(dream)
    slow = dream.drawer.device.type == "cpu" and cuts * cut > 300
    while slow and cuts // (2 * dream.parts) >= AT_LEAST:
        dream.parts *= 2
    before = dream.parts
    while memory_of(dream, drawer, cut) > megabytes and dream.parts < cuts:
        dream.parts *= 2
    need = memory_of(dream, drawer, cut)
    if dream.parts > before:
        dream.notes.append(
            f"About {need:.0f} MB a step: the cuts are made in {dream.parts} parts."
        )
    return need


def is_memory(error: RuntimeError) -> bool:
    """Does this error say that memory ran out?"""
    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        "out of memory" in text or "can't allocate memory" in text
    )
