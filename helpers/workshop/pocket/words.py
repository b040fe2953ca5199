"""Stage 1 of ``pocket``: its text tower learns to give MiniLM's sentence vectors.

Dims: B batch, N texts, T tokens, D embedding.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from ... import paths
from ...clip import CLIP, Config, files
from ...clip.tokenizer import Tokenizer, learn_merges
from ..run import Average, Clock, rate, say
from . import texts as lessons
from .pictures import tokens


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
