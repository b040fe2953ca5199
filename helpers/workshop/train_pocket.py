"""Train ``pocket`` in two stages (see ``train.py`` for the command).

1. The image tower: EfficientNet-Lite0 with ImageNet weights, its late stages tuned on
   drawings of the train split against MiniLM sentence vectors, seen through one learnt
   linear map. ImageNet's classes join in as pseudo-features (class means guessed from
   the classifier rows), so that words keep their meaning on photographs.
2. The text tower: a small transformer that learns to give MiniLM's vectors from its own
   tokens, over captions (English and Persian), class names and WordNet's things. The
   linear map is multiplied in at the end.
"""

import copy
import math
import random
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from .. import augment, corpus, paths
from ..clip import CLIP, Config
from ..tokenizer import Tokenizer, learn_merges
from .pocket_texts import ClassMeans, Texts, student_texts
from .teachers import load_trunk
from .train import (
    WORK,
    Average,
    Draw,
    data_hash,
    finish,
    learning_rate,
    resume_from,
    save_checkpoint,
)

TRAIN_SIZE = 128  # pixels a side in training; a little larger at use (FixRes)
FROZEN = 3  # the first stages of the trunk keep their ImageNet weights
DROPOUT = 0.5  # on the features: a head of 0.5 M weights knows 5,000 concepts by heart
STRAY = 0.3  # pulls the text map to the identity, so that unseen words keep their place


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


def trunk_parts(trunk: nn.Module):
    """The frozen early part and the trained late part, as two functions."""

    def early(x: Tensor) -> Tensor:
        return trunk.blocks[:FROZEN](trunk.bn1(trunk.conv_stem(x)))

    def late(x: Tensor) -> Tensor:
        x = trunk.bn2(trunk.conv_head(trunk.blocks[FROZEN:](x)))
        return trunk.forward_head(x, pre_logits=True)

    return early, late


def photo_loss(model, means: ClassMeans, texts: Texts, text_map, n: int, g, rng):
    """Cross-entropy of pseudo-photographs against the names of ImageNet.

    One true name of the class is the target; its other true names are left out.
    """
    tower = model.visual
    classes = torch.randint(1000, (n,), generator=g)
    pseudo = means.draw(classes, g)
    image = F.normalize(tower.join(pseudo, tower.trunk.classifier(pseudo)), dim=-1)
    known = F.normalize(text_map(texts.imagenet), dim=-1)
    right = torch.tensor([rng.choice(texts.true[c]) for c in classes.tolist()])
    hide = texts.hide[classes].clone()
    hide[torch.arange(n), right] = False
    scores = model.logit_scale.exp() * image @ known.T
    return F.cross_entropy(scores.masked_fill(hide, -1e4), right)


