"""Does the picture show the words? ``python -m helpers.workshop.evaluate dream``.

Fifty captions of OpenMoji, drawn by lot, become pictures; the **judge**, which never
guided, says which of the fifty captions fits each picture. ``vqgan`` is the default of
the course, ``pixel`` the same guide on raw pixels, to show what the VQGAN adds. Give
a last number for fewer seeds (``evaluate dream vqgan 1``). Results are kept, so a
stopped run goes on.
"""

import hashlib
import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ... import clip, corpus, vqgan
from ...dream import Dream, Settings
from ...dream.cutouts import whole

COUNT, SEEDS = 50, (0, 1, 2)
KEPT = Path("~/.cache/pictures-and-words/evaluate-dream.json").expanduser()
RUNS = {
    "vqgan": Settings(steps=100),
    "pixel": Settings(drawer="pixel", options={"block": 1}, steps=100),
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


def read() -> dict:
    """What earlier runs left: {mark of models and settings: {seed caption: row}}."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def fingerprint(model: torch.nn.Module) -> str:
    """A hash of all its weights."""
    raw = hashlib.sha256()
    for value in model.state_dict().values():
        raw.update(value.cpu().numpy().tobytes())
    return raw.hexdigest()[:16]


def results(kind: str, seeds=SEEDS) -> list[dict]:
    """One row a picture: the rank of the right caption, and both scores."""
    names = captions()
    guides, judge = [clip.load("pocket")], clip.load("judge")
    codes = vqgan.load("pocket")
    wishes = judge.embed_texts(names)
    mark = f"{kind} {guides[0].fingerprint} {judge.fingerprint} "
    mark += fingerprint(codes) if kind == "vqgan" else "-"
    mark += f" {json.dumps(asdict(RUNS[kind]), sort_keys=True)}"
    rows = read().get(mark, {})
    for seed in seeds:
        for n, name in enumerate(tqdm(names, desc=f"{kind}, seed {seed}")):
            if f"{seed} {n}" in rows:
                continue
            settings = replace(RUNS[kind], prompt=f'"{name}"', seed=seed)
            frame = Dream(settings, guides, codes).run(progress=False)
            picture = frame.picture[None].to(judge.device)
            scores = wishes @ whole(judge, picture).cpu()
            rows[f"{seed} {n}"] = {
                "rank": int((scores > scores[n]).sum()),
                "guide": frame.score,
                "judge": float(scores[n]),
            }
            kept = read()  # another process may have written meanwhile
            kept.setdefault(mark, {}).update(rows)
            KEPT.parent.mkdir(parents=True, exist_ok=True)
            KEPT.write_text(json.dumps(kept))
    return [rows[f"{s} {n}"] for s in seeds for n in range(len(names))]


def show(kinds: list[str]) -> None:
    seeds = SEEDS
    if kinds and kinds[-1].isdigit():  # a last number: so many seeds
        *kinds, count = kinds
        seeds = SEEDS[: int(count)]
    print(f"{COUNT} captions, {len(seeds)} seeds; chance in the top 5: 10 %")
    print(f"{'drawer':10s}{'top 1':>8s}{'top 5':>8s}{'guide':>8s}{'judge':>8s}")
    for kind in kinds or ["vqgan", "pixel"]:
        rows = results(kind, seeds)
        ranks = torch.tensor([r["rank"] for r in rows]).float()
        mean = {k: sum(r[k] for r in rows) / len(rows) for k in ("guide", "judge")}
        print(
            f"{kind:10s}{(ranks < 1).float().mean():8.1%}"
            f"{(ranks < 5).float().mean():8.1%}{mean['guide']:8.2f}{mean['judge']:8.2f}"
        )
