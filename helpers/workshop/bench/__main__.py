"""How fast is it: ``python -m helpers.workshop.bench clip|search|vqgan|dream``.

Medians of several runs beside the peer in the same process, never a test. Peers are
open_clip and transformers with the same random weights, faiss used plainly, Taming
Transformers, and a step as the published notebooks write it.
"""

import argparse
import warnings

import torch

from . import clip_search, pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["clip", "search", "vqgan", "dream"])
    parser.add_argument("--largest", type=int, default=1_000_000)
    args = parser.parse_args()
    if args.largest < 10_000:
        parser.error(f"--largest is a whole number from 10,000, not {args.largest}")
    warnings.simplefilter("ignore")
    print(f"{torch.get_num_threads()} threads, medians")
    if args.what == "search":
        sizes = [n for n in (10_000, 100_000) if n < args.largest]
        clip_search.bench_search([*sizes, args.largest])
    elif args.what == "vqgan":
        pictures.bench_vqgan()
    elif args.what == "dream":
        pictures.bench_dream()
    else:
        clip_search.bench_ours()
        try:
            clip_search.bench_peers()
        except ImportError as error:
            again = "pip install -r helpers/tests/requirements.txt"
            print(f"No peers here ({error}): {again}")


if __name__ == "__main__":
    main()
