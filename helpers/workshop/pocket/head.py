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

from ..run import Clock, rate

BATCH, SCALE = 256, 25.0
PHOTO = 1.0  # weight of the pseudo-photographs beside the drawings


def both_ways(scores: Tensor, target: Tensor, own: Tensor) -> Tensor:
    """Cross-entropy of each picture over the concepts, plus the other way round.

    scores (B, C) of pictures and concepts; target (B, C) soft, rows sum to 1; own
    (B, C) the share of each picture that shows a concept: each concept that a picture
    of the batch shows is asked for its pictures. Without that half, pictures that fit
    everything a little come first in every search.
    """
    asked = own.sum(0) > 0
    share = own[:, asked] / own[:, asked].sum(0)
    found = -(share * scores[:, asked].log_softmax(0)).sum(0).mean()
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
        goal = (torch.rand(n, generator=g) * 8 + 6).to(self.mean.device)
        far = (goal - self.start[classes]) / self.gain[classes]
        rows = torch.randint(len(self.spread), (n,), generator=g)
        noise = self.spread[rows.to(self.mean.device)]
        size = 0.5 * torch.rand(n, 1, generator=g).to(self.mean.device)
        out = self.mean + far[:, None] * self.way[classes] + size * noise
        return out.clamp(min=0)


def class_words(names: Tensor, true, weight) -> Tensor:
    """Where ConSE starts: the mean vector of each class's names as used, (1000, D)."""
    pairs = zip(weight, true, strict=True)
    found = [torch.tensor(w, device=names.device) @ names[t] for w, t in pairs]
    return F.normalize(torch.stack(found), dim=-1)


def fit_classes(
    tower, seen, drawn: Tensor, concept: Tensor, wording, known, tables, clock: Clock
) -> None:
    """Fit ``tower.classes`` and its sharpness in place.

    seen (N, 1280): plain features of drawings; drawn (N, D): what the other ways into
    the space give for them; concept (N,): what they show. ``wording()`` gives one
    vector a concept. known (M, D): vectors of ImageNet's names; tables: which are
    true of each class, and how much each is used.
    """
    classifier, device = tower.trunk.classifier, seen.device
    true, weight = tables
    means = ClassMeans(seen, classifier)
    with torch.no_grad():
        tower.classes.weight.copy_(class_words(known, true, weight).T)
    hide = torch.zeros(1000, len(known), dtype=torch.bool, device=device)
    for row, names in enumerate(true):
        hide[row, names] = True
    params = [tower.classes.weight, tower.sharpness]
    optimiser = torch.optim.AdamW(params, weight_decay=0.0)
    for p in params:
        p.requires_grad_(True)
    g, rng = torch.Generator().manual_seed(0), random.Random(0)
    for _, part in clock:
        optimiser.param_groups[0]["lr"] = rate(part, 3e-3, warm=0.04)
        rows = torch.randint(len(seen), (BATCH,), generator=g).to(device)
        words = wording()
        own = F.one_hot(concept[rows], len(words)).float()
        with torch.no_grad():
            logits = classifier(seen[rows])
        out = F.dropout(drawn[rows], 0.2) + tower.named(logits)
        loss = both_ways(SCALE * F.normalize(out, dim=-1) @ words.T, own, own)
        classes = torch.randint(1000, (BATCH,), generator=g)
        with torch.no_grad():
            logits = classifier(means.draw(classes.to(device), g))
        scores = SCALE * F.normalize(tower.named(logits), dim=-1) @ known.T
        # one true name of the class is the target; its other true names are left out
        right = [rng.choices(true[c], weight[c])[0] for c in classes.tolist()]
        right = torch.tensor(right, device=device)
        others = hide[classes.to(device)].clone()
        others[torch.arange(BATCH, device=device), right] = False
        photo = F.cross_entropy(scores.masked_fill(others, -1e4), right)
        optimiser.zero_grad()
        (loss + PHOTO * photo).backward()
        optimiser.step()
    print(
        f"class names, {clock.step} steps: drawings {loss:.3f}, photographs {photo:.3f}"
    )
    for p in params:
        p.requires_grad_(False)
