"""A CLIP that is ready to use: pictures and words in, vectors out.

Dims: N pictures, M texts, D embedding, S pixels a side. Loading stands here, above the
models.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from .. import pictures, weights
from ..device import pick_device
from ..download import sha256
from . import fast, files, official
from .tokenizer import check_texts


class Embedder:
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
        return pictures.to_tensor(picture, self.model.config.image_size)

    @torch.no_grad()
    def embed_images(self, images, batch: int = 64, progress: bool = False) -> Tensor:
        """(N, 3, H, W) uint8 or a list of pictures -> (N, D) on the unit sphere."""
        size = self.model.config.image_size
        self.model.eval()
        out = [torch.empty(0, self.model.config.embed)]
        steps = range(0, len(images), batch)
        for at in tqdm(steps, desc="embedding", disable=not progress, leave=False):
            part = images[at : at + batch]
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

    def probabilities(self, images: Tensor, texts: Tensor) -> Tensor:
        """Softmax over the texts of the scaled cosines: (N, D), (M, D) -> (N, M)."""
        return (self.model.scale().item() * images @ texts.T).softmax(dim=-1)


def load(name: str = "pocket", device=None, file=None, bf16: bool = False) -> Embedder:
    """Load a CLIP by name, ready to use.

    "pocket" (default) and "scratch" are shipped in data/models. The names of
    ``helpers.clip.official.OFFICIAL`` ("ViT-B/32" and so on) are OpenAI's and LAION's
    weights, downloaded once (354 MB for "ViT-B/32"). ``file``: your own copy of
    official weights. A path to one of our own files works as ``name``. ``bf16``: half
    the precision, about twice the speed on a GPU. Raises ValueError, FileNotFoundError,
    ConnectionError or (no such device) RuntimeError with one sentence.
    """
    device = pick_device(device)
    if name in official.OFFICIAL:
        model, tokenizer, card, path = official.load(name, file)
    else:
        path = weights.find("clip", name, official.OFFICIAL, file)
        model, tokenizer, card = files.load_clip(path)
        name = path.stem
    mark = sha256(path)[:16]
    fast.speed_up(model)
    return Embedder(name, model, tokenizer, card, device, mark, bf16)
