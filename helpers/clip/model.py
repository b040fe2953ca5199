"""CLIP: an image tower and a text tower that meet in one space (Radford et al. 2021).

Dims: B batch, T tokens, C channels (width), D embedding, H/W pixels. The image towers
are in vision.py, resnet.py and efficientnet.py, the transformer is in ../blocks.py;
names follow OpenAI's release, so that its weights load.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import Transformer
from .efficientnet import ColourTower
from .resnet import ModifiedResNet
from .vision import VisionTransformer

TOWERS = {
    "vit": VisionTransformer,
    "effnet_colour": ColourTower,
    "resnet": ModifiedResNet,
}
MAX_SCALE = 100.0  # the temperature may not fall below 1/100 (paper §2.5)


@dataclass
class Config:
    """Sizes of a CLIP; the defaults are those of our ``scratch`` model."""

    embed: int = 192  # D, the shared space
    image_size: int = 64  # pixels a side
    vision: str = "vit"  # or "resnet", "effnet_colour" (EfficientNet-Lite0)
    patch: int = 16  # pixels a side of one patch
    stem: str = "conv"  # "conv": small convolutions, "patch": one large one (paper)
    width: int = 256  # channels of the image tower
    layers: int | tuple = 5  # of the image tower; four numbers for a ResNet
    heads: int = 4
    vocab: int = 4096
    context: int = 24  # T
    text_width: int = 128
    text_layers: int = 4
    text_heads: int = 4
    quick_gelu: bool = False  # True for OpenAI's weights, False for LAION's
    causal: bool = True  # a token sees only what is before it
    pool: str = "end"  # text feature: at the <end> token, or "mean" of all tokens
    mean: tuple = (0.5, 0.5, 0.5)  # pixel normalisation, per channel
    std: tuple = (0.5, 0.5, 0.5)


class CLIP(nn.Module):
    """The two towers and the temperature.

    ``encode_image``: (B, 3, H, W) float in [0, 1]; ``encode_text``: (B, T) token ids;
    both give (B, D) float on the unit sphere.
    """

    def __init__(self, config: Config):
        super().__init__()
        c = self.config = config
        self.visual = TOWERS[c.vision](c)
        self.transformer = Transformer(
            c.text_width, c.text_layers, c.text_heads, c.quick_gelu
        )
        self.token_embedding = nn.Embedding(c.vocab, c.text_width)
        self.positional_embedding = nn.Parameter(
            0.01 * torch.randn(c.context, c.text_width)
        )
        self.ln_final = nn.LayerNorm(c.text_width)
        self.text_projection = nn.Parameter(
            c.text_width**-0.5 * torch.randn(c.text_width, c.embed)
        )
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.register_buffer("pixel_mean", torch.tensor(c.mean).view(3, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(c.std).view(3, 1, 1), False)

    def encode_image(self, images: Tensor) -> Tensor:
        x = self.visual((images - self.pixel_mean) / self.pixel_std)
        return F.normalize(x.float(), dim=-1)

    def encode_text(self, tokens: Tensor, cut: bool = True) -> Tensor:
        # Nothing after the last <end> token can matter: cut it off. (Whoever has done
        # so already says ``cut`` False, and a GPU need not be waited for.)
        end = tokens.argmax(dim=-1)  # <end> has the largest id
        if cut:
            tokens = tokens[:, : int(end.max()) + 1] if len(tokens) else tokens[:, :1]
        T = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:T]
        here = (
            torch.arange(T, device=tokens.device) <= end[:, None]
        )  # (B, T), no padding
        mask = None if self.config.causal else here[:, None, None, :]
        if self.config.pool == "mean":
            x = self.ln_final(self.transformer(x, self.config.causal, mask))
            x = (x * here[..., None]).sum(1) / here.sum(1, keepdim=True)
        else:  # (B, C) at the <end> token
            x = self.ln_final(self.transformer.at(x, end, self.config.causal, mask))
        return F.normalize((x @ self.text_projection).float(), dim=-1)

    def scale(self) -> Tensor:
        """The factor on the cosines, exp(logit_scale), at most 100."""
        return self.logit_scale.exp().clamp(max=MAX_SCALE)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Similarity logits, (B images, B texts)."""
        return self.scale() * self.encode_image(images) @ self.encode_text(tokens).T


def contrastive_loss(logits: Tensor, positive: Tensor | None = None) -> Tensor:
    """Symmetric cross-entropy on (B, B) logits (paper Figure 3).

    ``positive``: (B, B) bool, True where picture and caption belong together (or a
    share, where pictures are mixed); without it, the diagonal. With several positives
    in a row the target is shared evenly.
    """
    if positive is None:
        positive = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    target = positive.to(logits.dtype)
    rows = target / target.sum(1, keepdim=True)
    columns = target / target.sum(0, keepdim=True)
    image = -(rows * logits.log_softmax(1)).sum(1).mean()
    text = -(columns * logits.log_softmax(0)).sum(0).mean()
    return (image + text) / 2


def siglip_loss(logits: Tensor, bias: Tensor, positive: Tensor | None = None) -> Tensor:
    """The pairwise sigmoid loss (Zhai et al. 2023, Algorithm 1) on (B, B) logits."""
    if positive is None:
        positive = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    sign = positive.to(logits.dtype) * 2 - 1
    return -F.logsigmoid(sign * (logits + bias)).sum() / len(logits)
