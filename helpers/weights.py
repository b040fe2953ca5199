"""Weights files: safetensors with a card inside, checked by sha256 before use."""

import contextlib
import json
import os
import re
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import paths
from .download import noted, sha256
from .values import frozen, quoted, short

MOST = 2**29  # numbers of a model of ours, 2 GB
HASHES = "hashes.json"  # of each folder of our files: {name: sha256}


def save_model(path: Path, kind: str, model, card: dict, extra=None, **more) -> None:
    """Save any other network of ours (``kind``: "vqgan", "gan") as fp16 safetensors.

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
    """Write a safetensors file whole or not at all, and note its sha256 beside it.

    Raises ValueError or PermissionError with one sentence, as ``check_writable`` does.
    """
    check_writable(path)
    known = hashes(path.parent)
    part = path.with_name(f".{os.getpid()}-{path.name}.part")
    try:
        save_file(tensors, part, metadata)
        part.chmod(0o644)
        part.replace(path)
        known[path.name] = sha256(path)
        text = json.dumps(known, indent=1, sort_keys=True) + "\n"
        (path.parent / HASHES).write_text(text, "utf-8")
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise cannot_write(path, error) from None


def check_writable(path: Path) -> None:
    """Can a model be saved there? To be asked before the work, not after it.

    Raises PermissionError with one sentence if not, ValueError for a ``hashes.json``
    that is damaged.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent):
            pass
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from None
    hashes(path.parent)


def cannot_write(path: Path, error: Exception) -> PermissionError:
    why = getattr(error, "strerror", None) or str(error).split("\n")[0][:80]
    return PermissionError(
        f"{path} cannot be written ({why}); choose another folder or name."
    )


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of our files in a folder by name, as its ``hashes.json`` notes them.

    Raises ValueError with one sentence for one that is damaged, or of something else.
    """
    table = folder / HASHES
    try:
        known = json.loads(table.read_text("utf-8")) if table.exists() else {}
        if isinstance(known, dict) and all(isinstance(v, str) for v in known.values()):
            return known
    except (ValueError, OSError, RecursionError):
        pass
    raise ValueError(
        f"{table} is damaged, or not ours: move it away, or the model elsewhere."
    )


def read(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read one of our files: (tensors, metadata), after checking it.

    Raises FileNotFoundError or ValueError with one sentence if the file is missing, cut
    short, changed (its sha256 is not the one in ``hashes.json``) or of another kind.
    """
    path = paths.given(path)
    again = "get it again (git checkout data)"
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no weights file {path}; {again}.")
    known = hashes(path.parent)
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
        raise ValueError(
            f"{path} holds {found}, not a {kind} model of ours; weights of others are "
            "read by load(NAME, file=...)."
        )
    return tensors, metadata


def note(metadata: dict[str, str], name: str, path: Path, kind: type = dict):
    """What a file of ours notes about itself ("config", "card" ...), a table or list.

    Raises ValueError with one sentence if it is missing or damaged.
    """
    with contextlib.suppress(KeyError, ValueError, TypeError, RecursionError):
        if isinstance(found := json.loads(metadata[name]), kind):
            return found
    raise ValueError(f"{path} is damaged: its {name} is missing or makes no sense.")


def construct(model: type, sizes, name):
    """A network of the sizes that a file notes, or one sentence if there is none."""
    try:
        with torch.device("meta"):  # of any size, but it takes no memory
            count = sum(value.numel() for value in model(sizes).state_dict().values())
        if count > MOST:
            raise ValueError
        return model(sizes)
    except Exception:  # whatever odd sizes lead to
        raise ValueError(f"{name} notes sizes that no such model can have.") from None


def config(kind: type, metadata: dict[str, str], path: Path):
    """The sizes that a file of ours notes, as the ``Config`` ``kind`` of its model.

    Raises ValueError with one sentence for sizes of another model.
    """
    table = note(metadata, "config", path)
    try:
        return kind(**{k: frozen(v) for k, v in table.items()})
    except (TypeError, ValueError):
        raise ValueError(f"{path} notes the sizes of another kind of model.") from None


def seal(path: Path, seen: Path | None = None) -> None:
    """Note the sha256 of a file beside it (of ``seen``, which will take its place)."""
    path.with_name(path.name + ".sha256").write_text(
        sha256(seen or path) + "\n", "utf-8"
    )


