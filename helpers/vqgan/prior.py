"""The prior: a GPT that draws VQGAN codes one by one, told a style and a group.

Dims: B batch, n codes a side. A sequence is [style, group, code, code ...], row by row.
"""

import json

import torch
from torch import Tensor

from .. import gpt, weights
from ..device import pick_device
from . import published
from .model import VQGAN

ANY = "any"  # stands for "not told"; the first value of both lists


class Prior:
    """A trained GPT over codes with its VQGAN: words like "emoji" in, pictures out.

    ``styles`` and ``groups``: the values that may be asked for; "any" leaves it open.
    """

    def __init__(self, model: gpt.GPT, codes: VQGAN, lists: dict, card):
        self.model, self.vqgan, self.card = model.eval(), codes, card
        self.styles, self.groups = lists["styles"], lists["groups"]

    @property
    def device(self) -> torch.device:
        return self.model.place.device

    def conditions(self, style: str, group: str, count: int) -> Tensor:
        """(count, 2) condition tokens. Raises ValueError for an unknown value."""
        for value, known, what in (
            (style, self.styles, "style"),
            (group, self.groups, "group"),
        ):
            if value not in known:
                raise ValueError(
                    f'There is no {what} "{value}"; choose from {", ".join(known)}.'
                )
        first = self.model.config.codes
        pair = [
            first + self.styles.index(style),
            first + len(self.styles) + self.groups.index(group),
        ]
        return torch.tensor([pair], device=self.device).expand(count, -1)

    def sample(
        self,
        count: int = 16,
        style: str = ANY,
        group: str = ANY,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.95,
        begin: Tensor | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Draw codes: (count, n, n). ``begin`` (count, m): the first m codes are given.

        The knobs are those of ``gpt.sample``.
        """
        g = torch.Generator().manual_seed(seed)
        start = self.conditions(style, group, count)
        grid = self.model.config.grid
        if begin is not None:
            if begin.shape[1] > grid**2:
                raise ValueError(
                    f"A picture has {grid**2} codes, but {begin.shape[1]} are given."
                )
            start = torch.cat([start, begin.to(start)], dim=1)
        missing = self.model.config.context - start.shape[1]
        tokens = gpt.sample(
            self.model,
            start,
            missing,
            g,
            temperature,
            top_k,
            top_p,
            self.model.config.codes,
            progress,
        )
        return tokens[:, self.model.config.conditions :].view(count, grid, grid)

    def pictures(self, codes: Tensor) -> Tensor:
        """(B, n, n) codes -> (B, 3, H, W) float in [0, 1]."""
        return (self.vqgan.from_codes(codes) + 1) / 2


def load(name: str = "pocket", device=None) -> Prior:
    """The shipped prior: a GPT over the codes of ``vqgan.load("pocket")``.

    Raises ValueError or FileNotFoundError with one sentence.
    """
    device = pick_device(device)
    path = weights.find("prior", name)
    tensors, metadata = weights.read(path, "prior")
    model = gpt.GPT(gpt.Config(**json.loads(metadata["config"])))
    weights.load_state(model, gpt.current_names(tensors), path.name)
    lists, card = json.loads(metadata["lists"]), json.loads(metadata["card"])
    codes = published.load("pocket", device)
    if card["vqgan"] != codes.card["mark"]:
        raise ValueError(
            f"{path.name} was trained on the codes of another VQGAN: train it again."
        )
    return Prior(model.to(device), codes, lists, card)
