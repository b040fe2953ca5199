"""A soft wish beside CLIP's: look like something that DALL-E 2 would draw.

Score distillation (DreamFusion, Poole et al. 2022, section 3.2): noise the picture, let
a diffusion model say what clean picture it sees in the noise, go a little towards that.
CLIP alone is content with smudges that it likes; a diffusion model has never seen any.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..dalle.diffusion import add_noise, clean_and_noise
from ..dalle.unclip import LARGE, Painter
from .sketch import captions

USUAL = 0.3  # weight of the wish in a run that begins with a sketch
TIMES = 0.3, 0.7  # how much noise: less says nothing, more hides the picture
GUIDANCE = 3.0


class Distilled:
    """How far a picture is from what DALL-E 2 sees in it, once it is noised.

    ``seed`` decides the noise and what the words look like to the prior. Dims: L
    channels of a latent, n places a side.
    """

    def __init__(self, painter: Painter, seed: int):
        self.painter, self.seed = painter, seed
        painter.vqgan.requires_grad_(False)
        self.g = torch.Generator().manual_seed(seed)
        self.said: dict = {}  # a text -> the decoder's velocity for it

    def velocity(self, text: str):
        """What the decoder says of noised latents, told these words."""
        if text not in self.said:
            seen = self.painter.imagine([text], self.seed)
            self.said[text] = self.painter.velocity(seen, GUIDANCE)
        return self.said[text]

    def __call__(self, picture: Tensor, text: str) -> Tensor:
        """Picture (1, 3, H, W) in [0, 1] -> mean squared distance, a scalar.

        Of a picture that is no square the middle counts. The gradient flows through the
        latents alone, not through the decoder (equation 3 of the paper).
        """
        z = self.painter.encode(square(picture, LARGE))  # (1, L, n, n)
        low, high = TIMES
        t = low + (high - low) * torch.rand(1, generator=self.g)
        noise = torch.randn(z.shape, generator=self.g).to(z.device)
        t = t.to(z.device)
        with torch.no_grad():
            noised = add_noise(z, noise, t)
            said = self.velocity(text)(noised, t)
            clean, _ = clean_and_noise(said, noised, t, "v")
        return (z - clean).square().mean()


def words(wishes, progress: float, told: tuple) -> str | None:
    """What DALL-E 2 is told: the words of the largest weight, now.

    ``told``: (words, caption) where the sketch has another name for these words.
    """
    now = [w for w in wishes if w.counts(progress) and w.weight > 0]
    now = [w for w in now if w.is_words and w.mask is None]
    if not now:
        return None
    text = max(now, key=lambda wish: wish.weight).text
    return told[1] if told and told[0] == text else captions(text)[0]


def square(picture: Tensor, side: int) -> Tensor:
    """The middle of a picture (1, 3, H, W), ``side`` pixels large."""
    H, W = picture.shape[-2:]
    edge = min(H, W)
    top, left = (H - edge) // 2, (W - edge) // 2
    middle = picture[..., top : top + edge, left : left + edge]
    return F.interpolate(middle, (side, side), mode="bilinear", antialias=True)
