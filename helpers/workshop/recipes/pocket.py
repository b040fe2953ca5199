"""``pocket``: ``python -m helpers.workshop.train pocket --out FILE.safetensors``.

1. The text tower learns to give MiniLM's sentence vectors (whitened a little) from its
   own tokens: names, WordNet's things, long prompts of several parts, Persian.
2. ImageNet's own network, untouched, gets a word vector for each of its 1,000 classes.
   That is how ``pocket`` knows photographs: the corpus has none to train on.
3. A copy of the late stages and a small network for colours learn from drawings: as
   they are, turned in hue, in pairs, on coloured grounds, beside coloured shapes, with
   captions that say so.

Made for a few minutes of one GPU (``--seconds``); a CPU needs ``--steps`` and a night.
What it learnt lies in two files beside FILE (NAME.words, NAME.eyes, .safetensors);
workshop/pocket/choice.py joins them with ImageNet's weights and makes the last choices
on photos_dev.
"""

import json
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ... import corpus, paths
from ...clip import CLIP, Config, fast, files
from ...clip.tokenizer import Tokenizer, learn_merges
from ...corpus import colours, painted
from ...corpus.augment import framed, random_views
from ...pictures import on_background
from ..pocket import texts as lessons
from ..pocket.head import both_ways, fit_classes
from ..pocket.pictures import Pictures, tokens
from ..run import Average, Clock, data_hash, fast_kernels, in_pairs, machine, rate
from ..teachers import MiniLM, carried_texts, imagenet_trunk

FILE = "pocket.safetensors"
DROPOUT = 0.3  # on the features: a head of 0.5 M weights knows 5,000 concepts by heart
SOFT = 0.25  # share of the target that goes to concepts of a similar meaning
HALF = 0.5  # how much a plain name is right for a drawing in another colour
INNER = 250  # drawings that are kept back to watch the training
TEXT_SHARE = 0.27  # of the time after the preparations
SAVING = 8.0  # seconds that are left at the end


def pocket_config() -> Config:
    return Config(
        embed=384,
        image_size=192,
        vision="effnet_colour",
        vocab=6500,
        context=48,
        text_width=256,
        text_layers=3,
        text_heads=4,
        causal=False,
        pool="mean",
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
    )


def say(*words) -> None:
    print(time.strftime("%X "), *words, flush=True)


@torch.no_grad()
def ridge(x: Tensor, y: Tensor, strength: float = 0.08) -> tuple[Tensor, Tensor]:
    """The linear map of least squares: x (N, F), y (N, D) -> weight (D, F), bias (D,).

    ``strength`` times N is added to the diagonal.
    """
    mean = x.mean(0)
    x = x - mean
    eye = torch.eye(x.shape[1], device=x.device)
    inner = x.T @ x + strength * len(x) * eye
    W = torch.linalg.solve(inner, x.T @ y)
    return W.T, -mean @ W


def is_text(name: str) -> bool:
    """Does a parameter of CLIP belong to the text tower?"""
    return not name.startswith(("visual", "logit_scale"))


def begin(config: Config, cards: list[dict]) -> tuple[CLIP, Tokenizer]:
    """A model whose text tower is the one that we ship, with room for longer texts.

    Without that file: random weights, and a tokenizer learnt from the captions.
    """
    old = paths.MODELS / "pocket.safetensors"
    if not old.exists():
        texts = [t for r in lessons.concept_texts(cards).values() for t in r]
        texts += [c["name_fa"] for c in cards if c.get("name_fa")]
        merges = learn_merges(texts, config.vocab - 514)
        tokenizer = Tokenizer(merges, config.context)
        config.vocab = len(tokenizer)
        return CLIP(config), tokenizer
    before, tokenizer, _ = files.load_clip(old)
    tokenizer.context = config.context
    config.vocab = len(tokenizer)
    model = CLIP(config)
    state = {k: v for k, v in before.state_dict().items() if is_text(k)}
    key = "positional_embedding"
    more = config.context - len(state[key])
    if more > 0:
        state[key] = torch.cat([state[key], state[key][-1:].expand(more, -1)])
    model.load_state_dict(state, strict=False)
    return model, tokenizer


