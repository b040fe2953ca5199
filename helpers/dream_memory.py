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


def memory(dream) -> float:
    """Megabytes that one step will hold, estimated from what one cut holds.

    Counts the tensors that autograd keeps for one picture and one cut.
    """
    seen: dict[int, int] = {}

    def pack(t: Tensor):
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    def held(function) -> int:
        seen.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            kept = function()
        size = sum(seen.values())
        del kept
        return size

    g = torch.Generator().manual_seed(0)  # the run's own stays where it is
    picture = dream.drawer.draw().detach().requires_grad_(True)
    draws = held(dream.drawer.draw)
    cuts = 0
    for guide in dream.guides:

        def look(guide=guide):
            x = cutouts.views(picture, 1, cutouts.cut_size(guide), dream.recipe, g)
            return guide.model.encode_image(x)

        cuts += held(look)
    per_part = -(-dream.settings.cuts // dream.parts)
    return (draws + per_part * cuts) / 1e6


def fit(dream, megabytes: float) -> float:
    """Make the cuts in as many parts as fit into memory; returns the new estimate."""
    need = memory(dream)
    while need > megabytes and dream.parts < dream.settings.cuts:
        dream.parts *= 2
        need = memory(dream)
    if dream.parts > 1:
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
