"""Speed of CLIP and of search: see ``python -m helpers.workshop.bench clip|search``."""

import contextlib
import ctypes
import gc
import resource
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ... import clip, corpus, search
from ...clip import fast, official
from ...corpus import dataset
from ...search import disk
from .timing import beside, median_time

WORDS = ("a photo of a cat", "a red apple", "two people in a boat", "city at night")


def bench_ours() -> None:
    """The two shipped models and the decoding of the train split."""
    split = corpus.load("unseen_artist", progress=False)
    pictures = split.pictures(range(256))
    texts = [c["name"] for c in split.cards[:1024]]
    for name in ("pocket", "scratch"):
        model = clip.load(name)
        seen = len(pictures) / median_time(lambda m=model: m.embed_images(pictures), 5)
        read = len(texts) / median_time(lambda m=model: m.embed_texts(texts), 5)
        print(f"{name:8s} {seen:7.0f} pictures/s {read:8.0f} captions/s")
    dataset._loaded.clear()
    began = time.perf_counter()
    count = len(corpus.load("train", progress=False))
    print(f"decoding train: {count:,} pictures in {time.perf_counter() - began:.1f} s")


@torch.no_grad()
def bench_peers(name: str = "ViT-B/32", batch: int = 16) -> None:
    """ViT-B/32 with the same random weights in our code, open_clip and transformers."""
    import open_clip
    import transformers

    config = official.OFFICIAL[name].config
    ours = fast.speed_up(clip.CLIP(config).eval())
    peer = open_clip.create_model("ViT-B-32-quickgelu").eval()
    peer.load_state_dict(ours.state_dict())
    act = {"hidden_act": "quick_gelu"}
    third = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=act | {"vocab_size": 49408, "eos_token_id": 49407},
            vision_config=act,
        )
    ).eval()
    images = torch.rand(batch, 3, 224, 224)
    tokens = official.tokenizer()([WORDS[i % 4] for i in range(batch)])
    gap = (ours.encode_image(images) - seen_by(peer, ours, images)).abs().max()
    print(f"{name}, random weights, batch {batch}; largest difference {gap:.1e}")
    rows = {
        "ours": lambda: ours.encode_image(images),
        "open_clip": lambda: peer.encode_image(images),
        "transformers": lambda: third.get_image_features(pixel_values=images),
    }
    report("pictures", rows, batch)
    rows = {
        "ours": lambda: ours.encode_text(tokens),
        "open_clip": lambda: peer.encode_text(tokens),
        "transformers": lambda: third.get_text_features(input_ids=tokens),
    }
    report("short prompts", rows, batch)


def seen_by(peer, ours, images):
    seen = (images - ours.pixel_mean) / ours.pixel_std
    return peer.encode_image(seen, normalize=True)


def report(what: str, rows: dict, count: int) -> None:
    spent = beside(rows)
    best = min(v for k, v in spent.items() if k != "ours")
    for name, seconds in spent.items():
        print(f"  {name:14s} {count / seconds:8.1f} {what}/s")
    print(f"  ours is {best / spent['ours']:.2f}x the faster peer")


def vectors(count: int, width: int = 512, seed: int = 0) -> torch.Tensor:
    """Unit vectors that crowd around centres, as those of real pictures do."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(2000, 48, generator=g)
    basis = torch.randn(48, width, generator=g) / 48**0.5
    out = torch.empty(count, width)
    for at in range(0, count, 50_000):
        n = min(50_000, count - at)
        rows = torch.randint(len(centres), (n,), generator=g)
        low = centres[rows] + 0.7 * torch.randn(n, 48, generator=g)
        noise = 0.05 * torch.randn(n, width, generator=g)
        out[at : at + n] = F.normalize(low @ basis + noise, dim=1)
    return out


def overlap(found, truth) -> float:
    """Recall of an approximate search: the share of the true neighbours it found."""
    rows = zip(found, truth, strict=True)
    return sum(len(set(a) & set(b)) for a, b in rows) / truth.size


def bench_search(sizes=(10_000, 100_000, 1_000_000), folder=None) -> None:
    """Time, recall and memory: ours beside faiss used plainly, each size in one run.

    ``folder``: where the lists on disk lie for the while; a temporary one without it.
    """
    for count in sizes:
        x = vectors(count + 200)
        queries, x = x[:200].numpy(), x[200:].numpy()
        print(f"{count:,} x {x.shape[1]}: {x.nbytes / 1e9:.2f} GB of vectors")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            truth = None
            for name, make in ways(x, place).items():
                truth = report_index(name, make, queries, truth)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"  memory of the process at most {peak:.1f} GB", flush=True)


def report_index(name: str, make, queries: np.ndarray, truth) -> np.ndarray:
    """Print a line about one index; the true neighbours, its own if none are given."""
    before, began = resident(), time.perf_counter()
    near = make()
    built, held = time.perf_counter() - began, resident() - before
    found = near.search(queries, 10)[1]
    held = max(held, resident() - before)  # lists on disk: what was read counts
    truth = found if truth is None else truth
    spent = median_time(partial(near.search, queries[:16], 10), 5)
    print(
        f"  {name:22s} {1000 * spent / 16:8.3f} ms a query, recall@10 "
        f"{overlap(found, truth):.3f}, {held / 1e6:6.0f} MB, built in {built:.0f} s",
        flush=True,
    )
    return truth


def ways(x: np.ndarray, folder: str) -> dict:
    """Name -> how to make an index over the rows of ``x``; the first one is exact.

    ``folder``: where the lists of the last one lie.
    """
    import faiss

    def plain(recipe: str):
        index = faiss.index_factory(x.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
        index.train(x[: min(len(x), 200_000)])
        index.add(x)
        if recipe.startswith("IVF"):
            index.nprobe = probes
        return index

    def on_disk():
        index = disk.learn(x[:: max(1, len(x) // disk.TAUGHT)], len(x))
        blocks = (x[at : at + 50_000] for at in range(0, len(x), 50_000))
        disk.fill(index, blocks, Path(folder) / "index")
        del index
        return faiss.read_index(f"{folder}/index.faiss")

    lists, probes = disk.lists_for(len(x), len(x))
    codes = f"IVF{lists},PQ{x.shape[1] // 8}"
    tensor = torch.from_numpy(x)
    return {
        "faiss Flat": partial(plain, "Flat"),
        "exact, ours": partial(search.neighbours, tensor, "exact"),
        "faiss HNSW32": partial(plain, "HNSW32"),
        "hnsw, ours": partial(search.neighbours, tensor, "hnsw"),
        "ivf, ours": partial(search.neighbours, tensor, "ivf"),
        f"faiss {codes}": partial(plain, codes),
        "IVF-PQ on disk, ours": on_disk,
    }


def resident() -> int:
    """Bytes of memory that this process holds now (0 where the system hides it).

    What was freed is given back first, so that it cannot hide what is made next.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc
    try:
        pages = Path("/proc/self/statm").read_text("utf-8").split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()
