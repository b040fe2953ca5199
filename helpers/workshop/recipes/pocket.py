"""``pocket`` in two stages.

1. The image tower: EfficientNet-Lite0 with ImageNet weights, its late stages tuned on
   drawings of the train split against MiniLM sentence vectors (../pocket/late.py makes
   that fast). It starts from the ridge regression of those vectors on ImageNet
   features. At the end half of every change is taken back (WiSE-FT, Wortsman et al.
   2022) and the ImageNet classifier, which nothing tuned, adds the names of what it
   sees (ConSE, ../pocket/head.py): photographs and things that nobody drew keep their
   words.
2. The text tower: a small transformer that learns to give MiniLM's vectors from its own
   tokens, over captions (English and Persian), class names, WordNet's things and random
   phrases.

The judge of notebook 05 (judge.py) is made in the same way from EfficientNet-Lite2.
"""

import math
import random
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ... import corpus
from ...clip import CLIP, Config, Embedder, fast
from ...clip.tokenizer import Tokenizer, learn_merges
from ..evaluate.clip import finish
from ..pocket import late
from ..pocket.head import both_ways, fit_classes
from ..pocket.texts import Texts, student_texts
from ..run import WORK, Average, Run, data_hash, half, learning_rate, machine
from ..teachers import imagenet_trunk

FILE = "pocket.safetensors"
DROPOUT = 0.3  # on the features: a head of 0.5 M weights knows 5,000 concepts by heart
WISE = 0.5  # share of the change of the image tower that stays (the paper's default)
SOFT = 0.3  # share of the target that goes to concepts of a similar meaning


def pocket_config() -> Config:
    return Config(
        embed=384,
        image_size=160,
        vision="effnet",
        vocab=6500,
        context=32,
        text_width=256,
        text_layers=3,
        text_heads=4,
        causal=False,
        pool="mean",
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
    )


def judge_config() -> Config:
    return replace(pocket_config(), vision="effnet2", vocab=5000, text_width=192)


@torch.no_grad()
def ridge(x: Tensor, y: Tensor, strength: float = 0.08) -> tuple[Tensor, Tensor]:
    """The linear map of least squares: x (N, F), y (N, D) -> weight (D, F), bias (D,).

    ``strength`` times N is added to the diagonal.
    """
    mean = x.mean(0)
    x = x - mean
    inner = x.T @ x + strength * len(x) * torch.eye(x.shape[1])
    W = torch.linalg.solve(inner, x.T @ y)
    return W.T, -mean @ W


