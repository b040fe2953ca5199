"""VQGAN weights: the shipped ``pocket``, and the published checkpoints of the paper.

The published files are Lightning checkpoints, that is pickles, which may run code when
read. ``helpers.archive`` takes the tensors out of them and runs nothing; the result is
kept as safetensors under a noted sha256, so each file is converted once.
"""

import contextlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .. import archive, paths, weights
from ..device import pick_device
from ..download import Source, fetch, forget, sha256
from .autoencoder import Config
from .losses import PatchDiscriminator
from .model import VQGAN

IMAGENET = Config(
    ch=128,
    ch_mult=(1, 1, 2, 2, 4),
    num_res_blocks=2,
    attn_resolutions=(16,),
    resolution=256,
    z_channels=256,
    embed_dim=256,
    n_embed=16384,
    fold=1,
)
HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Published:
    """One published VQGAN: its sizes, where its weights are, and how large."""

    config: Config
    sources: tuple[Source, ...]
    megabytes: int  # of the download, about
    page: str  # where people find the file


SHA_16384 = "845a68805098cb666420d5db93df53f3a3b6dd443e6dd85c05759c5b998cd663"
GITHUB = "https://github.com"
HEIBOX = "https://heibox.uni-heidelberg.de/d"
PUBLISHED = {
    "imagenet-f16-16384": Published(
        IMAGENET,
        (
            Source(
                f"{GITHUB}/Eleiber/VQGAN-Mirrors/releases/download/0.0.1/"
                "vqgan_imagenet_f16_16384.ckpt",
                SHA_16384,
            ),
            Source(
                f"{GITHUB}/mehdidc/feed_forward_vqgan_clip/releases/download/0.1/"
                "vqgan_imagenet_f16_16384.ckpt",
                SHA_16384,
            ),
        ),
        980,
        f"{HEIBOX}/a7530b09fed84f80a887/",
    ),
    "imagenet-f16-1024": Published(
        Config(**asdict(IMAGENET) | {"n_embed": 1024}),
        (Source(f"{HUB}/Nehc/vqgan_imagenet_f16_1024/resolve/main/ckpts/last.ckpt"),),
        958,
        f"{HEIBOX}/8088892a516d4e3baf92/",
    ),
    "openimages-f8-gumbel": Published(
        Config(
            **asdict(IMAGENET)
            | {"ch_mult": (1, 1, 2, 4), "attn_resolutions": (32,), "n_embed": 8192}
            | {"gumbel": True}
        ),
        (),  # no mirror states a hash: bring the file yourself
        376,
        f"{HEIBOX}/2e5662443a6b4307b470/",
    ),
}


def load(name: str = "pocket", device=None, file=None) -> VQGAN:
    """A VQGAN by name, in eval mode.

    "pocket" is shipped in data/models. The names of ``PUBLISHED`` are the weights of
    the paper, downloaded and converted once. ``file``: your own copy of one of them (a
    Lightning checkpoint or safetensors). A path to one of our own files works as
    ``name``. Raises ValueError, FileNotFoundError, ConnectionError or (no such device)
    RuntimeError with one sentence.
    """
    device = pick_device(device)
    if isinstance(name, str) and name in PUBLISHED:
        model = published(name, file)
    else:
        path = weights.find("vqgan", name, PUBLISHED, file)
        tensors, metadata = weights.read(path, "vqgan")
        sizes = weights.config(Config, metadata, path)
        model = fill(sizes, network(tensors, path.name), path.name)
        model.card = weights.note(metadata, "card", path)
    model.name = name
    return model.to(device).eval()


def config(name: str = "pocket") -> Config:
    """The sizes of a VQGAN by name; reads no weights.

    Raises ValueError or FileNotFoundError with one sentence for an unknown name or a
    file that is none of ours.
    """
    if name in PUBLISHED:
        return PUBLISHED[name].config
    path = weights.find("vqgan", name, PUBLISHED)
    try:
        with safe_open(path, "pt") as file:
            return weights.config(Config, file.metadata() or {}, path)
    except (SafetensorError, OSError, ValueError):
        raise ValueError(f"{path} is no VQGAN of ours, or is damaged.") from None


