"""Weights files: safetensors with a card inside, checked by sha256 before use."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import paths
from .clip import CLIP, Config
from .download import sha256
from .tokenizer import Tokenizer


def save_clip(path: Path, model: CLIP, tokenizer: Tokenizer, card: dict) -> None:
    """Save a CLIP as fp16 safetensors: tensors, and config, merges, card as metadata.

    The file's hash is entered in ``hashes.json`` beside it.
    """
    path = Path(path)
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
    save(path, tensors, metadata)


def save_model(path: Path, kind: str, model, card: dict, extra=None, **more) -> None:
    """Save any other network of ours (``kind``: "vqgan", "prior") as fp16 safetensors.

    ``extra``: further tensors; ``more``: what else it needs, as JSON in the metadata.
    """
    tensors = model.state_dict() | (extra or {})
    tensors = {k: v.half().contiguous() for k, v in tensors.items()}
    metadata = {
        "kind": kind,
        "config": json.dumps(asdict(model.config)),
        "card": json.dumps(card, ensure_ascii=False, sort_keys=True),
    }
    metadata |= {k: json.dumps(v, ensure_ascii=False) for k, v in more.items()}
    save(Path(path), tensors, metadata)


def save(path: Path, tensors: dict, metadata: dict[str, str]) -> None:
    """Write a safetensors file whole or not at all, and note its sha256 beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata)
    part.chmod(0o644)
    part.replace(path)
    table = path.parent / "hashes.json"
    known = json.loads(table.read_text()) if table.exists() else {}
    known[path.name] = sha256(path)
    table.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def read(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read one of our files: (tensors, metadata), after checking it.

    Raises FileNotFoundError or ValueError with one sentence if the file is missing, cut
    short, changed (its sha256 is not the one in ``hashes.json``) or of another kind.
    """
    path = Path(path)
    again = "get it again (git checkout data/models)"
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file {path}; {again}.")
    table = path.parent / "hashes.json"
    known = json.loads(table.read_text()) if table.exists() else {}
    if path.name in known and sha256(path) != known[path.name]:
        raise ValueError(
            f"{path} is damaged or cut short: its sha256 is not the recorded one; "
            f"{again}."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is damaged or cut short ({str(error)[:80]}); {again}."
        ) from None
    if metadata.get("kind") != kind:
        found = metadata.get("kind", "something else")
        raise ValueError(f"{path} holds {found}, not a {kind} model.")
    return tensors, metadata


def load_clip(path: Path) -> tuple[CLIP, Tokenizer, dict]:
    """A CLIP of ours from its file: (model in fp32 and eval mode, tokenizer, card)."""
    tensors, metadata = read(path, "clip")
    config = Config(**json.loads(metadata["config"]))
    pairs = merges(tensors.pop("tokenizer.merges", torch.empty(0, 2)))
    persian = json.loads(metadata["tokenizer"])["persian"]
    model = CLIP(config)
    load_state(model, tensors, Path(path).name)
    tokenizer = Tokenizer(pairs, config.context, persian)
    return model.eval(), tokenizer, json.loads(metadata["card"])


def merge_ids(tokenizer: Tokenizer) -> torch.Tensor:
    """The merges of a tokenizer as (N, 2) uint16 token ids, small to store."""
    rows = [[tokenizer.ids[a], tokenizer.ids[b]] for a, b in tokenizer.merges]
    return torch.tensor(rows, dtype=torch.int32).to(torch.uint16)


def merges(ids: torch.Tensor) -> list[tuple[str, str]]:
    """The merges that ``merge_ids`` stored, as pairs of symbols."""
    symbols = Tokenizer([]).symbols[:512]  # 256 bytes, 256 bytes at a word's end
    rows = ids.to(torch.int32).tolist()
    for left, right in rows:
        symbols.append(symbols[left] + symbols[right])
    return [(symbols[left], symbols[right]) for left, right in rows]


def load_state(model: torch.nn.Module, tensors: dict, name: str) -> None:
    """Load a state dict whole; one sentence if names or shapes do not fit."""
    mine = model.state_dict()
    missing = sorted(set(mine) - set(tensors)) + sorted(set(tensors) - set(mine))
    wrong = [k for k in mine if k in tensors and mine[k].shape != tensors[k].shape]
    if missing or wrong:
        raise ValueError(
            f"{name} does not fit this model: {len(missing)} names and {len(wrong)} "
            f"shapes differ, the first is {(missing + wrong)[0]}."
        )
    model.load_state_dict(
        {k: v.to(mine[k].dtype) for k, v in tensors.items()}, assign=True
    )


def shipped() -> list[str]:
    """Names of the CLIP models in data/models."""
    return sorted(
        p.stem for p in paths.MODELS.glob("*.safetensors") if kind(p) == "clip"
    )


def kind(path: Path) -> str:
    """What one of our files holds ("clip", "tokenizer" ...), from its first bytes."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("kind", "something else")
    except (SafetensorError, OSError):
        return "a damaged file"
