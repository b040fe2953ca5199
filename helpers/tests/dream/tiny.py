"""A guide and a VQGAN so small that a step takes milliseconds, with random weights."""

import torch

from helpers import clip, vqgan
from helpers.clip.model import CLIP
from helpers.clip.model import Config as ClipConfig
from helpers.clip.tokenizer import Tokenizer
from helpers.dream import Dream, Settings, distil

EYE = ClipConfig(
    embed=16, image_size=16, patch=8, stem="patch", width=16, layers=1, heads=2,
    vocab=514, context=16, text_width=16, text_layers=1, text_heads=2,
)  # fmt: skip
CODES = vqgan.Config(
    ch=16, ch_mult=(1, 2), z_channels=16, embed_dim=8, n_embed=20, fold=2
)
OPTIONS = {
    "vqgan": {},
    "codes": {},
    "pixel": {"block": 4},
    "fourier": {},
    "lines": {"strokes": 6},
}


def guide(seed: int = 0) -> clip.Embedder:
    torch.manual_seed(seed)
    tokenizer = Tokenizer([], EYE.context)
    return clip.Embedder("tiny", CLIP(EYE).eval(), tokenizer, {}, torch.device("cpu"))


def codes(seed: int = 0) -> vqgan.VQGAN:
    torch.manual_seed(seed)
    model = vqgan.VQGAN(CODES)
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model.eval()


def settings(**more) -> Settings:
    small = {"prompt": "a red apple", "steps": 4, "cuts": 2, "every": 2}
    return Settings(
        **small | {"width": 32, "height": 24, "drawer": "pixel", "distil": 0.0} | more
    )


def told(run: Dream, progress: float) -> str | None:
    """What DALL-E 2 is told at this share of the steps."""
    return distil.words(run.wishes, progress, run.settings.told)


def dream(wishes=(), **more) -> Dream:
    return Dream(settings(**more), [guide()], codes(), wishes)
