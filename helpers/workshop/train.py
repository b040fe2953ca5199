"""Train what we ship: ``python -m helpers.workshop.train MODEL``.

MODEL is scratch, pocket, vqgan, prior, judge or gan. All runs are seeded and resumable
(a checkpoint every 90 seconds in the cache folder); the finished file lands in
data/models with its card in the metadata. All but ``scratch`` and ``gan`` also need the
packages that helpers/workshop/requirements.txt lists.
"""

import argparse
import hashlib
import json
import math
import random
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import augment, corpus, paths, weights
from ..clip import CLIP, Config, contrastive_loss
from ..tokenizer import Tokenizer, learn_merges

MIX = 0.4  # at most this share of another picture is mixed in
WORK = Path("~/.cache/pictures-and-words/training").expanduser()


def data_hash() -> str:
    """One hash over all shards of the train split, as the manifest lists them."""
    manifest = json.loads((paths.CORPUS / "manifest.json").read_text())
    rows = [
        v[2] for k, v in sorted(manifest["shards"].items()) if k.startswith("train")
    ]
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def learning_rate(step: int, steps: int, peak: float, warm: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warm:
        return peak * (step + 1) / warm
    part = (step - warm) / max(1, steps - warm)
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)


def groups(model: nn.Module, decay: float) -> list[dict]:
    """Parameters with weight decay (matrices) and without (gains, biases)."""
    params = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in params if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
    ]


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


class Average:
    """An exponential moving average of the weights (and a plain copy of buffers)."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        rate = min(self.decay, (step + 1) / (step + 10))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - rate)
            else:
                self.state[key].copy_(value)


class Run:
    """One resumable run: iterate over its steps, save when due, ask for its minutes.

    ``parts``: what has a state_dict (model, optimisers); with ``average`` and the
    generator ``g`` it goes on where the checkpoint at ``path`` stands, if ``resume``.
    ``saved``: what else that checkpoint holds, {} without one.
    """

    def __init__(self, name, path: Path, parts, average, g, steps: int, resume=True):
        self.name, self.path, self.parts, self.steps = name, path, parts, steps
        self.average, self.g = average, g
        self.saved = {}
        if resume and path.exists():
            self.saved = torch.load(path, weights_only=False)  # our own file
            for key, part in parts.items():
                part.load_state_dict(self.saved.pop(key))
            average.state = self.saved["average"]
            g.set_state(self.saved["g"])
        self.first = self.saved.get("step", 0)
        self.before = self.saved.get("minutes", 0.0)
        self.began = self.last = time.time()

    def __iter__(self):
        steps = range(self.first, self.steps)
        self.bar = tqdm(
            steps, self.name, initial=self.first, total=self.steps, mininterval=10
        )
        return iter(self.bar)

    def minutes(self) -> float:
        """Of training so far, all sessions together."""
        return round(self.before + (time.time() - self.began) / 60, 1)

    def due(self, step: int) -> bool:
        """Time to print and save? Every 90 s, soon after the start, at the end."""
        late = time.time() - self.last > 90
        return late or step in (self.first + 20, self.steps - 1)

    def save(self, step: int, **more) -> None:
        """Write the checkpoint whole or not at all; ``saved`` gives ``more`` back."""
        self.last = time.time()
        state = {k: v.state_dict() for k, v in self.parts.items()} | more
        state |= {"average": self.average.state, "g": self.g.get_state()}
        state |= {"step": step + 1, "minutes": self.minutes()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.path.with_suffix(".part"))
        self.path.with_suffix(".part").replace(self.path)

    def facts(self, **more) -> dict:
        """For the card: data, steps, minutes, machine, and ``more``."""
        return {
            "data": data_hash(),
            "steps": self.steps,
            "minutes": self.minutes(),
            "machine": f"CPU, {torch.get_num_threads()} threads",
        } | more


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


def in_pairs(images: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix into each picture (B, ...) a little of the one before it in the batch.

    Returns the pictures and the share of its own that each keeps, (B,). Pictures that
    nobody drew keep a model from learning its pictures by heart (mixup, Zhang 2018).
    """
    own = 1 - MIX * torch.rand(len(images), generator=g)
    share = own.view(-1, *[1] * (images.ndim - 1))
    return share * images + (1 - share) * images.roll(1, 0), own


