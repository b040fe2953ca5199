"""Teach a CLIP of ours your own pairs: one matrix behind the image tower.

A folder holds pictures and ``captions.csv``, one line a picture: "cat1.jpg, our cat
Momo". The towers stay as they are; a matrix A (D, D), the identity at first, turns
every picture's vector towards its caption. Mixed back with the identity it forgets less
(WiSE-FT, Wortsman et al. 2022), and folded into the tower it costs nothing.

Dims: N pictures, C different captions, D embedding.
"""

import csv
import os
import re
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import paths, weights, words
from ..values import alike, floats, number, short, whole
from . import files, official
from .embedder import Embedder

LIST = "captions.csv"
MARK = re.compile(r'"?sep=([,;|\t])"?[,;\s]*', re.I)  # a first line of Excel


def read_pairs(folder) -> tuple[list[Path], list[str]]:
    """The pictures of a folder and their captions, from its ``captions.csv`` (UTF-8).

    Each line: file name, comma, caption; further commas belong to the caption, and
    quotation marks close on their line. A first line "file,caption" is skipped; one
    before it may name another mark than the comma, as Excel does: "sep=;". Raises
    FileNotFoundError or ValueError with one sentence that names the line.
    """
    folder = paths.given(folder)
    table = folder / LIST
    if not os.path.isfile(table):
        raise FileNotFoundError(
            f"There is no {table}: write one line a picture, its file name, a comma "
            "and its caption."
        )
    try:
        lines = table.read_text("utf-8-sig").split("\n")  # also for \r\n and \r
    except UnicodeDecodeError:
        raise ValueError(f"{table} is not UTF-8 text: save it as UTF-8.") from None
    except OSError as error:
        raise ValueError(f"{table} cannot be read ({error.strerror}).") from None
    found, captions, mark, first = [], [], ",", 1
    if told := MARK.fullmatch(lines[0]):
        mark, first, lines[0] = told[1], 2, ""
    for n, line in enumerate(lines, 1):
        try:  # each line by itself: an open mark must not swallow those below it
            row = csv.reader([line], delimiter=mark, skipinitialspace=True, strict=True)
            row = next(row, [])
        except csv.Error:
            raise ValueError(
                f"Line {n} of {table} cannot be read: quotation marks must close "
                'on their line; write "" for a mark inside of them.'
            ) from None
        cells = [cell.strip() for cell in row]
        head = [cell.lower() for cell in cells[:2]]
        if not any(cells) or (n == first and head == ["file", "caption"]):
            continue
        name, caption = cells[0], f"{mark} ".join(cells[1:]).strip(f" {mark}")
        place, called = f"Line {n} of {table}", "comma" if mark == "," else repr(mark)
        if not (name and words.fold(caption)):
            other = re.search(r"[;\t|]", line) if mark == "," else None
            hint = f", or sep={other[0]} as the first line" if other else ""
            raise ValueError(
                f"{place} needs a file name, a {called} and a caption{hint}."
            )
        if not os.path.isfile(folder / name):
            raise ValueError(
                f"{place} names {short(name, 80)}, which is not in the folder."
            )
        found.append(folder / name)
        captions.append(caption)
    many = len({words.fold(caption).casefold() for caption in captions})
    if many < 2:
        raise ValueError(
            f"{table} has {many} different captions; at least two are needed, or there "
            "is nothing to tell apart."
        )
    return found, captions


def fit(images: Tensor, words: Tensor, steps: int = 100, scale: float = 20.0) -> Tensor:
    """Learn the matrix: pictures (N, D) and their captions (N, D) -> A (D, D).

    Both of length 1; equal captions count as one class. Softmax over the captions,
    Adam, all pictures at once: a second on a CPU. Raises ValueError with one sentence.
    """
    images, words = alike(images, words)
    steps, scale = whole("The steps", steps, 0, 100_000), number("The scale", scale)
    if images.shape != words.shape:
        raise ValueError(
            f"Each picture has one caption, (N, D) and (N, D), not "
            f"{tuple(images.shape)} and {tuple(words.shape)}."
        )
    classes, label = words.unique(dim=0, return_inverse=True)
    with torch.enable_grad():
        A = torch.eye(images.shape[1], device=images.device).requires_grad_(True)
        optimiser = torch.optim.Adam([A], lr=1e-3)
        for _ in range(steps):
            scores = scale * F.normalize(images @ A.T, dim=-1) @ classes.T
            optimiser.zero_grad()
            F.cross_entropy(scores, label).backward()
            optimiser.step()
    return A.detach()


