"""CLIP: an image tower and a text tower that meet in one space (Radford et al. 2021).

Dims: B batch, T tokens, C channels (width), D embedding, H/W pixels. The towers are in
towers.py; names follow OpenAI's release, so that its weights load.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .resnet import ModifiedResNet
from .tokenizer import check_texts
from .towers import EfficientNetTower, Transformer, VisionTransformer

TOWERS = {
    "vit": VisionTransformer,
    "effnet": EfficientNetTower,
    "effnet2": EfficientNetTower,
    "resnet": ModifiedResNet,
}
MAX_SCALE = 100.0  # the temperature may not fall below 1/100 (paper §2.5)


@dataclass
class Config:
    """Sizes of a CLIP; the defaults are those of our ``scratch`` model."""

    embed: int = 192  # D, the shared space
    image_size: int = 64  # pixels a side
    vision: str = "vit"  # or "resnet", "effnet", "effnet2" (EfficientNet-Lite)
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

    def encode_image(self, images: Tensor, keep: float = 1.0) -> Tensor:
        x = self.visual((images - self.pixel_mean) / self.pixel_std, keep=keep)
        return F.normalize(x.float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        # Under a causal mask nothing after the last <end> token can matter: cut it off.
        end = tokens.argmax(dim=-1)  # <end> has the largest id
        tokens = tokens[:, : int(end.max()) + 1] if len(tokens) else tokens[:, :1]
        T = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:T]
        mask = None
        if not self.config.causal:  # hide the padding instead
            here = torch.arange(T, device=tokens.device) <= end[:, None]  # (B, T)
            mask = here[:, None, None, :]
        if self.config.pool == "mean":
            x = self.ln_final(self.transformer(x, self.config.causal, mask))
            x = (x * here[..., None]).sum(1) / here.sum(1, keepdim=True)
        else:  # (B, C) at the <end> token
            x = self.ln_final(self.transformer(x, self.config.causal, mask, at=end))
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


class Ready:
    """A CLIP with its tokenizer and preprocessing: pictures and words in, vectors out.

    ``name``, ``card`` (how it was trained) and ``fingerprint`` say which model it is;
    ``model`` is the network itself.
    """

    def __init__(
        self, name, model, tokenizer, card, device, fingerprint="", bf16=False
    ):
        self.name, self.model, self.card = name, model.to(device), card
        self.tokenizer, self.device, self.fingerprint = tokenizer, device, fingerprint
        self.bf16 = bf16

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.model.parameters()) / 1e6
        return f"CLIP {self.name}: {count:.1f} M parameters on {self.device}"

    def preprocess(self, picture) -> Tensor:
        """Any picture (path, bytes, PIL) -> (3, S, S) float in [0, 1].

        The short side is brought to S (bicubic), then the centre is cut out; a flat
        white picture border is not added. Raises ValueError for what is no picture.
        """
        from torchvision.transforms.functional import pil_to_tensor

        from .corpus import read_picture

        size = self.model.config.image_size
        return pil_to_tensor(resize_and_crop(read_picture(picture), size)).float() / 255

    @torch.no_grad()
    def embed_images(self, pictures, batch: int = 64, progress: bool = False) -> Tensor:
        """(N, 3, H, W) uint8 or a list of pictures -> (N, D) on the unit sphere."""
        from tqdm.auto import tqdm

        size = self.model.config.image_size
        self.model.eval()
        out = [torch.empty(0, self.model.config.embed)]
        steps = range(0, len(pictures), batch)
        for at in tqdm(steps, desc="embedding", disable=not progress, leave=False):
            part = pictures[at : at + batch]
            if isinstance(part, Tensor):
                x = part.to(self.device).float() / 255
                if x.shape[-2:] != (size, size):
                    x = F.interpolate(
                        x, (size, size), mode="bicubic", antialias=True
                    ).clamp(0, 1)
            else:
                x = torch.stack([self.preprocess(p) for p in part]).to(self.device)
            with self.precision():
                out.append(self.model.encode_image(x).cpu())
        return torch.cat(out)

    @torch.no_grad()
    def embed_texts(self, texts: list[str], batch: int = 256) -> Tensor:
        """Texts -> (N, D) on the unit sphere. Raises TypeError for what is not text."""
        self.model.eval()
        texts = [texts] if isinstance(texts, str) else check_texts(texts)
        out = [torch.empty(0, self.model.config.embed)]
        for at in range(0, len(texts), batch):
            tokens = self.tokenizer(texts[at : at + batch]).to(self.device)
            with self.precision():
                out.append(self.model.encode_text(tokens).cpu())
        return torch.cat(out)

    def precision(self):
        """The context the towers run in: bf16 autocast by choice, else full floats."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def chances(self, images: Tensor, texts: Tensor) -> Tensor:
        """Softmax over the texts of the scaled cosines: (N, D), (M, D) -> (N, M)."""
        return (self.model.scale().item() * images @ texts.T).softmax(dim=-1)


def resize_and_crop(image, size: int):
    """PIL -> PIL: short side to ``size`` (bicubic), then the centre square.

    The same pixels as OpenAI's and open_clip's preprocessing. A strip of more than
    8 : 1 is cut to that first, or the long side would grow without bound.
    """
    from torchvision.transforms import InterpolationMode, functional

    w, h = image.size
    side = 8 * min(w, h)
    if max(w, h) > side:
        image = functional.center_crop(image, [min(h, side), min(w, side)])
    image = functional.resize(image, size, InterpolationMode.BICUBIC)
    return functional.center_crop(image, size)


def load(name: str = "pocket", device=None, file=None, bf16: bool = False) -> Ready:
    """Load a CLIP by name, ready to use.

    "pocket" (default) and "scratch" are shipped in data/models. The names of
    ``helpers.official.OFFICIAL`` ("ViT-B/32" and so on) are OpenAI's and LAION's
    weights, downloaded once (354 MB for "ViT-B/32"). ``file``: your own copy of
    official weights. A path to one of our own files works as ``name``. ``bf16``: half
    the precision, about twice the speed on a GPU. Raises ValueError, FileNotFoundError
    or ConnectionError with one sentence.
    """
    from pathlib import Path

    from . import official, paths, weights
    from .device import pick_device

    device = torch.device(device) if device else pick_device()
    if name in official.OFFICIAL:
        model, tokenizer, card, path = official.load(name, file)
    else:
        path = Path(name)
        if path.suffix != ".safetensors":
            path = paths.MODELS / f"{name}.safetensors"
            if path.stem not in weights.shipped():
                known = ", ".join([*weights.shipped(), *official.OFFICIAL])
                raise ValueError(
                    f'There is no model called "{name}"; choose from {known}.'
                )
        model, tokenizer, card = weights.load_clip(path)
        name = path.stem
    mark = weights.sha256(path)[:16]
    return Ready(name, model, tokenizer, card, device, mark, bf16)
