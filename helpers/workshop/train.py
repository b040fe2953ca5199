"""Train a model of the course: ``python -m helpers.workshop.train NAME``.

NAME is a file of recipes/: each has a function ``train(steps, seed, out, device)`` and
the name of its file in data/models, ``FILE``. A new model is one new file there. What a
recipe's ``train`` takes besides is an option of this command (``train NAME --help``).
All runs are seeded. Those made for a CPU are resumable (a checkpoint every 90 seconds
in the cache folder); those made for minutes of a GPU take ``--seconds`` instead. With
``torchrun --nproc-per-node 2 -m helpers.workshop.train scratch`` the recipes that say
``MANY`` train on many machines. The finished file lands in data/models with its card in
the metadata. Most recipes also need the packages that helpers/workshop/requirements.txt
lists.
"""

import argparse
import math
import os
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import get_args

import torch

from .. import paths, weights
from ..device import pick_device

RECIPES = Path(__file__).with_name("recipes")
COMMON = ("steps", "seconds", "seed", "resume", "out", "device")


def names() -> list[str]:
    """All recipes, by the names of their files."""
    return sorted(p.stem for p in RECIPES.glob("*.py") if p.stem != "__init__")


def options(train) -> dict[str, type]:
    """What a recipe takes besides, by name: numbers, words, files, yes or no."""
    out = {}
    for name, parameter in signature(train).parameters.items():
        kinds = get_args(parameter.annotation) or (parameter.annotation,)
        if name not in COMMON and kinds[0] in (int, float, str, Path, bool):
            out[name] = kinds[0]
    return out


def misfit(option: str, value) -> str:
    """What an option should be, if its value is not that; "" if it is."""
    if type(value) is int:
        least = 0 if option in ("seed", "fight") else 1
        return "" if least <= value < 2**63 else f"is a whole number from {least}"
    if option == "share" and value is not None:
        return "" if 0 < value <= 1 else "is a number above 0, at most 1"
    if isinstance(value, float):
        good = 0 <= value < math.inf and (value > 0 or option != "seconds")
        return "" if good else f"is a number {'from' if value else 'above'} 0"
    if isinstance(value, Path) and not value.is_file():
        return "is a file that is there"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=names())
    parser.add_argument("--steps", type=int, help="instead of those of the recipe")
    parser.add_argument("--seconds", type=float, help="as many steps as fit into them")
    parser.add_argument("--seed", type=int, help="instead of the recipe's own")
    parser.add_argument("--out", help="instead of a file in data/models")
    parser.add_argument("--device", help="cpu, cuda ...; a GPU if there is one")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--fresh", action="store_true", help="ignore the checkpoint")
    name = next((word for word in sys.argv[1:] if word in names()), None)
    recipe = import_module(f"{__package__}.recipes.{name}") if name else None
    own = options(recipe.train) if name else {}
    for option, kind in own.items():
        more = {"action": "store_true"} if kind is bool else {"type": kind}
        more |= {"type": paths.given} if kind is Path else {}
        parser.add_argument(f"--{option.replace('_', '-')}", **more)
    args = parser.parse_args()
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not hasattr(recipe, "MANY"):
        parser.error(f"{name} trains in one process: start it without torchrun")
    for option, value in vars(args).items():
        if wrong := misfit(option, value):
            parser.error(f"--{option.replace('_', '-')} {wrong}, not {value}")
    torch.set_num_threads(args.threads)
    given = {k: getattr(args, k) for k in ("steps", "seconds", "seed", *own)}
    given = {k: v for k, v in given.items() if v is not None and v is not False}
    given |= {"resume": False} if args.fresh else {}
    takes = signature(recipe.train).parameters
    for option in set(given) - set(takes):
        if not any(p.kind == p.VAR_KEYWORD for p in takes.values()):
            word = "fresh" if option == "resume" else option
            parser.error(f"{name} takes no --{word}")
    try:  # before the work, not after it
        out = paths.given(paths.MODELS / recipe.FILE if args.out is None else args.out)
        device = pick_device(args.device)
        weights.check_writable(out)
    except (RuntimeError, OSError, ValueError) as error:
        parser.error(str(error))
    try:
        recipe.train(out=out, device=device, **given)
    except ValueError as error:  # a file of another kind, what many cannot share
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