def image_stage(split, steps: int, batch: int, seed: int, path: Path, resume: bool):
    """Stage 1: returns the model with its image tower trained, text map, minutes."""
    torch.manual_seed(seed)
    config = pocket_config()
    model = CLIP(config)
    tower = model.visual
    load_trunk(tower)
    trunk = tower.trunk.to(memory_format=torch.channels_last).eval()
    early, late = trunk_parts(trunk)
    teacher = copy.deepcopy(trunk).requires_grad_(False)
    _, teacher_late = trunk_parts(teacher)
    for part in (trunk.conv_stem, trunk.bn1, trunk.blocks[:FROZEN], trunk.classifier):
        part.requires_grad_(False)
    texts = Texts(split)
    text_map = nn.Linear(384, 384, bias=False)
    nn.init.eye_(text_map.weight)
    names = F.normalize(
        torch.stack([texts.imagenet[rows].mean(0) for rows in texts.true]), dim=-1
    )
    with torch.no_grad():
        tower.classes.weight.copy_(names.T)
        nn.init.normal_(tower.proj.weight, std=0.01)
        model.logit_scale.fill_(math.log(20))
    g = torch.Generator().manual_seed(seed)
    draw = Draw(split, batch, seed)
    concept = torch.tensor([texts.index[c["concept"]] for c in split.cards])

    def see(images: Tensor) -> Tensor:
        x = (images - model.pixel_mean) / model.pixel_std
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return early(x)

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = []
        for _ in tqdm(range(40), desc="drawings as ImageNet sees them", mininterval=5):
            rows, _, _ = draw(0)
            found.append(
                late(see(augment.random_views(split.rgba[rows], TRAIN_SIZE, g))).float()
            )
    means = ClassMeans(torch.cat(found), trunk.classifier)
    slow = [p for p in trunk.parameters() if p.requires_grad]
    fast = [*tower.proj.parameters()]
    words_side = [*tower.classes.parameters(), *text_map.parameters(), tower.sharpness]
    optimiser = torch.optim.AdamW(
        [
            {"params": slow, "peak": 2.5e-4, "weight_decay": 0.01},
            {"params": fast, "peak": 1.5e-3, "weight_decay": 0.02},
            {"params": words_side, "peak": 2e-4, "weight_decay": 0.0},
            {"params": [model.logit_scale], "peak": 5e-3, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    both = nn.ModuleDict({"tower": tower, "map": text_map})
    identity = torch.eye(384)
    average = Average(both, 0.997)
    first, minutes = 0, 0.0
    parts = {"both": both, "optimiser": optimiser}
    if resume and (saved := resume_from(path, parts)):
        average.state, first, minutes = (
            saved["average"],
            saved["step"],
            saved["minutes"],
        )
        model.logit_scale.data.fill_(saved["scale"])
        draw.restore(saved["draw"])
        g.set_state(saved["g"])
    began = last = time.time()
    bar = tqdm(range(first, steps), initial=first, total=steps, mininterval=10)
    bar.set_description("pocket, image tower")
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, group["peak"], 100)
        rows, _, _ = draw(0)
        x = see(augment.random_views(split.rgba[rows], TRAIN_SIZE, g))
        with torch.autocast("cpu", torch.bfloat16):
            features = late(x)
            with torch.no_grad():
                before = teacher.classifier(teacher_late(x)).float()
        features = features.float()
        logits = trunk.classifier(features)
        seen = F.dropout(features, DROPOUT)
        image = F.normalize(tower.join(seen, logits), dim=-1)
        words = F.normalize(text_map(texts.wording(g)), dim=-1)
        loss_art = F.cross_entropy(model.scale() * image @ words.T, concept[rows])
        loss_keep = F.kl_div(
            logits.log_softmax(-1), before.log_softmax(-1), log_target=True,
            reduction="batchmean",
        )  # fmt: skip
        loss_photo = photo_loss(model, means, texts, text_map, 256, g, draw.rng)
        stray = ((text_map.weight - identity) ** 2).sum()
        loss = loss_art + loss_keep + 0.5 * loss_photo + STRAY * stray
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(slow + fast + words_side, 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(50))
        average.update(both, step)
        if time.time() - last > 90 or step == first + 20:
            last = time.time()
            print(
                f"step {step} art {loss_art:.3f} keep {loss_keep:.3f} photo "
                f"{loss_photo:.3f} scale {model.scale():.1f}",
                flush=True,
            )
            save_checkpoint(
                path,
                both=both.state_dict(),
                average=average.state,
                optimiser=optimiser.state_dict(),
                scale=model.logit_scale.item(),
                draw=draw.state(),
                g=g.get_state(),
                step=step + 1,
                minutes=minutes + (last - began) / 60,
            )
    both.load_state_dict(average.state)
    return model, text_map, minutes + (time.time() - began) / 60


def text_stage(split, steps: int, batch: int, seed: int) -> tuple[CLIP, Tokenizer]:
    """Stage 2: a CLIP whose text tower gives MiniLM's vectors, and its tokenizer.

    The text map is linear and comes last, so it is multiplied in afterwards.
    """
    torch.manual_seed(seed)
    texts, goal, share = student_texts(split)
    rng = random.Random(seed)
    sample = texts[: len(texts) // 4] + rng.sample(texts, min(60_000, len(texts)))
    config = pocket_config()
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
    bar = tqdm(range(steps), desc="pocket, text tower", mininterval=10)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-3, 60)
        rows = torch.multinomial(share, batch, generator=g)
        with torch.autocast("cpu", torch.bfloat16):
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
    return model.eval(), tokenizer


def is_text(name: str) -> bool:
    """Does a parameter of CLIP belong to the text tower?"""
    return not name.startswith(("visual", "logit_scale"))


def pocket(
    steps: int = 800,
    batch: int = 64,
    seed: int = 0,
    resume: bool = True,
    compiled: bool = False,
    out: Path | None = None,
    text_steps: int = 3500,
) -> CLIP:
    """Train ``pocket``: both stages, then save with its card."""
    split = corpus.load("train")
    path = WORK / "pocket-image.checkpoint"
    model, text_map, minutes = image_stage(split, steps, batch, seed, path, resume)
    began = time.time()
    words, tokenizer = text_stage(split, text_steps, 384, seed)
    card = {
        "model": "pocket",
        "data": data_hash(),
        "seed": seed,
        "steps": [steps, text_steps],
        "batch": [batch, 384],
        "minutes": round(minutes + (time.time() - began) / 60, 1),
        "machine": f"CPU, {torch.get_num_threads()} threads",
        "teachers": "EfficientNet-Lite0 (ImageNet), all-MiniLM-L6-v2, WordNet 3.0",
    }
    model = compose(model, words, text_map)
    finish(out or paths.MODELS / "pocket.safetensors", model, tokenizer, card)
    return model


@torch.no_grad()
def compose(model: CLIP, words: CLIP, text_map: nn.Linear) -> CLIP:
    """One model: the image tower of one, the text tower of the other, mapped."""
    words.visual, words.logit_scale = model.visual, model.logit_scale
    words.text_projection.copy_(words.text_projection @ text_map.weight.T)
    return words.eval()
