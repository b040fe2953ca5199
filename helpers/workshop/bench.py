"""How fast is it: ``python -m helpers.workshop.bench clip`` (medians, never a test)."""

import argparse
import statistics
import time

import torch

from .. import clip, corpus


def median_rate(function, count: int, repeats: int = 5) -> float:
    """Items a second: the median of several runs after a warm-up."""
    function()
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def bench_clip() -> None:
    split = corpus.load("unseen_artist", progress=False)
    pictures = split.pictures(range(256))
    texts = [c["name"] for c in split.cards[:1024]]
    print(f"{torch.get_num_threads()} threads, medians of 5 runs")
    for name in ("pocket", "scratch"):
        model = clip.load(name)
        seen = median_rate(lambda m=model: m.embed_images(pictures), len(pictures))
        read = median_rate(lambda m=model: m.embed_texts(texts), len(texts))
        print(f"{name:8s} {seen:7.0f} pictures/s {read:8.0f} captions/s")
    corpus._loaded.clear()
    began = time.perf_counter()
    count = len(corpus.load("train", progress=False))
    print(f"decoding train: {count:,} pictures in {time.perf_counter() - began:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["clip"])
    parser.parse_args()
    bench_clip()


if __name__ == "__main__":
    main()
