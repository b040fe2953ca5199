"""What decides a picture, as plain data that a PNG can hold.

A record holds the settings with all their pictures inside, the models with hashes of
their weights, the wishes that were passed in, and the versions of the libraries.
"""

import hashlib
import math
import platform
from dataclasses import replace

import PIL.Image
import torch
from torch import Tensor

from ..pictures import to_image, to_tensor
from ..values import number, short
from .packed import pack, pack_square, unpack
from .prompts import Prompt
from .settings import STARTS, Settings

FORMAT = 2  # of the record


def mark(model: torch.nn.Module) -> str:
    """A hash of all weights of a model: 16 hexadecimal letters."""
    raw = hashlib.sha256()
    for value in model.state_dict().values():
        flat = value.detach().cpu().contiguous().view(-1)
        raw.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return raw.hexdigest()[:16]


def guide_rows(guides) -> list[dict]:
    """Which CLIPs these are."""
    return [
        {"name": str(g.name), "mark": mark(g.model), "bf16": bool(g.bf16)}
        for g in guides
    ]


def vqgan_row(vqgan) -> dict | None:
    """Which VQGAN this is; None without one."""
    if vqgan is None:
        return None
    return {"name": getattr(vqgan, "name", None), "mark": mark(vqgan)}


def painter_row(distilled) -> dict | None:
    """Which DALL-E 2 has a wish; None without one."""
    if distilled is None:
        return None
    return {"name": "unclip", "mark": mark(distilled.painter.model)}


def pack_settings(s: Settings, size: tuple[int, int], side: int) -> Settings:
    """The same settings with every picture inside.

    ``size``: (width, height) of the drawing; ``side``: pixels that a guide reads.
    """
    start = s.start
    if isinstance(start, str) and start not in STARTS:
        start = pack(start, size)
    return replace(
        s,
        start=start,
        pictures=tuple((pack_square(p, side), w) for p, w in s.pictures),
        spots=tuple((text, pack(p, size)) for text, p in s.spots),
        overlay=(pack(s.overlay[0], size), *s.overlay[1:]) if s.overlay else (),
    )


def wish_row(p: Prompt, size: tuple[int, int], side: int) -> dict:
    """A wish that was passed in, as plain data. Raises ValueError or TypeError."""
    vectors = None
    if p.vector is not None:
        many = isinstance(p.vector, (list, tuple))
        vectors = [numbers(p.text, v) for v in (p.vector if many else [p.vector])]
        vectors = vectors if many else vectors[0]
    mask = None
    if p.mask is not None:
        if not isinstance(p.mask, Tensor) or p.mask.ndim != 2 or not p.mask.numel():
            raise ValueError(f"The mask of {short(p.text)} must be a tensor (H, W).")
        if not p.mask.isfinite().all() or p.mask.max() < 0.02:
            raise ValueError(
                f"The mask of {short(p.text)} is black or no number: white counts."
            )
        grey = p.mask.detach().float().clamp(0, 1).expand(3, -1, -1)
        mask = pack(to_image(grey), size)
    return {
        "text": str(p.text),
        "weight": float(p.weight),
        "stop": None if p.stop == -math.inf else float(p.stop),
        "begin": float(p.begin),
        "end": float(p.end),
        "vector": vectors,
        "picture": None if p.picture is None else pack_square(p.picture, side),
        "mask": mask,
    }


def numbers(title: str, vector) -> list[float]:
    """A vector (D,) as a list of numbers."""
    try:
        x = torch.as_tensor(vector).detach().float().cpu()
    except (TypeError, ValueError, RuntimeError):
        x = torch.empty(0)
    if x.ndim != 1 or not x.numel() or not x.isfinite().all() or not x.any():
        raise ValueError(
            f"The vector of {short(title)} must be a row of finite numbers, (D,), not "
            "all of them 0."
        )
    return x.tolist()


def wish_of(row: dict) -> Prompt:
    """The wish that ``wish_row`` made plain. Raises ValueError for a damaged one."""
    vector, mask = row["vector"], row["mask"]
    if vector is not None:
        many = isinstance(vector[0], (list, tuple))
        vector = [torch.tensor(v) for v in vector] if many else torch.tensor(vector)
    if mask is not None:
        mask = to_tensor(unpack(mask)).mean(0)
    return Prompt(
        str(row["text"]),
        number("A weight", row["weight"]),
        -math.inf if row["stop"] is None else number("A stop", row["stop"]),
        vector,
        None if row["picture"] is None else unpack(row["picture"]),
        mask,
        number("A begin", row["begin"]),
        number("An end", row["end"]),
    )


def versions(device: torch.device) -> dict:
    """What else moves the last digits: libraries, device, threads."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "pillow": PIL.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
    }


def pixels(image: PIL.Image.Image) -> str:
    """A hash of the pixels of a picture."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()[:16]
