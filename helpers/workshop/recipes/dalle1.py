"""Train DALL-E 1: a GPT over captions and the 8 x 8 codes of whole drawings."""

import json
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import corpus, gpt, vqgan, weights
from ...clip.files import merge_ids
from ...clip.tokenizer import Tokenizer, learn_merges
from ...dalle import dalle1, drawings, unclip
from ...dalle.dalle1 import stream_words
from .. import album as albums
from .. import views as view_tables
from ..muon import Muon, rest_of
from ..run import (
    WORK,
    Average,
    Clock,
    data_hash,
    descend,
    fast_kernels,
    half,
    machine,
    rate,
)

FILE = "dalle1.safetensors"
TEXT = 1 / 8  # share of the loss for the caption (paper §2.2)
UNTOLD = 0.1  # captions left out, for guidance
BACK = 0.15  # streams with the codes first, for captions from pictures


def config(
    vocab: int, count: int, context: int = 24, width=240, layers=6, dropout=0.15
):
    return gpt.Config(
        codes=count, grid=8, conditions=context, values=vocab + context, width=width,
        layers=layers, heads=6, dropout=dropout, orders=2,
    )  # fmt: skip


def told_table(book: dict, vocab: int, count: int, tokenizer=None):
    """The captions as tokens: (tokenizer, tokens (N, T) int32, spans (E, 2)).

    ``tokenizer``: one that is there already; otherwise it learns from the captions.
    """
    texts, which, spans = albums.wordings(book)
    if tokenizer is None:
        tokenizer = Tokenizer(learn_merges(sorted(texts), vocab - 514), 24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokens = tokenizer(texts)
    ids = stream_words(tokens, tokenizer, config(len(tokenizer), count))
    return tokenizer, ids.to(torch.int32)[which], spans


def train(
    steps: int = 8000,
    seconds: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    device="cpu",
    batch: int = 512,
    peak: float = 1.5e-3,
    dropout: float = 0.15,
    width: int = 240,
    layers: int = 6,
    vocab: int = 1800,
    views: int = albums.VIEWS,
    plain: bool = False,
    four: float = 1.0,
    turned: float = 1.0,
    memory: float = 0.999,
    init: Path | None = None,
    album: Path | None = None,
    pairs=None,
    codes: vqgan.VQGAN | None = None,
) -> gpt.GPT:
    """Train, print the loss on the dev pairs, which nothing learnt; save at ``out``.

    ``album``: captions that were written before; ``pairs``: what ``drawings.load``
    gives, or a part of it; ``init``: a trained DALL-E 1 to go on from; ``views``: of
    each drawing; ``plain``: of these only the one that is not moved; ``four``: how much
    oftener the hands are drawn that DALL-E 2 knows, ``turned``: what is turned in hue.
    ``memory``: decay of the moving average of the weights, which is what is kept.
    The file is written every five minutes, so a run may be cut off.
    """
    torch.manual_seed(seed)
    fast_kernels()
    kind = torch.device(device).type
    cache = WORK if pairs is None else None
    everything, split, kept = pairs or drawings.load()
    book = json.loads(album.read_text("utf-8")) if album else albums.build(split)
    if book["ids"] != [c["id"] for c in split.cards]:
        raise ValueError("The album belongs to another corpus.")
    codes = (codes or vqgan.load("dalle")).to(device).eval()
    before = dalle1.load(str(init), "cpu") if init else None
    tokenizer, words, spans = told_table(
        book, vocab, codes.count, before and before.tokenizer
    )
    c = config(len(tokenizer), codes.count, 24, width, layers, dropout)
    model = gpt.GPT(c).to(device)
    if before:
        model.load_state_dict(before.model.state_dict())
    print(
        "dalle1:", sum(p.numel() for p in model.parameters()), "parameters", flush=True
    )
    seen = view_tables.table(split, book, seed, device, views, codes=codes, cache=cache)
    drawn_codes = torch.cat(
        [codes.quantize.nearest(z.float()).flatten(1) for z in seen["z"].split(4096)]
    ).to(torch.int16)
    entry = seen["entry"]
    words, spans = words.to(device), spans.to(device)
    null = stream_words(tokenizer([""]), tokenizer, c).to(device)
    dev = everything.select(lambda c: (c["concept"], c["style"]) in kept["dev"])
    dev_texts = [f"{c['style']} of {corpus.article(c['name'])}" for c in dev.cards]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dev_words = stream_words(tokenizer(dev_texts), tokenizer, c).to(device)
    g0 = torch.Generator().manual_seed(1)
    with torch.no_grad():
        dev_x = drawings.whole_views(dev.rgba, g0, move=0).to(device)
        dev_codes = torch.cat(
            [
                codes.quantize.nearest(codes.encode(x)).flatten(1)
                for x in dev_x.split(64)
            ]
        )
    dev_stream = torch.cat([dev_words, dev_codes], 1)
    dev_hands = dev_stream[[c["style"] in unclip.HANDS for c in dev.cards]]
    print(f"dalle1: {len(entry)} views, {len(words)} captions", flush=True)
    weight = albums.worth(split, book, four, turned).to(device)[entry]
    if plain:  # only the first view of every entry, which is the drawing as it is
        moved = torch.zeros(len(entry), dtype=torch.bool, device=device)
        moved[1:] = entry[1:] == entry[:-1]
        weight = weight.masked_fill(moved, 0)
    both = optimisers(model, kind == "cuda")
    average = Average(model, memory)
    g = torch.Generator(device=device).manual_seed(seed)
    T, middle = c.conditions, c.context // 2
    is_pad = c.codes + len(tokenizer)
    clock, saved = Clock(steps, seconds), time.time()

    def card() -> dict:
        now = {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(average.state)
        facts = {
            "model": "dalle1",
            "data": data_hash(),
            "without": "black silhouettes",
            "seed": seed,
            "steps": clock.step,
            "batch": batch,
            "vqgan": codes.card["mark"],
            "dropout": dropout,
            "plain": plain,
            "four": four,
            "turned": turned,
            "dev": round(dev_loss(model, dev_stream, c), 4),
            "dev_hands": round(dev_loss(model, dev_hands, c), 4),
            "minutes": round(clock.spent() / 60, 1),
            "machine": machine(device),
        }
        if before:
            facts["after"] = before.card
        model.load_state_dict(now)
        print(
            "dalle1:",
            facts["steps"],
            "steps, dev",
            facts["dev"],
            facts["dev_hands"],
            flush=True,
        )
        return facts

    for step, share in clock:
        for group in (g for o in both for g in o.param_groups):
            group["lr"] = rate(share, peak, 0.03)
        rows = torch.multinomial(weight, batch, True, generator=g)
        span = spans[entry[rows]]
        pick = (torch.rand(batch, generator=g, device=device) * span[:, 1]).long()
        told = words[span[:, 0] + pick].long()
        drawn = drawn_codes[rows].long()
        back = int(BACK * batch)
        lost = torch.rand(batch, 1, generator=g, device=device) < UNTOLD
        lost[:back] = False
        told = torch.where(lost, null, told)
        forward = torch.cat([told, drawn], 1)[back:]
        backward = torch.cat([drawn, told], 1)[:back]
        model.train()
        with half(device):
            ahead = model(forward[:, :-1])
            after = model(backward[:, :-1], first=middle)
        goal = forward[:, 1:]
        losses = F.cross_entropy(ahead.float().transpose(1, 2), goal, reduction="none")
        text_mask = (goal[:, : T - 1] < is_pad).float()
        loss_text = (losses[:, : T - 1] * text_mask).sum() / text_mask.sum()
        loss_codes = losses[:, T - 1 :].mean()
        goal = backward[:, c.grid**2 + 1 :]
        mask = (goal < is_pad).float()
        told_loss = F.cross_entropy(
            after[:, c.grid**2 :].float().transpose(1, 2), goal, reduction="none"
        )
        loss_back = (told_loss * mask).sum() / mask.sum()
        loss = TEXT * loss_text + (1 - TEXT) * loss_codes + 0.05 * loss_back
        descend(loss, model, both)
        average.update(model, step)
        if clock.due:
            print(
                f"dalle1: step {step} {share:.2f} codes {loss_codes:.3f} words "
                f"{loss_text:.3f} back {loss_back:.3f}",
                flush=True,
            )
        if out and time.time() - saved > 300:
            saved = time.time()
            write(out, model, average.state, tokenizer, card(), split)
    model.load_state_dict(average.state)
    if out:
        write(out, model, average.state, tokenizer, card(), split)
    return model.eval()


def optimisers(model: gpt.GPT, fused: bool) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, gains and biases."""
    inner = [p for p in model.blocks.parameters() if p.ndim == 2]
    rest = rest_of(model, inner, 0.05)
    adam = torch.optim.AdamW(rest, betas=(0.9, 0.95), fused=fused)
    return [adam, Muon(inner, weight_decay=0.05)]


def write(out: Path, model, state: dict, tokenizer, card: dict, split) -> None:
    """Save ``state`` of the model with all that a loader needs."""
    tensors = {k: v.half().cpu().contiguous() for k, v in state.items()}
    tensors["tokenizer.merges"] = merge_ids(tokenizer)
    styles = sorted({c["style"] for c in split.cards})
    metadata = {"kind": "dalle1", "config": json.dumps(vars(model.config)),
                "card": json.dumps(card), "styles": json.dumps(styles)}  # fmt: skip
    weights.save(Path(out), tensors, metadata)


@torch.no_grad()
def dev_loss(model, stream: Tensor, c) -> float:
    """Mean loss of the codes of the dev pairs, nats a code."""
    model.eval()
    out = []
    for part in stream.split(256):
        with half(stream.device):
            logits = model(part[:, :-1])
        logits = logits[:, c.conditions - 1 :].float()
        goal = part[:, c.conditions :]
        out.append(F.cross_entropy(logits.transpose(1, 2), goal, reduction="none"))
    model.train()
    return torch.cat(out).mean().item()
