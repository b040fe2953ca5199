"""The file of a search index: one, written whole or not at all.

It is a safetensors file of two tensors: ``vectors`` (N, D), and ``card``, JSON as bytes
with the names, the keys and what was skipped. Paths in it are relative to the base
folder of the index, so that pictures and index may move together.
"""

import contextlib
import json
import os
import uuid
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..pictures import plain
from .collect import absolute, inside

FORMAT = 2  # of the saved index; 1 had two files
PROBES = 20  # files that are looked for to find the base folder again


def file_of(path) -> Path:
    """The file of an index: ``path`` with the ending .safetensors."""
    path = Path(absolute(path))
    return path if path.suffix == ".safetensors" else Path(f"{path}.safetensors")


def write(path: Path, card: dict, vectors: Tensor) -> None:
    """Write an index. Raises OSError with one sentence where that cannot be done."""
    path = file_of(path)
    text = json.dumps(card).encode()  # pure ASCII: any name survives
    tensors = {
        "vectors": vectors.float().contiguous(),
        "card": torch.frombuffer(bytearray(text), dtype=torch.uint8),
    }
    metadata = {"kind": "index", "format": str(FORMAT), "sum": checksum(tensors)}
    part = path.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(0, "it is a folder")
        str(path).encode("utf-8")  # safetensors opens no name that is no text
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata)
        part.chmod(0o644)
        part.replace(path)
    except (OSError, SafetensorError, ValueError) as error:
        kind = type(error) if isinstance(error, OSError) else OSError
        why = getattr(error, "strerror", None) or error
        raise kind(
            f"The index cannot be written to {plain(path)} ({why}): choose another "
            "place."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def read(path: Path) -> tuple[dict, Tensor]:
    """Read an index: (card, vectors). One sentence for what is none, or damaged."""
    path = file_of(path)
    name, again = plain(path.name), "build the index again"
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no index file {plain(path)}.")
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("kind") != "index":
                raise ValueError(
                    f"{name} is no index of this course, or one of format 1, which "
                    f"had two files; {again}."
                )
            if about.get("format") != str(FORMAT):
                raise ValueError(
                    f"The index {name} has format {about.get('format')}, this is "
                    f"{FORMAT}; {again}."
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"The index {name} is damaged or cut short ({str(error)[:60]}); {again}."
        ) from None
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        if about.get("sum") == checksum(tensors):
            card = json.loads(tensors["card"].numpy().tobytes())
            if isinstance(card, dict) and tensors["vectors"].isfinite().all():
                return card, tensors["vectors"]
    raise ValueError(f"The index {name} is damaged or was changed; {again}.")


def checksum(tensors: dict) -> str:
    total = 0
    for key in sorted(tensors):
        total = zlib.crc32(tensors[key].numpy().reshape(-1).view("uint8"), total)
    return f"{total:08x}"


def pack(path: str, base: str | None) -> str:
    """A path as text that is the same under every locale, relative to ``base``."""
    if base and inside(path, base):
        path = os.path.relpath(path, base).replace(os.sep, "/")
    try:
        return os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no name that this system could give to a file
        return path


def unpack(text: str, base: str | None) -> str:
    """The path that ``pack`` wrote, below ``base``."""
    path = os.fsdecode(text.encode("utf-8", "surrogateescape"))
    return os.path.normpath(os.path.join(base or "", path))


def pack_base(base: str | None, file: Path) -> list | None:
    """The base folder as it is, and as seen from the index file."""
    if not base:
        return None
    try:
        near = pack(os.path.relpath(base, file.parent).replace(os.sep, "/"), None)
    except ValueError:  # another drive
        near = None
    return [near, pack(base, None)]


def find_base(saved: list | None, file: Path, files: list[str]) -> str | None:
    """The base folder now: where the pictures are found, seen from the index file or
    at their old place. ``files``: packed paths to look for."""
    if not saved:
        return None
    near, old = saved
    places = [unpack(near, str(file.parent))] if near is not None else []
    places.append(unpack(old, None))
    some = files[:: max(1, len(files) // PROBES)]

    def found(place: str) -> int:
        return sum(os.path.exists(unpack(text, place)) for text in some)

    return max(places, key=found)