def caption_texts(split: corpus.Corpus) -> list[str]:
    """Every name, keyword and Persian name of a split, once per picture."""
    texts = []
    for c in split.cards:
        texts += [c["name"], *c.get("keywords", []), c["style"]]
        texts += [t for t in [c.get("name_fa"), *c.get("keywords_fa", [])] if t]
        texts.append(f"a picture of {corpus.article(c['name'])}")
    return texts


def scratch(
    steps: int = 4000,
    batch: int = 256,
    seed: int = 0,
    resume: bool = True,
    compiled: bool = False,
    split: corpus.Corpus | None = None,
    out: Path | None = None,
    peak: float = 1e-3,
) -> CLIP:
    """Train ``scratch`` from random weights on the train split alone."""
    split = split or corpus.load("train", size=80)
    torch.manual_seed(seed)
    config = Config()
    tokenizer = Tokenizer(
        learn_merges(caption_texts(split), config.vocab - 514), config.context
    )
    config.vocab = len(tokenizer)
    model = CLIP(config)
    see, read = model.encode_image, model.encode_text
    if compiled:  # a quarter faster; needs a C compiler
        see, read = torch.compile(see), torch.compile(read, dynamic=True)
    average = Average(model, 0.995)
    optimisers = two_optimisers(model, peak)
    draw = Draw(split, batch, seed)
    path = WORK / "scratch.checkpoint"
    parts = {"model": model} | optimisers
    run = Run("scratch", path, parts, average, draw.g, steps, resume)
    if run.saved:
        draw.rng.setstate(run.saved["rng"])
    for step in run:
        rows, captions, positive = draw(persian=0.2)
        images = augment.random_views(split.rgba[rows], config.image_size, draw.g)
        images, own = in_pairs(images, draw.g)
        own = own[:, None]
        shown = own * positive + (1 - own) * positive.roll(1, 0)
        for group in [g for o in optimisers.values() for g in o.param_groups]:
            group["lr"] = learning_rate(step, steps, group["peak"], 300)
        with torch.autocast("cpu", torch.bfloat16):
            image, text = see(images), read(tokenizer(captions))
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
            right = positive[torch.arange(batch), logits.argmax(1)].float().mean()
            print(f"step {step} loss {loss:.3f} right {right:.3f}", flush=True)
            run.save(step, rng=draw.rng.getstate())
    model.load_state_dict(average.state)
    model.eval()
    kinds = [type(o).__name__ for o in optimisers.values()]
    card = run.facts(model="scratch", seed=seed, batch=batch, optimisers=kinds)
    if out:
        finish(out, model, tokenizer, card)
    return model


def finish(path: Path, model: CLIP, tokenizer: Tokenizer, card: dict) -> None:
    """Save the finished model, measure it, and enter the figures in its card."""
    from .evaluate import clip_table

    weights.save_clip(path, model, tokenizer, card)
    figures = {k: round(v, 4) for k, v in clip_table(str(path)).items()}
    weights.save_clip(path, model, tokenizer, card | {"figures": figures})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "model", choices=["scratch", "pocket", "vqgan", "prior", "judge", "gan"]
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="a quarter faster")
    parser.add_argument("--fresh", action="store_true", help="ignore the checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.model == "scratch":
        train = scratch
    elif args.model == "vqgan":
        from .train_vqgan import vqgan_model as train
    elif args.model == "prior":
        from .train_prior import prior_model as train
    elif args.model == "gan":
        from .train_gan import gan_model as train
    else:
        from .train_pocket import pocket

        train = partial(pocket, name=args.model)
    more = {"steps": args.steps} if args.steps else {}
    more["compiled"] = args.compile
    files = {"vqgan": "vqgan-pocket", "prior": "pocket-prior", "gan": "gan-pocket"}
    file = files.get(args.model, args.model)
    out = args.out or paths.MODELS / f"{file}.safetensors"
    train(seed=args.seed, resume=not args.fresh, out=out, **more)


if __name__ == "__main__":
    main()