def mixed(A: Tensor, share: float) -> Tensor:
    """``share`` of what was learnt, the rest as before: (1 - share) I + share A."""
    share = number("The share", share, 0, 1)
    return torch.eye(len(A), device=A.device).lerp(A, share)


def turned(images: Tensor, A: Tensor) -> Tensor:
    """What the tuned model would give for pictures: (N, D), (D, D) -> (N, D)."""
    images, A = alike(images, A)
    return F.normalize(images @ A.T, dim=-1)


@torch.no_grad()
def fold(model: Embedder, A: Tensor) -> Embedder:
    """A copy of the model whose image tower has A built in; the old one stays.

    Raises ValueError for OpenAI's and LAION's models: our files cannot hold them, and
    for a matrix of another width.
    """
    if model.name in official.OFFICIAL:
        raise cannot_save(model)
    width = model.model.config.embed
    A = floats("The rows of A", A, width)
    if len(A) != width:
        raise ValueError(f"A turns {width} numbers into as many, not {len(A)}.")
    network = deepcopy(model.model)
    tower = network.visual
    A = A.to(model.device)
    if isinstance(getattr(tower, "proj", None), nn.Parameter):  # a transformer
        tower.proj.copy_(tower.proj @ A.T)
    else:  # three ways that are added
        for layer in (tower.proj, tower.classes, tower.colour.mix[-1]):
            layer.weight.copy_(A @ layer.weight)
        tower.proj.bias.copy_(A @ tower.proj.bias)
    name, card = f"{model.name}, tuned", model.card | {"tuned from": model.name}
    return Embedder(name, network, model.tokenizer, card, model.device)


def cannot_save(model: Embedder) -> ValueError:
    return ValueError(f'"{model.name}" cannot be saved: tune "pocket" or "scratch".')


def tuned(path: Path) -> bool:
    """Is this a file that ``tune`` has written?"""
    try:
        metadata = weights.read(path, "clip")[1]
        return "tuned from" in weights.note(metadata, "card", path)
    except (ValueError, FileNotFoundError):
        return False


def tune(folder, model: Embedder, out, share: float = 0.5, steps: int = 100) -> Path:
    """Learn the pairs of a folder and save the tuned model to ``out`` (.safetensors).

    ``share``: how much of the change stays. ``clip.load(out)`` reads the file; an
    earlier tuned model of that name is replaced, any other file is not. All is checked
    before the pictures are looked at. Raises FileNotFoundError, PermissionError or
    ValueError with one sentence.
    """
    if not isinstance(model, Embedder):
        raise ValueError(f"Tune what clip.load gives, not {short(model)}.")
    if model.name in official.OFFICIAL:
        raise cannot_save(model)
    share = number("The share", share, 0, 1)
    steps = whole("The steps", steps, 1, 100_000)
    out = paths.given(out)
    if out.suffix != ".safetensors":
        raise ValueError(f"{out} must end in .safetensors, or no load would know it.")
    if os.path.exists(out) and not tuned(out):  # False for a name that is too long
        raise ValueError(f"{out} is there and no tuned model: choose another name.")
    found, captions = read_pairs(folder)
    weights.check_writable(out)
    keys = [words.fold(caption).casefold() for caption in captions]
    first = {key: n for n, key in reversed(list(enumerate(keys)))}
    goals = model.embed_texts([captions[n] for n in first.values()])
    rows = dict(zip(first, goals, strict=True))  # one caption, one vector to the bit
    goals = torch.stack([rows[key] for key in keys])
    A = mixed(fit(model.embed_images(found), goals, steps), share)
    ready = fold(model, A)
    pairs = {"pairs": len(found), "captions": sorted(set(captions))[:50]}
    card = ready.card | {"tuned on": pairs | {"share": share, "steps": steps}}
    files.save_clip(out, ready.model.cpu(), ready.tokenizer, card)
    return out
