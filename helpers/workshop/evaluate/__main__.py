"""Measure what we ship: ``python -m helpers.workshop.evaluate WHAT``.

The splits ``unseen_artist``, ``unseen_concept`` and ``photos`` are for this alone: no
training sees them.
"""

import argparse
from importlib import import_module

DEFAULTS = {
    "clip": ["pocket", "scratch"],
    "vqgan": ["pocket"],
    "dream": ["vqgan", "pixel"],
    "dalle1": ["dalle1"],
    "unclip": ["unclip"],
    "fits": ["pocket"],
    "frechet": [],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(DEFAULTS))
    parser.add_argument("models", nargs="*")
    parser.add_argument("--judges", nargs="+", help="of dream: names or files")
    args = parser.parse_args()
    module = import_module(f"{__package__}.{args.what}")
    if args.judges and args.what != "dream":
        parser.error(f"--judges is an option of dream, not of {args.what}")
    more = {"judges": args.judges} if args.judges else {}
    try:
        module.show(args.models or DEFAULTS[args.what], **more)
    except (ValueError, FileNotFoundError) as error:  # no such model, a damaged one
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
