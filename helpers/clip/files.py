"""Our own CLIP files: safetensors with config, merges and a card inside."""

import json
from dataclasses import asdict
from pathlib import Path

import torch

from .. import paths, weights
from . import fast
from .model import CLIP, Config
from .tokenizer import Tokenizer


def save_clip(path: Path, model: CLIP, tokenizer: Tokenizer, card: dict) -> None:
    """Save a CLIP as fp16 safetensors: tensors, and config, merges, card as metadata.

    The file's hash is entered in ``hashes.json`` beside it.
    """
    path = paths.given(path)
    tensors = {
        k: (v.half() if v.is_floating_point() else v).contiguous()
        for k, v in model.state_dict().items()
    }
    tensors["tokenizer.merges"] = merge_ids(tokenizer)
    metadata = {
        "kind": "clip",
        "config": json.dumps(asdict(model.config)),
        "tokenizer": json.dumps({"persian": tokenizer.persian}),
        "card": json.dumps(card, ensure_ascii=False, sort_keys=True),
    }
    weights.save(path, tensors, metadata)


def load_clip(path: Path) -> tuple[CLIP, Tokenizer, dict]:
    """A CLIP of ours from its file: (model in fp32 and eval mode, tokenizer, card)."""
    tensors, metadata = weights.read(path, "clip")
    config = weights.config(Config, metadata, path)
    pairs = merges(tensors.pop("tokenizer.merges", torch.empty(0, 2)), path)
    persian = bool(weights.note(metadata, "tokenizer", path).get("persian"))
    model = weights.construct(CLIP, config, path)
    if config.vision.startswith("effnet"):  # these files hold folded batch norms
        fast.fold(model.visual)
    weights.load_state(model, tensors, Path(path).name)
    tokenizer = tokenizer_of(pairs, config.context, config.vocab, path, persian)
    return model.eval(), tokenizer, weights.note(metadata, "card", path)


def tokenizer_of(pairs, context: int, count: int, path, persian: bool = True):
    """The tokenizer out of a file whose model knows ``count`` words (tokens).

    Raises ValueError with one sentence if the file holds another number of them.
    """
    tokenizer = Tokenizer(pairs, context, persian)
    if len(tokenizer) != count:
        raise ValueError(
            f"{path} is damaged: its tokenizer has {len(tokenizer)} tokens, its model "
            f"{count}."
        )
    return tokenizer


def merge_ids(tokenizer: Tokenizer) -> torch.Tensor:
    """The merges of a tokenizer as (N, 2) uint16 token ids, small to store."""
    rows = [[tokenizer.ids[a], tokenizer.ids[b]] for a, b in tokenizer.merges]
    return torch.tensor(rows, dtype=torch.int32).to(torch.uint16)


def merges(ids: torch.Tensor, path: Path) -> list[tuple[str, str]]:
    """The merges that ``merge_ids`` stored, as pairs of symbols.

    Raises ValueError with one sentence that names the file if they are damaged.
    """
    symbols = Tokenizer([]).symbols[:512]  # 256 bytes, 256 bytes at a word's end
    try:
        rows = ids.to(torch.int32).tolist()
        for left, right in rows:
            symbols.append(symbols[left] + symbols[right])
    except (TypeError, ValueError, IndexError):
        raise ValueError(f"{path} is damaged: its tokenizer makes no sense.") from None
    return [(symbols[left], symbols[right]) for left, right in rows]
