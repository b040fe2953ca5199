"""Measure what we ship: ``python -m helpers.workshop.evaluate clip|vqgan|dream``.

The splits ``unseen_artist``, ``unseen_concept`` and ``photos`` are for this alone: no
training sees them.
"""

import argparse
from importlib import import_module

DEFAULTS = {
    "clip": ["pocket", "scratch"],
    "vqgan": ["pocket"],
    "dream": ["vqgan", "pixel"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(DEFAULTS))
    parser.add_argument("models", nargs="*")
    args = parser.parse_args()
    module = import_module(f"{__package__}.{args.what}")
    module.show(args.models or DEFAULTS[args.what])


if __name__ == "__main__":
    main()