def text_stage(model, tokenizer, lesson, batch: int, clock: Clock, amp: bool) -> int:
    """Stage 1, in place: the text tower gives ``lesson``'s goals. Returns steps."""
    device = lesson.goal.device
    rows = tokens(tokenizer, lesson.texts).to(device)
    say(f"{len(rows):,} texts")
    params = [p for n, p in model.named_parameters() if is_text(n)]
    optimiser = torch.optim.AdamW(params, weight_decay=0.02, betas=(0.9, 0.98))
    average = Average(model, 0.995)
    g = torch.Generator().manual_seed(0)
    long = (rows != 0).sum(1).cpu()  # alike in length: fast
    cuts = torch.tensor([0, 7, 11, 18, 999])
    parts = [
        ((long > low) & (long <= high)).nonzero()[:, 0]
        for low, high in zip(cuts, cuts[1:], strict=False)
    ]
    parts = [p for p in parts if len(p)]
    mass = torch.stack([lesson.share[p].sum() for p in parts])
    heights = [lesson.share[p].double().cumsum(0).to(device) for p in parts]
    widths = [int(long[p].max()) for p in parts]
    parts = [p.to(device) for p in parts]
    on = torch.Generator(device).manual_seed(0)
    eye = torch.eye(batch, dtype=torch.bool, device=device)
    order = torch.arange(batch, device=device)
    for step, done in clock:
        for group in optimiser.param_groups:
            group["lr"] = rate(done, 1.5e-3)
        n = int(torch.multinomial(mass, 1, generator=g))
        height = torch.rand(batch, generator=on, device=device, dtype=torch.float64)
        i = torch.searchsorted(heights[n], height * heights[n][-1])
        i = parts[n][i.clamp(max=len(parts[n]) - 1)]
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            out = model.encode_text(rows[i, : widths[n]].long(), cut=False)
        goal = lesson.goal[i]
        twin = (goal @ goal.T > 0.999) & ~eye
        scores = (30 * out @ goal.T).masked_fill(twin, -1e4)
        cosine = (out * goal).sum(1).mean()
        loss = 4 * (1 - cosine) + 0.5 * F.cross_entropy(scores, order)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        average.update(model, step)
        if clock.due:
            say(f"text step {step} loss {loss:.3f} cosine {cosine:.3f}")
    model.load_state_dict(average.state)
    say(f"text step {clock.step} loss {loss:.3f} cosine {cosine:.3f}, done")
    return clock.step


@torch.no_grad()
def encode(model: CLIP, rows: Tensor, device, batch: int = 4096) -> Tensor:
    """Tokens (N, T) int16 -> (N, D) on ``device``, short ones together."""
    long = (rows != 0).sum(1)
    order = long.argsort()
    out = torch.empty(len(rows), model.config.embed, device=device)
    for part in order.split(batch):
        x = rows[part, : int(long[part].max())].to(device).long()
        out[part.to(device)] = model.encode_text(x, cut=False)
    return out


class Bank:
    """The vectors of all wordings of all concepts; ``draw`` takes one of each."""

    def __init__(self, model, tokenizer, cards, ids: list[int], device):
        table = lessons.concept_texts(cards)
        names = {c["concept"]: i for c, i in zip(cards, ids, strict=True)}
        rows = [table[name] for name in sorted(names, key=names.get)]
        flat = [t for texts in rows for t in texts]
        vectors = encode(model, tokens(tokenizer, flat), device)
        most = max(map(len, rows))
        parts = vectors.split([len(r) for r in rows])
        self.vectors = torch.stack([F.pad(p, (0, 0, 0, most - len(p))) for p in parts])
        self.count = torch.tensor([len(r) for r in rows], device=device)
        self.first = self.vectors[:, 0]

    def draw(self) -> Tensor:
        """(concepts, D)"""
        pick = torch.rand(len(self.count), device=self.count.device) * self.count
        return self.vectors[torch.arange(len(pick), device=pick.device), pick.long()]


