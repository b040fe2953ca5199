"""``scratch``: the CLIP of the paper in small, from random weights, drawings alone."""

import math
import random
from pathlib import Path

import torch
from torch import Tensor, nn

from ... import corpus
from ...clip import CLIP, Config, contrastive_loss, fast
from ...clip.tokenizer import Tokenizer, learn_merges
from ...corpus import augment
from ..evaluate.clip import finish
from ..run import WORK, Average, Run, groups, half, in_pairs, learning_rate

FILE = "scratch.safetensors"


def two_optimisers(model: CLIP, peak: float) -> dict[str, torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the rest ("peak" in each group).

    Muon makes every step of a matrix orthogonal and so learns in fewer steps (Jordan
    2024). A torch without it (before 2.9) gets AdamW for all.
    """
    Muon = getattr(torch.optim, "Muon", None)
    named = model.named_parameters()
    inner = [p for n, p in named if Muon and "resblocks" in n and p.ndim == 2]
    known = {id(p) for p in inner}
    rest = groups(model, 0.1)
    for group in rest:
        group["params"] = [p for p in group["params"] if id(p) not in known]
        group["peak"] = peak
    both = {"optimiser": torch.optim.AdamW(rest, betas=(0.9, 0.98), eps=1e-6)}
    if inner:
        inner = [{"params": inner, "peak": 2 * peak}]
        both["muon"] = Muon(inner, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    return both


class Draw:
    """Seeded batches: pictures drawn by weight, a fresh caption for each.

    ``weight``: how often a picture is drawn; silhouettes are a third of the split and
    say little, so they count 0.15.
    """

    def __init__(self, split: corpus.Corpus, batch: int, seed: int):
        self.split, self.batch = split, batch
        self.g = torch.Generator().manual_seed(seed)
        self.rng = random.Random(seed)
        weight = [0.15 if c["source"] == "gameicons" else 1.0 for c in split.cards]
        self.weight = torch.tensor(weight)
        names = {
            c: n for n, c in enumerate(sorted({c["concept"] for c in split.cards}))
        }
        self.concept = torch.tensor([names[c["concept"]] for c in split.cards])

    def __call__(self, persian: float) -> tuple[Tensor, list[str], Tensor]:
        rows = torch.multinomial(self.weight, self.batch, generator=self.g)
        cards = [self.split.cards[i] for i in rows.tolist()]
        captions = [corpus.caption(card, self.rng, persian) for card in cards]
        ids = self.concept[rows]
        return rows, captions, ids[:, None] == ids[None]


def caption_texts(split: corpus.Corpus) -> list[str]:
    """Every name, keyword and Persian name of a split, once per picture."""
    texts = []
    for c in split.cards:
        texts += [c["name"], *c.get("keywords", []), c["style"]]
        texts += [t for t in [c.get("name_fa"), *c.get("keywords_fa", [])] if t]
        texts.append(f"a picture of {corpus.article(c['name'])}")
    return texts


def train(
    steps: int = 4000,
    seed: int = 0,
    resume: bool = True,
    out: Path | None = None,
    device="cpu",
    batch: int = 256,
    split: corpus.Corpus | None = None,
    peak: float = 1e-3,
) -> CLIP:
    """Train on the train split alone; with ``out`` also save and measure."""
    split = split or corpus.load("train", size=80)
    torch.manual_seed(seed)
    config = Config()
    tokenizer = Tokenizer(
        learn_merges(caption_texts(split), config.vocab - 514), config.context
    )
    config.vocab = len(tokenizer)
    model = fast.speed_up(CLIP(config).to(device))
    average = Average(model, 0.995)
    optimisers = two_optimisers(model, peak)
    draw = Draw(split, batch, seed)
    path = WORK / "scratch.checkpoint"
    parts = {"model": model} | optimisers
    run = Run("scratch", path, parts, average, draw.g, steps, resume, device)
    if run.saved:
        draw.rng.setstate(run.saved["rng"])
    for step in run:
        rows, captions, positive = draw(persian=0.2)
        images = augment.random_views(split.rgba[rows], config.image_size, draw.g)
        images, own = in_pairs(images, draw.g)
        own = own[:, None]
        shown = (own * positive + (1 - own) * positive.roll(1, 0)).to(device)
        for group in [g for o in optimisers.values() for g in o.param_groups]:
            group["lr"] = learning_rate(step, steps, group["peak"], 300)
        with half(device):
            image = model.encode_image(images.to(device))
            text = model.encode_text(tokenizer(captions).to(device))
        logits = model.scale() * image @ text.T
        loss = contrastive_loss(logits, shown)
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers.values():
            optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        average.update(model, step)
        if run.due(step):
            best = logits.argmax(1).cpu()
            right = positive[torch.arange(batch), best].float().mean()
            print(f"step {step} loss {loss:.3f} right {right:.3f}", flush=True)
            run.save(step, rng=draw.rng.getstate())
    model.load_state_dict(average.state)
    model.eval()
    kinds = [type(o).__name__ for o in optimisers.values()]
    card = run.facts(model="scratch", seed=seed, batch=batch, optimisers=kinds)
    if out:
        finish(out, model, tokenizer, card)
    return model
