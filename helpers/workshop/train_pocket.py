"""Train ``pocket`` in two stages (see ``train.py`` for the command).

1. The image tower: EfficientNet-Lite0 with ImageNet weights, its late stages tuned on
   drawings of the train split against MiniLM sentence vectors, seen through one learnt
   linear map. ImageNet's classes join in as pseudo-features (class means guessed from
   the classifier rows), so that words keep their meaning on photographs.
2. The text tower: a small transformer that learns to give the same mapped vectors from
   its own tokens, over captions (English and Persian), class names and WordNet.
"""

import copy
import math
import random
import time
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
    save_checkpoint,
)

TRAIN_SIZE = 128  # pixels a side in training; a little larger at use (FixRes)
FROZEN = 3  # the first stages of the trunk keep their ImageNet weights


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


def image_stage(split, steps: int, batch: int, seed: int, path: Path, resume: bool):
    """Stage 1: returns the model with its image tower trained, and the text map."""
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
    head = [tower.proj, tower.classes, text_map]
    slow = [p for p in trunk.parameters() if p.requires_grad]
    fast = [p for m in head for p in m.parameters()] + [tower.sharpness]
    optimiser = torch.optim.AdamW(
        [
            {"params": slow, "peak": 2.5e-4, "weight_decay": 0.01},
            {"params": fast, "peak": 1.5e-3, "weight_decay": 0.02},
            {"params": [model.logit_scale], "peak": 5e-3, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    both = nn.ModuleDict({"tower": tower, "map": text_map})
    average = Average(both, 0.997)
    first, minutes = 0, 0.0
    if resume and path.exists():
        saved = torch.load(path, weights_only=False)  # our own file
        both.load_state_dict(saved["both"])
        average.state, first, minutes = (
            saved["average"],
            saved["step"],
            saved["minutes"],
        )
        optimiser.load_state_dict(saved["optimiser"])
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
        image = F.normalize(tower.join(features, logits), dim=-1)
        words = F.normalize(text_map(texts.wording(g)), dim=-1)
        loss_art = F.cross_entropy(model.scale() * image @ words.T, concept[rows])
        loss_keep = F.kl_div(
            logits.log_softmax(-1), before.log_softmax(-1), log_target=True,
            reduction="batchmean",
        )  # fmt: skip
        classes = torch.randint(1000, (256,), generator=g)
        pseudo = means.draw(classes, g)
        photo = tower.join(pseudo, trunk.classifier(pseudo))
        known = F.normalize(text_map(texts.imagenet), dim=-1)
        scores = model.scale() * F.normalize(photo, dim=-1) @ known.T
        right = torch.tensor([draw.rng.choice(texts.true[c]) for c in classes.tolist()])
        hide = texts.hide[classes].clone()
        hide[torch.arange(256), right] = False  # other true names are no negatives
        loss_photo = F.cross_entropy(scores.masked_fill(hide, -1e4), right)
        loss = loss_art + loss_keep + 0.5 * loss_photo
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(slow + fast, 1.0)
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


def text_stage(model: CLIP, split, text_map, steps: int, batch: int, seed: int):
    """Stage 2: teach the text tower the mapped sentence vectors."""
    torch.manual_seed(seed)
    texts, vectors, share = student_texts(split)
    with torch.no_grad():
        goal = F.normalize(text_map(vectors), dim=-1)
    rng = random.Random(seed)
    sample = rng.sample(texts, min(60_000, len(texts)))
    weighted = texts[: len(texts) // 4] + sample
    tokenizer = Tokenizer(learn_merges(weighted, model.config.vocab - 514), 32)
    model.config.vocab = len(tokenizer)
    fresh = CLIP(model.config)  # text tower of the right size
    fresh.visual, fresh.logit_scale = model.visual, model.logit_scale
    model = fresh
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few glosses are cut
        tokens = tokenizer(texts)
    names = [n for n, _ in model.named_parameters() if not n.startswith("visual")]
    params = [p for n, p in model.named_parameters() if n in names]
    optimiser = torch.optim.AdamW(params, weight_decay=0.02, betas=(0.9, 0.98))
    words = nn.ModuleDict(
        {"t": model.transformer, "e": model.token_embedding, "l": model.ln_final}
    )
    extra = [model.positional_embedding, model.text_projection]
    average = Average(words, 0.998)
    mean_extra = [p.detach().clone() for p in extra]
    g = torch.Generator().manual_seed(seed)
    bar = tqdm(range(steps), desc="pocket, text tower", mininterval=10)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 1.5e-3, 200)
        rows = torch.multinomial(share, batch, generator=g)
        with torch.autocast("cpu", torch.bfloat16):
            out = model.encode_text(tokens[rows])
        wanted = goal[rows]
        same = wanted @ wanted.T > 0.999
        scores = (30 * out @ wanted.T).masked_fill(
            same & ~torch.eye(batch).bool(), -1e4
        )
        near = F.cross_entropy(scores, torch.arange(batch))
        loss = 4 * (1 - (out * wanted).sum(1)).mean() + 0.5 * near
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        average.update(words, step)
        with torch.no_grad():
            for m, p in zip(mean_extra, extra, strict=True):
                m.lerp_(p, 1 - min(0.998, (step + 1) / (step + 10)))
        if step % 100 == 0:
            print(
                f"text step {step} loss {loss:.3f} "
                f"cosine {(out * wanted).sum(1).mean():.3f}",
                flush=True,
            )
    words.load_state_dict(average.state)
    with torch.no_grad():
        for m, p in zip(mean_extra, extra, strict=True):
            p.copy_(m)
    return model.eval(), tokenizer


def pocket(
    steps: int = 800,
    batch: int = 64,
    seed: int = 0,
    resume: bool = True,
    compiled: bool = False,
    out: Path | None = None,
    text_steps: int = 3000,
) -> CLIP:
    """Train ``pocket``: both stages, then save with its card."""
    split = corpus.load("train")
    path = WORK / "pocket-image.checkpoint"
    began = time.time()
    model, text_map, minutes = image_stage(split, steps, batch, seed, path, resume)
    torch.save(
        {"model": model.state_dict(), "map": text_map.state_dict()},
        WORK / "pocket-image.pt",
    )
    model, tokenizer = text_stage(model, split, text_map, text_steps, 384, seed)
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
    finish(out or paths.MODELS / "pocket.safetensors", model, tokenizer, card)
    return model
