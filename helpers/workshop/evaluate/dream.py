"""Does the picture show the words? ``python -m helpers.workshop.evaluate dream``.

Fifty captions of OpenMoji, drawn by lot, become pictures; the **judge**, which never
guided, says which of the fifty captions fits each picture. ``vqgan`` is the default of
the course, ``white`` the same without the sketch of DALL-E 2, ``plain`` with one guide
on one canvas from noise, ``pixel`` that on raw pixels. Give a last number for fewer
seeds (``evaluate dream vqgan 1``). The pictures are kept as PNGs, so a stopped run goes
on.
"""

import hashlib
import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ... import clip, corpus, vqgan
from ...dalle import unclip
from ...dream import Dream, Settings, distil, files, sketch
from ...dream.cutouts import whole
from ...dream.settings import opening
from ...pictures import to_tensor
from ...values import one_of

COUNT, SEEDS = 50, (0, 1, 2)
KEPT = Path("~/.cache/pictures-and-words/evaluate-dream").expanduser()
PLAIN = Settings(guides=("pocket",), canvases=(), start="noise")
RUNS = {
    "vqgan": Settings(),
    "white": Settings(start="white"),
    "plain": PLAIN,
    "pixel": replace(PLAIN, drawer="pixel", options={"block": 1}),
}


def captions() -> list[str]:
    """Fifty names of held-out drawings, drawn by lot before anything was tried."""
    names = sorted(
        {
            c["name"]
            for c in corpus.load("unseen_artist", progress=False).cards
            if c["group"]
            in ("animals-nature", "food-drink", "objects", "travel-places")
        }
    )
    return [corpus.article(n) for n in random.Random(2026).sample(names, COUNT)]


def fingerprint(model: torch.nn.Module) -> str:
    """A hash of all its weights."""
    raw = hashlib.sha256()
    for value in model.state_dict().values():
        raw.update(value.cpu().numpy().tobytes())
    return raw.hexdigest()[:16]


def rules() -> tuple:
    """What decides a sketch and how a dream follows it, beside settings and models."""
    numbers = [sketch.GENTLE, sketch.LIKED, sketch.VAGUE, sketch.COUNT, sketch.STEPS]
    numbers += [sketch.NEAR, sketch.SAME, sketch.PLAIN, distil.USUAL, *distil.TIMES]
    return *numbers, distil.GUIDANCE


def dreamed(kind: str, seeds=SEEDS) -> tuple[Tensor, list[float]]:
    """All pictures of a run, (N, 3, H, W) in [0, 1], and what their guides say of them.

    Seed by seed, in the order of the captions. What an earlier run with the same models
    and settings has drawn is read from its PNGs.
    """
    names, wish = captions(), RUNS[kind]
    guides, codes = [clip.load(name) for name in wish.guides], vqgan.load("pocket")
    mark = [guide.fingerprint for guide in guides]
    mark += [fingerprint(codes), json.dumps(asdict(wish), sort_keys=True)]
    if opening(wish) == "sketch":
        mark += [fingerprint(unclip.load().model), repr(rules())]
    folder = KEPT / f"{kind}-{hashlib.sha256(repr(mark).encode()).hexdigest()[:16]}"
    pictures, scores = [], []
    for seed in seeds:
        for n, name in enumerate(tqdm(names, desc=f"{kind}, seed {seed}")):
            path = folder / f"{seed}-{n:02d}.png"
            if not path.exists():
                settings = replace(wish, prompt=f'"{name}"', seed=seed)
                files.save(path, Dream(settings, guides, codes).run(progress=False))
            pictures.append(to_tensor(path))
            scores.append(files.read(path)[0]["score"])
    return torch.stack(pictures), scores


def results(kind: str, seeds=SEEDS, judges=("judge",)) -> dict[str, list[dict]]:
    """For each judge one row a picture: the rank of the right caption, both scores.

    ``judges``: names or paths; all see the same pictures. A judge that knows pictures
    of nothing says, too, whether this is one.
    """
    names, (pictures, scores) = captions(), dreamed(kind, seeds)
    out = {}
    for each in judges:
        judge = clip.load(each)
        wishes = judge.embed_texts(names)
        out[each] = [
            verdict(judge, picture, wishes, n % len(names)) | {"guide": score}
            for n, (picture, score) in enumerate(zip(pictures, scores, strict=True))
        ]
    return out


def verdict(judge: clip.Embedder, picture: torch.Tensor, wishes, right: int) -> dict:
    """What a judge says of a picture (3, H, W), given its ``wishes`` (N, D).

    The rank of the right one, its score, and whether "nothing" fits better still.
    """
    seen = whole(judge, picture[None].to(judge.device)).cpu()
    scores = wishes @ seen
    row = {"rank": int((scores > scores[right]).sum()), "judge": float(scores[right])}
    if "nothing" in judge.card:
        none = judge.embed_texts([judge.card["nothing"]])[0] @ seen
        row["nothing"] = bool(none > scores.max())
    return row


def fewer(words: list[str]) -> tuple[list[str], tuple[int, ...]]:
    """(names, seeds): a last number among the words asks for so many seeds.

    Raises ValueError with one sentence for a number that is none of them.
    """
    if not (words and words[-1].lstrip("-").isdigit()):
        return words, SEEDS
    *names, count = words
    if not 1 <= int(count) <= len(SEEDS):
        raise ValueError(f"There are 1 to {len(SEEDS)} seeds to take, not {count}.")
    return names, SEEDS[: int(count)]


def show(kinds: list[str], judges=("judge",)) -> None:
    kinds, seeds = fewer(kinds)
    kinds = [one_of("run", kind, RUNS) for kind in kinds or ["vqgan", "pixel"]]
    print(f"{COUNT} captions, {len(seeds)} seeds; chance in the top 5: 10 %")
    print(f"{'drawer':10s}{'top 1':>8s}{'top 5':>8s}{'guide':>8s}{'judge':>8s}")
    for kind in kinds:
        for name, rows in results(kind, seeds, judges).items():
            ranks = torch.tensor([r["rank"] for r in rows]).float()
            mean = {k: sum(r[k] for r in rows) / len(rows) for k in ("guide", "judge")}
            line = f"{kind:10s}{(ranks < 1).float().mean():8.1%}"
            line += f"{(ranks < 5).float().mean():8.1%}"
            line += f"{mean['guide']:8.2f}{mean['judge']:8.2f}"
            if "nothing" in rows[0]:
                none = sum(r["nothing"] for r in rows) / len(rows)
                line += f"  shows nothing: {none:.0%}"
            print(line + (f"  ({name})" if len(judges) > 1 else ""))