def intact(path: Path) -> bool:
    """Is the file there, and as it was when it was sealed?

    One without a seal was put there by hand: nobody knows better.
    """
    if not path.is_file():
        return False
    goal = noted(path)
    return goal is None or sha256(path) == goal


def titled(name: str) -> str:
    """A name out of a file, on one line and not too long."""
    return name if name.isprintable() and len(name) < 120 else short(name, 80)


def load_state(model: torch.nn.Module, tensors: dict, name: str) -> None:
    """Load a state dict whole; one sentence if it does not fit, or is no numbers."""
    mine = model.state_dict()
    missing = sorted(set(mine) - set(tensors)) + sorted(set(tensors) - set(mine))
    wrong = [k for k in mine if k in tensors and mine[k].shape != tensors[k].shape]
    if missing or wrong:
        raise ValueError(
            f"{name} does not fit this model: {len(missing)} names and {len(wrong)} "
            f"shapes differ, the first is {titled((missing + wrong)[0])}."
        )
    for key, value in tensors.items():
        if not mine[key].is_floating_point():
            continue  # a counter
        if not value.is_floating_point():
            raise ValueError(
                f"{name} was packed: {key} holds {value.dtype}, and nobody says what "
                "that stands for; get the weights as floats."
            )
        if not torch.isfinite(value.float()).all():
            raise ValueError(f"{name} is damaged: {key} holds NaN or infinity.")
    model.load_state_dict(
        {k: v.to(mine[k].dtype) for k, v in tensors.items()}, assign=True
    )


TITLES = {"clip": "CLIP", "vqgan": "VQGAN", "gan": "GAN"}
TITLES |= {"dalle1": "DALL-E 1", "unclip": "DALL-E 2"}


def find(kind: str, name, others=(), file=None) -> Path:
    """The file of one of our models: data/models/KIND-NAME.safetensors.

    The file of a CLIP or a DALL-E is NAME.safetensors. ``name`` may be a path to such a
    file itself.
    ``others``: names of weights that others made; only these are read from a ``file``.
    Raises FileNotFoundError or ValueError with one sentence.
    """
    path = paths.given(name)
    title = TITLES.get(kind, kind)
    if file is not None:
        raise ValueError(
            f'"{name}" is a {title} of ours and takes no file; file= goes with '
            f"{', '.join(others) or 'none'}, and a file of ours is loaded by its path."
        )
    if path.suffix == ".safetensors":
        return path
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt"):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"There is no weights file {path}.")
        if not others:
            raise ValueError(
                f"{path} holds no {title} of ours: those end in .safetensors."
            )
        raise ValueError(
            f"{path} does not say which {title} it holds: name it, as in "
            f'load("{likely(path.stem, others, next(iter(others)))}", file="{path}").'
        )
    there = paths.MODELS / f"{start_of(kind)}{name}.safetensors"
    harmed = os.path.isfile(there) and kind_of(there) == "a damaged file"
    if str(name) not in names(kind) and not harmed:  # of a harmed one, read tells
        known = ", ".join([*names(kind), *others])
        way = f"choose from {known}" if known else "data/models holds none"
        near = likely(str(name), [*names(kind), *others])
        way += f'; perhaps you mean "{near}"' if near else ""
        raise ValueError(f"There is no {title} called {quoted(str(name))}; {way}.")
    return there


def likely(text: str, names, other: str = "") -> str:
    """The name that a text holds in some spelling; otherwise ``other``."""

    def plain(text: str) -> str:
        return re.sub(r"[\W_]+", "-", text.lower())

    fit = [n for n in names if plain(n) in plain(text)]
    return max(fit, key=len) if fit else other


def names(kind: str) -> list[str]:
    """Names of the models of a kind in data/models."""
    start = start_of(kind)
    files = paths.MODELS.glob(f"{start}*.safetensors")
    return sorted(p.stem.removeprefix(start) for p in files if kind_of(p) == kind)


def start_of(kind: str) -> str:
    return "" if kind in ("clip", "dalle1", "unclip") else f"{kind}-"


def kind_of(path: Path) -> str:
    """What one of our files holds ("clip", "tokenizer" ...), from its first bytes."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("kind", "something else")
    except (SafetensorError, OSError):
        return "a damaged file"