def image_stage(
    split, config, steps: int, batch: int, seed: int, name, resume: bool, read
):
    """Stage 1: returns the model with its image tower trained, minutes.

    ``read``: the finished text tower, texts -> (N, 384); the last fit uses its words.
    """
    torch.manual_seed(seed)
    package = {"effnet": "effnet-lite0", "effnet2": "effnet-lite2"}[config.vision]
    model = CLIP(config)
    tower = model.visual
    tower.trunk = trunk = imagenet_trunk(package, tower.names[config.vision]).eval()
    path = WORK / f"{name}-views.pt"
    many = late.VIEWS if config.vision == "effnet" else 4
    found = late.views(split, trunk, path, seed, many)
    texts = Texts(split)
    concept = torch.tensor([texts.index[c["concept"]] for c in split.cards])
    draw = late.Batches(found, concept, batch, seed)
    fast.fold(trunk)
    late.swap(trunk.blocks[late.FROZEN :])
    trunk.requires_grad_(False)
    slow = [*trunk.blocks[late.FROZEN :].parameters(), *trunk.conv_head.parameters()]
    for p in slow:
        p.requires_grad_(True)

    def features(x: Tensor) -> Tensor:
        with half():
            return late.late(trunk, x).float()

    def drawings(*which: int) -> tuple[Tensor, Tensor]:
        """Features of these views of all drawings, and their concepts."""
        last = found[1]
        rows = [slice(r, min(r + 256, last)) for r in range(0, last, 256)]
        with torch.no_grad():
            seen = [features(found[2][v, part]) for v in which for part in rows]
        return torch.cat(seen), draw.concept[:last].repeat(len(which))

    with torch.no_grad():
        seen, kept = drawings(0, 1)
        goal = texts.vectors[kept, 0]
        W, bias = ridge(seen, goal)
        tower.proj.weight.copy_(W)
        tower.proj.bias.copy_(bias)
        model.logit_scale.fill_(math.log(20))
    optimiser = torch.optim.AdamW(
        [
            {"params": slow, "peak": 3e-4, "weight_decay": 0.02},
            {"params": tower.proj.parameters(), "peak": 1e-3, "weight_decay": 0.02},
            {"params": [model.logit_scale], "peak": 5e-3, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    start = {k: v.clone() for k, v in tower.state_dict().items()}
    average = Average(tower, 0.99)
    path, parts = WORK / f"{name}-image.checkpoint", {"tower": tower}
    parts["optimiser"] = optimiser
    run = Run(f"{name}, image tower", path, parts, average, draw.g, steps, resume)
    if run.saved:
        model.logit_scale.data.fill_(run.saved["scale"])
    for step in run:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, group["peak"], 50)
        x, right, other, share = draw()
        image = F.normalize(tower.proj(F.dropout(features(x), DROPOUT)), dim=-1)
        words = texts.wording(draw.g)
        scores = model.scale() * image @ words.T
        with torch.no_grad():
            near = (15 * words[right] @ words.T).softmax(-1) * share[:, None]
            at, own = torch.arange(batch), torch.zeros_like(scores)
            own[at, right] = share
            own[at, other] += 1 - share
            target = own.clone()
            target[at, right] -= SOFT * share
            target += SOFT * near
        cosine = (image * words[right]).sum(1), (image * words[other]).sum(1)
        loss = both_ways(scores, target, own)
        loss = loss + 1 - (share * cosine[0] + (1 - share) * cosine[1]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(slow, 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(50))
        average.update(tower, step)
        if run.due(step):
            now = model.scale().item()
            print(f"step {step} loss {loss:.3f} scale {now:.1f}", flush=True)
            run.save(step, scale=model.logit_scale.item())
    for key, value in average.state.items():
        if value.is_floating_point():
            value.copy_(start[key].lerp(value, WISE))
    tower.load_state_dict(average.state)
    if tower.classes is None:
        trunk.reset_classifier(0)
    else:
        seen, kept = drawings(2, 3)
        texts.set(read(texts.flat), read(texts.names))
        fit_classes(tower, seen, kept, texts, seed)
    late.swap(trunk, back=True)
    return model, run.minutes()


def text_stage(
    split, config: Config, steps: int, batch: int, seed: int, path: Path
) -> tuple[CLIP, Tokenizer, float]:
    """Stage 2: a CLIP whose text tower gives MiniLM's vectors, tokenizer, minutes.

    The result is kept at ``path`` and taken from there the next time.
    """
    if path.exists():
        return torch.load(path, weights_only=False)  # our own file
    began = time.time()
    torch.manual_seed(seed)
    texts, goal, share = student_texts(split)
    rng = random.Random(seed)
    sample = texts[: len(texts) // 4] + rng.sample(texts, min(60_000, len(texts)))
    tokenizer = Tokenizer(learn_merges(sample, config.vocab - 514), config.context)
    config.vocab = len(tokenizer)
    model = CLIP(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few glosses are cut
        tokens = tokenizer(texts)
    named = [(n, p) for n, p in model.named_parameters() if is_text(n)]
    params = [p for _, p in named]
    optimiser = torch.optim.AdamW(params, weight_decay=0.02, betas=(0.9, 0.98))
    mean = [p.detach().clone() for p in params]
    g = torch.Generator().manual_seed(seed)
    long = tokens.argmax(1) + 1  # tokens of each text
    parts = [long <= 7, (long > 7) & (long <= 11), long > 11]  # alike in length: fast
    mass = torch.stack([share[part].sum() for part in parts])
    bar = tqdm(range(steps), desc="text tower", mininterval=10)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-3, 60)
        part = parts[int(torch.multinomial(mass, 1, generator=g))]
        rows = torch.multinomial(share * part, batch, generator=g)
        with half():
            out = model.encode_text(tokens[rows])
        wanted = goal[rows]
        twin = (wanted @ wanted.T > 0.999) & ~torch.eye(batch, dtype=torch.bool)
        scores = (30 * out @ wanted.T).masked_fill(twin, -1e4)
        near = F.cross_entropy(scores, torch.arange(batch))
        cosine = (out * wanted).sum(1).mean()
        loss = 4 * (1 - cosine) + 0.5 * near
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        rate = 1 - min(0.99, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(mean, params, rate)
        if step % 100 == 0:
            print(f"text {step} loss {loss:.3f} cosine {cosine:.3f}", flush=True)
    with torch.no_grad():
        for p, m in zip(params, mean, strict=True):
            p.copy_(m)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = model.eval(), tokenizer, (time.time() - began) / 60
    torch.save(found, path)
    return found


def is_text(name: str) -> bool:
    """Does a parameter of CLIP belong to the text tower?"""
    return not name.startswith(("visual", "logit_scale"))


def train(
    steps: int | None = None,
    seed: int = 0,
    resume: bool = True,
    out: Path | None = None,
    device="cpu",
    batch: int = 256,
    name: str = "pocket",
) -> CLIP:
    """Train ``pocket`` (or ``judge``): both stages; with ``out`` save and measure.

    Its late stages are made fast for a CPU (../pocket/late.py), so it trains there and
    nowhere else: ``device`` is not looked at.
    """
    split = corpus.load("train")
    main = name == "pocket"
    config = pocket_config() if main else judge_config()
    steps, text_steps = steps or (2000 if main else 400), 13_000 if main else 2000
    path = WORK / f"{name}-text.pt"
    words, tokenizer, spent = text_stage(split, config, text_steps, 384, seed, path)
    read = Embedder(name, words, tokenizer, {}, torch.device("cpu")).embed_texts
    model, minutes = image_stage(split, config, steps, batch, seed, name, resume, read)
    trunk = "EfficientNet-Lite0" if main else "EfficientNet-Lite2"
    card = {
        "model": name,
        "data": data_hash(),
        "seed": seed,
        "steps": [steps, text_steps],
        "batch": [batch, 384],
        "minutes": round(minutes + spent, 1),
        "machine": machine(),
        "teachers": f"{trunk} (ImageNet), all-MiniLM-L6-v2, WordNet 3.0",
    }
    words.visual, words.logit_scale = model.visual, model.logit_scale
    if out:
        finish(out, words.eval(), tokenizer, card)
    return words.eval()