def load_discriminator(name: str = "pocket", device=None) -> PatchDiscriminator:
    """The discriminator that fought with one of our own VQGANs, in eval mode.

    Raises ValueError with one sentence for an unknown name or a file without one.
    """
    path = weights.find("vqgan", name)
    tensors, _ = weights.read(path, "vqgan")
    start = "loss.discriminator."
    state = {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
    if not state:
        raise ValueError(f"{path.name} holds no discriminator.")
    first = state["main.0.weight"]
    layers = sum(k.endswith("running_mean") for k in state)
    model = PatchDiscriminator(len(first), layers)
    weights.load_state(model, state, path.name)
    return model.to(pick_device(device)).eval()


def published(name: str, file=None) -> VQGAN:
    """The published model ``name``, from ``file`` or from the cache or a mirror.

    The converted file in the cache is checked each time; one that was changed or cut
    short is converted again.
    """
    entry = PUBLISHED[name]
    if file is not None:
        path = paths.given(file)
        return fill(entry.config, network(read_checkpoint(path), path.name), path.name)
    ours = paths.kept() / f"vqgan-{name}.safetensors"  # it may be read-only
    tensors = None
    if weights.intact(ours):
        try:
            tensors = network(read_checkpoint(ours), ours.name)
        except ValueError:  # put there by hand, or cut before there was a seal
            tensors = None
    if tensors is None:
        return convert(name, paths.cache() / ours.name)
    model = fill(entry.config, tensors, ours.name)
    with contextlib.suppress(OSError):
        weights.seal(ours)
    return model


def convert(name: str, ours: Path) -> VQGAN:
    """Get the checkpoint of a published model and keep its tensors in ``ours``.

    A checkpoint that you put into the cache as vqgan-NAME.ckpt is taken first.
    """
    entry = PUBLISHED[name]
    mine = ours.with_suffix(".ckpt")
    if not (mine.is_file() or entry.sources):
        raise ValueError(
            f"No mirror states a hash for {name}, so it is not downloaded by itself: "
            f'get it from {entry.page} and call load("{name}", file=...), or put it '
            f"into {ours.parent} as {mine.name}."
        )
    path = mine if mine.is_file() else fetch(list(entry.sources))
    tensors = network(read_checkpoint(path), path.name)
    model = fill(entry.config, tensors, path.name)  # refused before it is kept
    part = ours.with_name(f"{ours.name}.{os.getpid()}.part")
    save_file(tensors, part, {"kind": "vqgan", "from": sha256(path)})
    weights.seal(ours, part)
    part.replace(ours)
    if path != mine:
        forget(path)  # a gigabyte, most of it the state of an optimiser
    return model


def network(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of the network alone, without losses, optimiser and discriminator."""
    parts = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
    kept = {k: v.contiguous() for k, v in state.items() if k.startswith(parts)}
    if not kept:
        raise ValueError(f"{name} holds no VQGAN: none of its names is encoder.* ...")
    return kept


def fill(config: Config, tensors: dict[str, Tensor], name: str) -> VQGAN:
    """A VQGAN with these tensors; one sentence if they do not fit or are not numbers.

    A checkpoint of other sizes is refused naming both configurations.
    """
    with torch.device("meta"):
        model = weights.construct(VQGAN, config, name)
    there = guess(tensors)
    mine = {k: getattr(config, k) for k in there}
    if there != mine:
        raise ValueError(
            f"{name} is another VQGAN: its sizes are {show(there)}, those wanted "
            f"are {show(mine)}."
        )
    weights.load_state(model, tensors, name)
    return model.eval()


def guess(tensors: dict[str, Tensor]) -> dict:
    """The sizes that a state dict shows by itself."""
    out = {}
    if (book := tensors.get("quantize.embedding.weight")) is not None:
        out = {"gumbel": False, "n_embed": len(book), "embed_dim": book.shape[1]}
    elif (book := tensors.get("quantize.embed.weight")) is not None:
        out = {"gumbel": True, "n_embed": len(book), "embed_dim": book.shape[1]}
    if (first := tensors.get("encoder.conv_in.weight")) is not None:
        out["ch"] = first.shape[0]
    return out


def show(sizes: dict) -> str:
    return ", ".join(f"{k} {v}" for k, v in sizes.items())


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint (Lightning or plain) or safetensors file.

    No code of the file is run, and an archive that holds code is refused. Raises
    FileNotFoundError or ValueError with one sentence.
    """
    return archive.bare(archive.read(path))
