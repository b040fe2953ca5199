"""The parts of a large index: one file each, vectors with a card, made by any machine.

A part is a safetensors file of two tensors: ``vectors`` (n, D), and ``card``, JSON as
bytes with the names and what was skipped.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .. import paths

ENDING = ".safetensors"


def write(file: Path, card: dict, vectors: Tensor) -> None:
    """Write a part, whole or not at all. ``card``: "names", one a row, and more."""
    text = json.dumps(card | {"count": len(vectors)}).encode()  # ASCII: any name
    card = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    made = file.with_suffix(".making")
    save_file({"vectors": vectors.float().contiguous(), "card": card}, made)
    made.replace(file)


def read(file: Path) -> tuple[dict, Tensor]:
    """(card, vectors) of a part. Raises ValueError with one sentence if damaged."""
    file = paths.given(file)
    card = card_of(file)
    with safe_open(file, "pt") as content:
        vectors = content.get_tensor("vectors")
    if len(card["names"]) != len(vectors):
        raise ValueError(f"The part {file.name} is damaged: delete it, embed again.")
    return card, vectors


def card_of(file: Path) -> dict:
    """The card alone: the vectors stay on the disk."""
    file = paths.given(file)
    try:
        with safe_open(file, "pt") as content:
            card = json.loads(bytes(content.get_tensor("card").numpy()))
        card["names"], card["count"]
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no part {file}.") from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The part {file.name} is damaged ({str(error)[:60]}): delete it, embed "
            "again."
        ) from None
    return card


def row(file: Path, number: int) -> Tensor:
    """One vector (D,) of a part."""
    with safe_open(file, "pt") as content:
        return content.get_slice("vectors")[number : number + 1][0]
