"""``pocket``: ``python -m helpers.workshop.train pocket --out FILE.safetensors``.

1. The text tower learns to give MiniLM's sentence vectors (whitened a little, and leant
   to what WordNet says of each thing) from its own tokens: names, WordNet's things,
   long prompts of several parts, Persian. It begins as the one that we ship, if that
   file is there (pocket/words.py).
2. ImageNet's own network, untouched, gets a word vector for each of its 1,000 classes.
   That is how ``pocket`` knows photographs: the corpus has none to train on.
3. A copy of the late stages and a small network for colours learn from drawings: as
   they are, turned in hue, in pairs, on coloured grounds, beside coloured shapes, with
   captions that say so (pocket/eyes.py).

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
from safetensors.torch import save_file
from torch import Tensor

from ... import corpus
from ...clip import CLIP, Config, fast, files
from ...clip.tokenizer import Tokenizer
from ...corpus import painted
from ...corpus.augment import framed, random_views
from ..pocket import texts as lessons
from ..pocket.eyes import Bank, image_stage, look, ridge, teach_colours
from ..pocket.head import fit_classes
from ..pocket.pictures import Pictures, tokens
from ..pocket.words import begin, encode, is_text, read_words, text_stage
from ..run import Clock, data_hash, fast_kernels, machine, say
from ..teachers import MiniLM, carried_texts, imagenet_trunk

FILE = "pocket.safetensors"
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
