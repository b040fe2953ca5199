"""Weights files: safetensors with a card inside, checked by sha256 before use."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import paths
from .download import sha256


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


TITLES = {"clip": "CLIP", "vqgan": "VQGAN", "gan": "GAN"}


def find(kind: str, name, others=()) -> Path:
    """The file of one of our models: data/models/KIND-NAME.safetensors.

    A CLIP's file is NAME.safetensors. ``name`` may be a path to such a file itself.
    ``others``: names that are known elsewhere. Raises ValueError with one sentence for
    an unknown name.
    """
    path = Path(name)
    if path.suffix == ".safetensors":
        return path
    if str(name) not in names(kind):
        raise ValueError(
            f'There is no {TITLES.get(kind, kind)} called "{name}"; choose from '
            f"{', '.join([*names(kind), *others])}."
        )
    return paths.MODELS / f"{start_of(kind)}{name}.safetensors"


def names(kind: str) -> list[str]:
    """Names of the models of a kind in data/models."""
    start = start_of(kind)
    files = paths.MODELS.glob(f"{start}*.safetensors")
    return sorted(p.stem.removeprefix(start) for p in files if kind_of(p) == kind)


def start_of(kind: str) -> str:
    return "" if kind == "clip" else f"{kind}-"


def kind_of(path: Path) -> str:
    """What one of our files holds ("clip", "tokenizer" ...), from its first bytes."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("kind", "something else")
    except (SafetensorError, OSError):
        return "a damaged file"
