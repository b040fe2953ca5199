"""What a search index reads and writes: folders of pictures, and its own two files."""

import json
import os
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .. import corpus

FORMAT = 1  # of the saved index
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
CHUNK = 256  # pictures embedded at a time
PAUSE = 30  # seconds between two savings of a long build


def stem(path) -> Path:
    """The path of an index without its two endings."""
    path = Path(path)
    ours = path.suffix in (".safetensors", ".json")
    return path.with_suffix("") if ours else path


def beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def write(path: Path, card: dict, vectors: Tensor) -> None:
    """Both files of an index; the JSON last, so that it never names missing rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    card = card | {"format": FORMAT, "count": len(vectors)}
    part = beside(path, ".part")
    save_file({"vectors": vectors.contiguous()}, part)
    part.replace(beside(path, ".safetensors"))
    part.write_text(json.dumps(card, ensure_ascii=False))
    part.replace(beside(path, ".json"))


def read(path: Path) -> tuple[dict, Tensor]:
    """Both files of an index, checked against each other."""
    for ending in (".json", ".safetensors"):
        if not beside(path, ending).is_file():
            raise FileNotFoundError(f"There is no index file {beside(path, ending)}.")
    again = "build the index again"
    try:
        card = json.loads(beside(path, ".json").read_text())
        vectors = load_file(beside(path, ".safetensors"))["vectors"]
        version = card["format"]
        whole = card["count"] == len(vectors) and len(card["names"]) == len(vectors)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(
            f"The index {path.name} is damaged or cut short "
            f"({str(error)[:60]}); {again}."
        ) from None
    if version != FORMAT:
        raise ValueError(
            f"The index {path.name} has format {version}, this is {FORMAT}; {again}."
        )
    if not whole:
        raise ValueError(
            f"The index {path.name} is damaged: its two files do not belong "
            f"together; {again}."
        )
    return card, vectors


class Partial:
    """The work of a build so far, saved at ``path`` if there is one."""

    def __init__(self, path, model, names: list[str]):
        self.path = stem(path) if path else None
        self.model, self.all = model, names
        self.names: list[str] = []
        self.parts: list[Tensor] = [torch.empty(0, model.model.config.embed)]
        self.skipped: list[tuple[str, str]] = []
        self.count, self.saved = 0, time.time()
        if self.path and beside(self.path, ".json").is_file():
            card, vectors = read(self.path)
            same = card["fingerprint"] == model.fingerprint
            if same and card["todo"] == names:
                self.names, self.count = card["names"], card["done"]
                self.parts.append(vectors)
                self.skipped = [tuple(row) for row in card["skipped"]]

    def add(self, names: list[str], vectors: Tensor, done: int) -> None:
        self.names += names
        self.parts.append(vectors)
        self.count = done
        if time.time() - self.saved > PAUSE:
            self.save()

    def save(self) -> None:
        self.saved = time.time()
        if self.path:
            card = {
                "fingerprint": self.model.fingerprint,
                "todo": self.all,
                "names": self.names,
                "skipped": self.skipped,
                "done": self.count,
            }
            write(self.path, card, self.vectors())

    def vectors(self) -> Tensor:
        return torch.cat(self.parts)

    def __enter__(self) -> "Partial":
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Stopped by an error or Ctrl-C: keep the work. Finished: it may go."""
        if kind:
            self.save()
        elif self.path:
            for ending in (".json", ".safetensors"):
                beside(self.path, ending).unlink(missing_ok=True)


def collect(pictures, names):
    """Any collection -> (rows to embed, one name a row, what was skipped)."""
    skipped: list[tuple[str, str]] = []
    if isinstance(pictures, corpus.Corpus):
        names = names or [c["name"] for c in pictures.cards]
        rows = pictures.pictures()
    elif isinstance(pictures, (str, Path)):
        rows, skipped = walk(Path(pictures))
        names = names or [str(p) for p in rows]
    elif isinstance(pictures, Tensor):
        rows = pictures
    else:
        rows = list(pictures)
        paths_only = all(isinstance(r, (str, Path)) for r in rows)
        names = names or ([str(r) for r in rows] if paths_only else None)
    if not len(rows):
        raise ValueError("The collection is empty: there is no picture to index.")
    names = [str(n) for n in names] if names else [str(i) for i in range(len(rows))]
    if len(names) != len(rows):
        raise ValueError(f"There are {len(rows)} pictures but {len(names)} names.")
    return rows, names, skipped


def walk(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """All picture files below a folder, in order; links in a loop are followed once."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    found, skipped, seen = [], [], set()

    def refused(error: OSError) -> None:
        skipped.append((str(error.filename), f"no permission ({error.strerror})"))

    for here, below, files in os.walk(folder, onerror=refused, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below.sort()
        names = sorted(f for f in files if f.lower().endswith(SUFFIXES))
        found += [Path(here) / f for f in names]
    if not found:
        why = f" ({skipped[0][1]})" if skipped else ""
        raise ValueError(f"The folder {folder} holds no pictures{why}.")
    return found, skipped


def embed_files(rows, model) -> tuple[list[int], Tensor, list[tuple[int, str]]]:
    """Embed what can be read: (good places, (n, D) vectors, [(bad place, reason)])."""
    good, ready, bad = [], [], []
    for place, row in enumerate(rows):
        try:
            ready.append((model.preprocess(row) * 255).round().to(torch.uint8))
            good.append(place)
        except (ValueError, TypeError, OSError) as error:
            bad.append((place, str(error)))
    if not ready:
        return [], torch.empty(0, model.model.config.embed), bad
    return good, model.embed_images(torch.stack(ready)), bad
