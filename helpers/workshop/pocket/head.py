"""Teach ``pocket`` the names of ImageNet's classes without a single photograph.

The corpus has no photographs to train on, but the ImageNet classifier inside the tower
knows what it looks for. Pseudo-features, guessed from its rows, stand for photographs
of each class; ``classes`` learns which word vector to add for each class, so that they
find all their names among WordNet's, while drawings must still find theirs.
"""

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..run import learning_rate
from .texts import Texts

STEPS, BATCH, SCALE = 500, 256, 25.0
PHOTO = 1.0  # weight of the pseudo-photographs beside the drawings


def both_ways(scores: Tensor, target: Tensor, own: Tensor) -> Tensor:
    """Cross-entropy of each picture over the concepts, plus the other way round.

    scores (B, C) of pictures and concepts; target (B, C) soft, rows sum to 1; own
    (B, C) the share of each picture that shows a concept: each concept that a picture
    of the batch shows is asked for its pictures. Without that half, pictures that fit
    everything a little come first in every search.
    """
    shown = own.sum(0) > 0
    share = own[:, shown] / own[:, shown].sum(0)
    found = -(share * scores[:, shown].log_softmax(0)).sum(0).mean()
    return F.cross_entropy(scores, target) + found


class ClassMeans:
    """Guess the mean feature of every ImageNet class from the classifier alone.

    For a linear discriminant the rows are S^-1 (class mean - mean), so the class mean
    lies along S row; S and the mean are taken from features of drawings.
    """

    def __init__(self, features: Tensor, classifier: nn.Linear):
        self.mean = features.mean(0)
        spread = features - self.mean
        S = spread.T @ spread / len(features)
        rows = classifier.weight.detach()
        self.way = rows @ S  # (1000, 1280)
        self.gain = (self.way * rows).sum(1)
        self.start = classifier.bias.detach() + rows @ self.mean
        self.spread = spread

    def draw(self, classes: Tensor, g: torch.Generator) -> Tensor:
        """(N,) classes -> (N, 1280) features with that class logit between 6 and 14."""
        n = len(classes)
        goal = torch.rand(n, generator=g) * 8 + 6
        steps = (goal - self.start[classes]) / self.gain[classes]
        noise = self.spread[torch.randint(len(self.spread), (n,), generator=g)]
        size = 0.5 * torch.rand(n, 1, generator=g)
        out = self.mean + steps[:, None] * self.way[classes] + size * noise
        return out.clamp(min=0)


def fit_classes(
    tower, features: Tensor, concept: Tensor, texts: Texts, seed: int
) -> None:
    """Fit ``tower.classes``, its sharpness and, gently, ``tower.proj`` in place.

    features (N, 1280) of drawings, concept (N,) their rows of ``texts``.
    """
    classifier = tower.trunk.classifier
    means = ClassMeans(features, classifier)
    known = texts.imagenet
    pairs = zip(texts.weight, texts.true, strict=True)
    names = [torch.tensor(weight) @ known[true] for weight, true in pairs]
    with torch.no_grad():  # where ConSE starts: the mean of a class's names, as used
        tower.classes.weight.copy_(F.normalize(torch.stack(names), dim=-1).T)
    hide = torch.zeros(1000, len(known), dtype=torch.bool)
    for row, true in enumerate(texts.true):
        hide[row, true] = True
    params = [tower.classes.weight, tower.sharpness]
    optimiser = torch.optim.AdamW(
        [
            {"params": params, "peak": 3e-3},
            {"params": tower.proj.parameters(), "peak": 1e-3},
        ],
        weight_decay=0.0,
    )
    for group in optimiser.param_groups:
        for p in group["params"]:
            p.requires_grad_(True)
    g, rng = torch.Generator().manual_seed(seed), random.Random(seed)

    def see(x: Tensor, lost: float) -> Tensor:
        with torch.no_grad():
            logits = classifier(x)
        part = tower.proj(F.dropout(x, lost))
        part = part + tower.classes((tower.sharpness * logits).softmax(-1))
        return SCALE * F.normalize(part, dim=-1)

    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, STEPS, group["peak"], 20)
        rows = torch.randint(len(features), (BATCH,), generator=g)
        words = texts.wording(g)
        own = F.one_hot(concept[rows], len(words)).float()
        loss = both_ways(see(features[rows], 0.3) @ words.T, own, own)
        classes = torch.randint(1000, (BATCH,), generator=g)
        scores = see(means.draw(classes, g), 0.0) @ known.T
        # one true name of the class is the target; its other true names are left out
        right = [
            rng.choices(texts.true[c], texts.weight[c])[0] for c in classes.tolist()
        ]
        right = torch.tensor(right)
        others = hide[classes].clone()
        others[torch.arange(BATCH), right] = False
        photo = F.cross_entropy(scores.masked_fill(others, -1e4), right)
        optimiser.zero_grad()
        (loss + PHOTO * photo).backward()
        optimiser.step()
    print(f"class names: drawings {loss:.3f}, pseudo-photographs {photo:.3f}")
