"""The official CLIP weights: names, addresses, and the three file formats they come in.

OpenAI's own files are TorchScript archives; open_clip and transformers write the same
weights as safetensors under other names. All three are read into our ``CLIP``, and no
code of such a file runs.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import archive, paths, weights
from ..download import Source, fetch
from . import files
from .model import CLIP, Config
from .tokenizer import Tokenizer

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
AZURE = "https://openaipublic.azureedge.net/clip/models"
JINA = "https://clip-as-service.s3.us-east-2.amazonaws.com/models/torch"
HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Official:
    """One published model: its sizes, where its weights are, and how large."""

    config: Config
    sources: tuple[Source, ...]
    megabytes: int  # of the download, about


def base(**sizes) -> Config:
    """The sizes that all official models share, with those of one model."""
    common = {
        "stem": "patch",
        "vocab": 49408,
        "context": 77,
        "quick_gelu": True,  # OpenAI's activation; LAION's models use the plain GELU
        "mean": MEAN,
        "std": STD,
    }
    text = sizes.pop("text", 512)  # width; heads of 64 channels, always 12 layers
    common |= {"text_width": text, "text_heads": text // 64, "text_layers": 12}
    return Config(**common | sizes)


def vit(patch: int, width=768, layers=12, embed=512, size=224, **more) -> Config:
    heads = width // 64
    return base(
        patch=patch,
        width=width,
        layers=layers,
        heads=heads,
        embed=embed,
        image_size=size,
        **more,
    )


def resnet(layers: tuple, width=64, embed=1024, size=224, **more) -> Config:
    heads = width * 32 // 64
    return base(
        vision="resnet",
        layers=layers,
        width=width,
        heads=heads,
        embed=embed,
        image_size=size,
        **more,
    )


def places(sha: str, file: str) -> tuple[Source, ...]:
    """OpenAI's own address (the hash is part of it), then a mirror of the same bytes.

    A mirror must give the file with this very sha256; what differs is refused.
    """
    return Source(f"{AZURE}/{sha}/{file}", sha), Source(f"{JINA}/{file}", sha)


B32, B16 = vit(32), vit(16)
L14 = vit(14, width=1024, layers=24, embed=768, text=768)
L336 = replace(L14, image_size=336)
OFFICIAL = {
    "ViT-B/32": Official(
        B32,
        places(
            "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
            "ViT-B-32.pt",
        ),
        354,
    ),
    "ViT-B/16": Official(
        B16,
        places(
            "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
            "ViT-B-16.pt",
        ),
        351,
    ),
    "ViT-L/14": Official(
        L14,
        places(
            "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
            "ViT-L-14.pt",
        ),
        933,
    ),
    "ViT-L/14@336px": Official(
        L336,
        places(
            "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
            "ViT-L-14-336px.pt",
        ),
        934,
    ),
    "RN50": Official(
        resnet((3, 4, 6, 3)),
        places(
            "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
            "RN50.pt",
        ),
        256,
    ),
    "RN101": Official(
        resnet((3, 4, 23, 3), embed=512),
        places(
            "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
            "RN101.pt",
        ),
        292,
    ),
    "RN50x4": Official(
        resnet((4, 6, 10, 6), width=80, embed=640, size=288, text=640),
        places(
            "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
            "RN50x4.pt",
        ),
        422,
    ),
    "ViT-B/32-laion2b": Official(
        replace(B32, quick_gelu=False),
        (
            Source(
                f"{HUB}/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/"
                "open_clip_model.safetensors"
            ),
        ),
        605,
    ),
}


def load(name: str, file: Path | None = None) -> tuple[CLIP, Tokenizer, dict, Path]:
    """An official model: (model in fp32 and eval mode, tokenizer, card, its file).

    ``file``: your own copy of the weights in any of the three formats; without it the
    cache or the network gives one. Raises ValueError, FileNotFoundError or
    ConnectionError with one sentence.
    """
    official = OFFICIAL[name]
    path = fetch(list(official.sources)) if file is None else paths.given(file)
    with torch.device("meta"):  # no time lost on random weights
        model = CLIP(official.config)
    weights.load_state(model, read(path), f"{path.name} as {name}")
    for key, values in (("mean", official.config.mean), ("std", official.config.std)):
        model.register_buffer(f"pixel_{key}", torch.tensor(values).view(3, 1, 1), False)
    card = {"model": name, "file": path.name, "licence": "MIT"}
    return model.eval(), tokenizer(), card, path


def tokenizer() -> Tokenizer:
    """OpenAI's tokenizer: its 48,894 merges are shipped in data/models."""
    path = paths.MODELS / "openai_bpe.safetensors"
    tensors, _ = weights.read(path, "tokenizer")
    pairs = files.merges(tensors["merges"], path)
    return Tokenizer(pairs, context=77, persian=False)


def read(path: Path) -> dict[str, Tensor]:
    """Weights of one file in OpenAI's names and fp32, whichever format it has.

    Raises FileNotFoundError or ValueError with one sentence.
    """
    tensors = archive.bare(archive.read(path, script=True))
    if any(k.startswith("vision_model.") for k in tensors):
        tensors = from_transformers(tensors)
    drop = ("input_resolution", "context_length", "vocab_size", "attn_mask")
    return {
        k: v.float() if v.is_floating_point() else v
        for k, v in tensors.items()
        if not k.endswith(drop)
    }


RENAMES = (  # transformers' names -> OpenAI's, applied in this order
    (r"^vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight",
     "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^visual_projection\.weight", "visual.proj"),
    (r"^text_projection\.weight", "text_projection"),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
)  # fmt: skip


def from_transformers(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' CLIPModel -> OpenAI's names.

    Queries, keys and values are stacked into one matrix; the two projections are
    stored the other way round. Raises ValueError with one sentence.
    """
    ours: dict[str, Tensor] = {}
    for key, value in theirs.items():
        if key.endswith("position_ids") or re.search(r"self_attn\.[kv]_proj", key):
            continue
        if "self_attn.q_proj" in key:
            names = [key.replace("q_proj", f"{p}_proj") for p in "qkv"]
            parts = [theirs[name] for name in names if name in theirs]
            alike = len({part.shape for part in parts}) == 1 and value.ndim > 0
            if len(parts) < 3 or not alike:
                raise ValueError(
                    f"{weights.titled(key)} has no keys and values of its shape: these "
                    "weights are not whole; get them again."
                )
            value = torch.cat(parts)
            kind = key.rsplit(".", 1)[1]
            key = key.replace(f"self_attn.q_proj.{kind}", f"attn.in_proj_{kind}")
        for pattern, name in RENAMES:
            key = re.sub(pattern, name, key)
        ours[key] = value.T if key in ("visual.proj", "text_projection") else value
    return ours
