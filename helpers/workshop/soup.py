"""The mean of several trainings of one model: ``... workshop.soup OUT FILE FILE ...``.

Each training went on from the file before, or all from one. Their mean often does
better than each ("model soups", Wortsman et al. 2022, https://arxiv.org/abs/2203.05482).
The card is that of the last file; ``soup`` in it says which others it holds. Measure
before you believe: two trainings from different beginnings have no useful mean.
"""

import argparse
import json
from pathlib import Path

import torch

from .. import paths, weights
from ..download import sha256


def soup(out: Path, files: list[Path]) -> Path:
    """Write the mean of the floats of ``files``; what else they hold must be the same.

    Raises ValueError or FileNotFoundError with one sentence: a file that is none of
    ours, fewer than two, or models that differ in kind, sizes or words.
    """
    files = [paths.given(file) for file in files]
    if len(files) < 2:
        raise ValueError("A mean needs two files at least.")
    kind = weights.kind_of(files[0])
    read = [weights.read(file, kind) for file in files]
    first, told = read[0]
    for file, (tensors, metadata) in zip(files, read, strict=True):
        like = {k: (v.shape, v.dtype) for k, v in tensors.items()}
        if metadata.get("config") != told.get("config") or like != {
            k: (v.shape, v.dtype) for k, v in first.items()
        }:
            raise ValueError(f"{file} holds a model of other sizes than {files[0]}.")
        fixed = [k for k, v in tensors.items() if not v.is_floating_point()]
        fixed = [k for k in fixed if not k.endswith("num_batches_tracked")]
        if not all(torch.equal(tensors[k], first[k]) for k in fixed):
            raise ValueError(f"{file} reads other words than {files[0]}.")
    mean = {
        k: torch.stack([t[k].double() for t, _ in read]).mean(0).to(v.dtype)
        if v.is_floating_point()
        else v
        for k, v in first.items()
    }
    metadata = read[-1][1]
    card = weights.note(metadata, "card", files[-1])
    card["soup"] = {file.name: sha256(file)[:16] for file in files}
    out = paths.given(out)
    weights.save(out, mean, metadata | {"card": json.dumps(card)})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    try:
        print("written:", soup(args.out, args.files))
    except (ValueError, FileNotFoundError, PermissionError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
