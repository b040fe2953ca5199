"""Train a model of the course: ``python -m helpers.workshop.train NAME``.

NAME is a file of recipes/: each has a function ``train(steps, seed, resume, out,
device)`` and the name of its file in data/models, ``FILE``. A new model is one new file
there. All runs are seeded and resumable (a checkpoint every 90 seconds in the cache
folder); the finished file lands in data/models with its card in the metadata. Most
recipes also need the packages that helpers/workshop/requirements.txt lists.
"""

import argparse
from importlib import import_module
from pathlib import Path

import torch

from .. import paths
from ..device import pick_device

RECIPES = Path(__file__).with_name("recipes")


def names() -> list[str]:
    """All recipes, by the names of their files."""
    return sorted(p.stem for p in RECIPES.glob("*.py") if p.stem != "__init__")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=names())
    parser.add_argument("--steps", type=int, help="instead of those of the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="instead of a file in data/models")
    parser.add_argument("--device", help="cpu, cuda ...; a GPU if there is one")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--fresh", action="store_true", help="ignore the checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = import_module(f"{__package__}.recipes.{args.model}")
    recipe.train(
        seed=args.seed,
        resume=not args.fresh,
        out=args.out or paths.MODELS / recipe.FILE,
        device=pick_device(args.device),
        **({"steps": args.steps} if args.steps else {}),
    )


if __name__ == "__main__":
    main()
