"""Stage 2 of ``pocket``: fit the ways from features into the space, trunk fixed."""

import math
import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from .. import augment
from .pocket_texts import ClassMeans, Texts
from .train import learning_rate

BLEND = 0.5  # tuned trunk and ImageNet trunk, averaged (WiSE-FT, Wortsman et al. 2022)
PIXELS = 144
SILHOUETTES = 6  # of the silhouettes every sixth takes part


def blend(tuned: dict, imagenet: dict) -> dict:
    """The average of two state dicts, weight by weight."""
    return {
        k: v.lerp(tuned[k], BLEND) if v.is_floating_point() else v
        for k, v in imagenet.items()
    }


@torch.no_grad()
def view_features(model, split, views: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features of random views of the split: (N, 1280), and their rows (N,)."""
    model.eval()
    model.visual.trunk.to(memory_format=torch.channels_last)
    g = torch.Generator().manual_seed(seed)
    keep = [
        i
        for i, c in enumerate(split.cards)
        if c["source"] != "gameicons" or i % SILHOUETTES == 0
    ]
    found, rows = [], []
    steps = [(v, at) for v in range(views) for at in range(0, len(keep), 96)]
    for view, at in tqdm(steps, desc="pocket, features", mininterval=10):
        part = torch.tensor(keep[at : at + 96])
        strength = 1.0 if view else 0.3
        x = augment.random_views(split.rgba[part], PIXELS, g, strength)
        with torch.autocast("cpu", torch.bfloat16):
            x = model.visual.features((x - model.pixel_mean) / model.pixel_std)
        found.append(x.half())
        rows.append(part)
    return torch.cat(found).float(), torch.cat(rows)


def fit_head(
    model, split, features: Tensor, rows: Tensor, steps: int, batch: int, seed: int
) -> nn.Linear:
    """Fit ``proj``, ``classes`` and the text map; returns the text map.

    Art: each picture against every concept and back. Photographs: pseudo-features of
    the ImageNet classes against all names that are true of them.
    """
    torch.manual_seed(seed)
    g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    tower, texts = model.visual, Texts(split)
    text_map = nn.Linear(384, 384, bias=False)
    names = [texts.imagenet[r].mean(0) for r in texts.true]
    with torch.no_grad():
        nn.init.eye_(text_map.weight)
        tower.classes.weight.copy_(F.normalize(torch.stack(names), dim=-1).T)
        nn.init.normal_(tower.proj.weight, std=0.01)
        nn.init.zeros_(tower.proj.bias)
        tower.sharpness.fill_(1.0)
        model.logit_scale.fill_(math.log(20))
    concept = torch.tensor([texts.index[c["concept"]] for c in split.cards])[rows]
    dark = torch.tensor([c["source"] == "gameicons" for c in split.cards])[rows]
    weight = torch.where(dark, 0.3, 1.0)
    order = torch.randperm(len(features), generator=g)[:4000]
    means = ClassMeans(features[order], tower.trunk.classifier)
    optimiser = torch.optim.AdamW(
        [
            {"params": tower.proj.parameters(), "peak": 1e-3, "weight_decay": 0.05},
            {"params": text_map.parameters(), "peak": 2e-4, "weight_decay": 0.0},
            {"params": tower.classes.parameters(), "peak": 2e-4, "weight_decay": 0.0},
            {"params": [tower.sharpness], "peak": 2e-4, "weight_decay": 0.0},
            {"params": [model.logit_scale], "peak": 5e-3, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    for step in tqdm(range(steps), desc="pocket, head", mininterval=10):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, group["peak"], 20)
        pick = torch.multinomial(weight, batch, generator=g)
        f = features[pick]
        chance = (tower.sharpness * tower.trunk.classifier(f)).softmax(-1)
        image = tower.proj(F.dropout(f, 0.1)) + tower.classes(chance)
        words = F.normalize(text_map(texts.wording(g)), dim=-1)
        logits = model.logit_scale.exp() * F.normalize(image, dim=-1) @ words.T
        loss = 0.5 * F.cross_entropy(logits, concept[pick])
        seen, where = concept[pick].unique(return_inverse=True)
        back = logits[:, seen].T  # (concepts in the batch, batch)
        right = where[None] == torch.arange(len(seen))[:, None]
        best = back.masked_fill(~right, -1e4).logsumexp(1)
        loss = loss + 0.5 * (back.logsumexp(1) - best).mean()
        loss = loss + 0.5 * photo_loss(model, means, texts, text_map, 512, g, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(50))
    return text_map


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