def teach_colours(tower, g: torch.Generator, steps: int) -> None:
    """Let ``tower.colour.name`` call pixels what ``colours.name_pixels`` calls them."""
    name = tower.colour.name.cpu()
    optimiser = torch.optim.AdamW(name.parameters(), lr=5e-3)
    which = torch.randint(len(colours.NAMES), (30_000,), generator=g)
    x = colours.PLAIN[which] + 0.15 * torch.randn(len(which), 3, generator=g)
    x = torch.cat([x.clamp(0, 1), torch.rand(30_000, 3, generator=g)])
    goal = colours.name_pixels(x[:, :, None, None])[:, 0, 0]
    for _ in range(steps):
        rows = torch.randint(len(x), (1024,), generator=g)
        loss = F.cross_entropy(name(4 * x[rows] - 2), goal[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    say(f"colour names of pixels, loss {loss:.3f}")


def targets(batch, bank_ids: Tensor, own: Tensor) -> Tensor:
    """Which columns (captions of the batch, then all concepts) are right for a picture.

    Returns shares (B, B + C), rows sum to 1. ``own``: share of itself that each picture
    keeps, (B,).
    """
    columns = torch.cat([batch.shown, bank_ids])
    right = (batch.shown[:, None] == columns).float()
    half = (batch.also[:, :, None] == columns).any(1).float()
    right = torch.maximum(right, HALF * half)
    right = right / right.sum(1, keepdim=True)
    own = own[:, None]
    return own * right + (1 - own) * right.roll(1, 0)


def image_stage(model, pictures, vectors, bank, size, clock, amp, save) -> int:
    """Stage 3, in place: the tuned branch, ``proj`` and the colours. Returns steps."""
    tower, device = model.visual, vectors.device
    late = list(tower.tuned.parameters())
    rest = [*tower.proj.parameters()]
    paint = list(tower.colour.parameters())
    scale = model.logit_scale
    params = [*late, *rest, *paint, scale]
    for p in params:
        p.requires_grad_(True)
    optimiser = torch.optim.AdamW(
        [
            {"params": late, "peak": 4e-4, "weight_decay": 0.02},
            {"params": rest, "peak": 1e-3, "weight_decay": 0.02},
            {"params": paint, "peak": 2e-3, "weight_decay": 0.02},
            {"params": [scale], "peak": 5e-3, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    average = Average(model, 0.995)
    bank_ids = torch.arange(len(bank.count), device=device)
    saved, side = False, model.config.image_size
    for step, done in clock:
        for group in optimiser.param_groups:
            group["lr"] = rate(done, group["peak"], warm=0.033)
        try:
            b = pictures(size, side)
            x, own = in_pairs(b.pictures, pictures.g)
            mixed = torch.rand(len(x), generator=pictures.g, device=device) < 0.4
            x = torch.where(mixed[:, None, None, None], x, b.pictures)
            own = torch.where(mixed, own, torch.ones_like(own))
            seen = (x - tower.mean) / tower.std
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                with torch.no_grad():
                    e = tower.early(seen)
                    named = tower.named(tower.trunk.classifier(tower.seen(e)))
                features = tower.drawn(e)
            drawn = tower.proj(F.dropout(features.float(), DROPOUT))
            cells = F.dropout(tower.colour.cells(x), 0.1)
            keep = torch.rand(len(x), 1, generator=pictures.g, device=device)
            # half of the drawings as they are must be known without their colours
            told = torch.arange(len(x), device=device)[:, None] >= b.plain
            keep = (keep < 0.5) | told
            gain = 1.5 * torch.rand(len(x), 1, generator=pictures.g, device=device)
            out = drawn + keep * tower.colour.mix(cells) + gain * named.float()
            image = F.normalize(out, dim=-1)
            captions = vectors[b.captions]
            words = torch.cat([captions, bank.draw()])
            hard = targets(b, bank_ids, own)
            with torch.no_grad():
                near = (15 * captions[: b.plain] @ bank.first.T).softmax(-1)
                target = hard.clone()
                target[: b.plain] *= 1 - SOFT
                target[: b.plain, len(x) :] += SOFT * near
            scores = model.scale() * image @ words.T
            loss = both_ways(scores, target, hard)
            cosine = own * (image * captions).sum(1)
            cosine = cosine + (1 - own) * (image * captions.roll(1, 0)).sum(1)
            loss = loss + 1 - cosine.mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(late, 1.0)
            nn.utils.clip_grad_norm_(paint, 1.0)
            optimiser.step()
            with torch.no_grad():
                scale.clamp_(max=math.log(50))
            average.update(model, step)
        except torch.cuda.OutOfMemoryError:
            size //= 2
            torch.cuda.empty_cache()
            say(f"out of memory: batches of {size} now")
            if size < 32:
                break
            continue
        if clock.due:
            speed = (step + 1) * size / clock.spent()
            right = hard.gather(1, scores.argmax(1)[:, None]).gt(0).float().mean()
            say(
                f"step {step} loss {loss:.3f} cosine {cosine.mean():.3f} "
                f"right {right:.3f} scale {model.scale():.1f}, {speed:.0f} pictures/s"
            )
        if done > 0.5 and not saved:
            saved = True
            save(step, average.state)
    model.load_state_dict(average.state)
    say(f"step {clock.step}, done")
    return clock.step


@torch.no_grad()
def look(tower, rgba: Tensor, size: int, amp: bool, way=None) -> dict[str, Tensor]:
    """The parts of the embedding of drawings on white, or of ``way(rgba)`` views."""
    found = {"seen": [], "drawn": [], "named": [], "colour": []}
    for part in rgba.split(256):
        x = way(part) if way else on_background(part).float() / 255
        if x.shape[-1] != size:
            x = F.interpolate(x, (size, size), mode="bicubic", antialias=True)
            x = x.clamp(0, 1)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
            e = tower.early((x - tower.mean) / tower.std)
            seen, drawn = tower.seen(e).float(), tower.drawn(e).float()
        found["seen"].append(seen)
        found["drawn"].append(tower.proj(drawn))
        found["named"].append(tower.named(tower.trunk.classifier(seen)))
        found["colour"].append(tower.colour(x))
    return {k: torch.cat(v) for k, v in found.items()}


def train(
    steps: int = 2500,
    seconds: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    device="cpu",
    batch: int = 512,
    words: Path | None = None,
    smoke: bool = False,
) -> CLIP:
    """Train all stages; ``seconds``: of all of it. Without ``out`` nothing is saved.

    ``words``: a finished NAME.words file, kept; ``smoke``: a little of all of it.
    """
    device, began = torch.device(device), time.time()
    amp = device.type == "cuda"
    fast_kernels()
    torch.manual_seed(seed)
    small = 200 if smoke else 1  # how much less of everything
    if smoke:
        steps, batch = 3, 32
    end = began + seconds - SAVING if seconds else None

    split = corpus.load("train", progress=False)
    icons = lessons.silhouettes(split)[::small]
    split = corpus.without_silhouettes(split)
    if smoke:
        split = corpus.Corpus(split.cards[::40], split.rgba[::40])
    packed = carried_texts()
    hidden = frozenset(packed["hidden"]) if packed else painted.hidden_names()
    rows = list(range(len(split)))
    random.Random(seed).shuffle(rows)
    keep = INNER if small == 1 else 6
    inner, kept = sorted(rows[:keep]), sorted(rows[keep:])
    inner = corpus.Corpus([split.cards[i] for i in inner], split.rgba[inner])
    split = corpus.Corpus([split.cards[i] for i in kept], split.rgba[kept])
    say(f"{len(split):,} drawings, {len(icons):,} icons' names, on {device}")

    pictures = Pictures(split, device, hidden, size=small)
    aside = ThreadPoolExecutor(1)
    model, tokenizer = begin(pocket_config(), split.cards)
    other = Tokenizer(tokenizer.merges, tokenizer.context)  # for the thread

    def prepare() -> Tensor:
        pictures.prepare()
        return tokens(other, list(pictures.words.at))

    tower = model.visual
    tower.trunk = imagenet_trunk().eval()
    fast.fold(tower.trunk)
    tower.copy_late()
    teach_colours(tower, torch.Generator().manual_seed(seed), 400 if small == 1 else 20)
    model.requires_grad_(False)
    model.to(device)
    tower.trunk.to(memory_format=torch.channels_last)
    tower.tuned.to(memory_format=torch.channels_last)
    say("model ready")
    texts_batch = 64 if smoke else 2048
    if words:
        waiting = aside.submit(prepare)
        text_steps = read_words(words, model)
        say("finished words read")
    else:
        read_minilm = MiniLM(device)
        lesson = lessons.Lesson(split.cards, icons, read_minilm, hidden, small)
        del read_minilm
        say("sentence vectors ready")
        waiting = aside.submit(prepare)
        for name, p in model.named_parameters():
            p.requires_grad_(is_text(name))
        clock = Clock(3 if smoke else 13_000, end and TEXT_SHARE * (end - time.time()))
        text_steps = text_stage(model, tokenizer, lesson, texts_batch, clock, amp)
    for p in model.parameters():
        p.requires_grad_(False)
    card = {"model": "pocket", "seed": seed, "inner": [c["id"] for c in inner.cards]}

    def facts(image_steps: int) -> dict:
        return card | {
            "data": data_hash(),
            "steps": {"text": text_steps, "image": image_steps},
            "batch": [texts_batch, batch],
            "minutes": round((time.time() - began) / 60, 1),
            "machine": machine(device),
            "teachers": "EfficientNet-Lite0 (ImageNet), all-MiniLM-L6-v2, WordNet 3.0",
        }

    learnt = {k: v for k, v in model.state_dict().items() if is_text(k)}
    learnt["tokenizer.merges"] = files.merge_ids(tokenizer)
    if out:
        save_part(out, "words", learnt, facts(0), model.config)

    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        found = encode(model, waiting.result(), device)
    aside.shutdown()
    pictures.ready()
    bank = Bank(model, tokenizer, split.cards, pictures.concept, device)
    names, true, weight = lessons.imagenet_texts()
    known = encode(model, tokens(tokenizer, names), device)
    say(
        f"{len(found):,} captions, {len(bank.count):,} concepts, {len(known):,} classes"
    )

    size = model.config.image_size
    g = pictures.g

    def view(rgba: Tensor) -> Tensor:
        return framed(random_views(rgba, size, g, keep_colours=True), g, 0.1)

    rgba = pictures.painted.rgba[: 16 if smoke else None]
    several = [look(tower, rgba, size, amp, view)["seen"] for _ in range(2)]
    seen = torch.cat([look(tower, rgba, size, amp)["seen"], *several])
    concept = torch.tensor(pictures.concept[: len(rgba)], device=device).repeat(3)
    goal = bank.vectors[:, 0][concept]
    W, bias = ridge(seen, goal)
    with torch.no_grad():
        tower.proj.weight.copy_(W)
        tower.proj.bias.copy_(bias)
        drawn = tower.proj(seen)
    clock = Clock(3 if smoke else 300)
    tables = true, weight
    fit_classes(tower, seen, drawn, concept, bank.draw, known, tables, clock)
    with torch.no_grad():
        tower.colour.mix[-1].weight.mul_(0.1)
        model.logit_scale.fill_(math.log(20))
    before = {f"start.{k}": v.clone() for k, v in tower.proj.state_dict().items()}
    say("ImageNet's classes have their words")

    def save(step: int, state: dict) -> None:
        kept = {
            k: v
            for k, v in state.items()
            if k.startswith("visual") and not k.startswith("visual.trunk")
        }
        kept["logit_scale"] = state["logit_scale"]
        if out:
            save_part(out, "eyes", kept | before, facts(step), model.config)

    clock = Clock(steps, end and end - time.time())
    step = image_stage(model, pictures, found, bank, batch, clock, amp, save)
    for p in model.parameters():
        p.requires_grad_(False)
    save(step, model.state_dict())
    watch(model, tokenizer, inner, device, amp)
    return model.eval()


def read_words(path: Path, model: CLIP) -> int:
    """Take the text tower from a NAME.words file; returns the steps it was taught."""
    with safe_open(path, "pt") as file:
        card = json.loads(file.metadata()["card"])
        found = {k: file.get_tensor(k) for k in file.keys()}
    found.pop("tokenizer.merges")
    mine = model.state_dict()
    for key, value in found.items():
        mine[key].copy_(value)
    return card["steps"]["text"]


def save_part(out: Path, part: str, tensors: dict, card: dict, config: Config) -> None:
    """Write half of what was learnt to NAME.PART.safetensors beside ``out``."""
    path = out.with_name(f"{out.stem}.{part}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        k: (v.detach().half() if v.is_floating_point() else v).cpu().contiguous()
        for k, v in tensors.items()
    }
    metadata = {"card": json.dumps(card), "config": json.dumps(asdict(config))}
    save_file(tensors, path.with_suffix(".part"), metadata)
    path.with_suffix(".part").replace(path)
    say(f"{path.name} saved, {path.stat().st_size / 1e6:.1f} MB")


def watch(model, tokenizer, inner, device, amp) -> None:
    """Print how well drawings that were kept back are found by their names."""
    found = look(model.visual, inner.rgba.to(device), model.config.image_size, amp)
    names = [c["name"] for c in inner.cards]
    words = encode(model, tokens(tokenizer, names), device)
    same = torch.tensor([[a == b for b in names] for a in names], device=device)
    for gain in (0.0, 0.5, 1.0, 1.5):
        image = found["drawn"] + found["colour"] + gain * found["named"]
        scores = words @ F.normalize(image, dim=-1).T
        best = scores.masked_fill(~same, -9).amax(1, keepdim=True)
        rank = ((scores > best) & ~same).sum(1)
        shares = [(rank < k).float().mean().item() for k in (1, 10)]
        say(f"inner, ConSE {gain}: R@1 {shares[0]:.3f} R@10 {shares[1]:.3f}")
