"""Train DALL-E 2: prior, decoder and up-sampler, each a diffusion of its own."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import clip, weights
from ...corpus import colours
from ...dalle import drawings
from ...dalle.diffusion import add_noise, velocity
from ...dalle.unclip import Config, Unclip
from .. import album as albums
from ..run import Average, Clock, data_hash, fast_kernels, groups, machine, rate

FILE = "unclip.safetensors"
UNTOLD = 0.1  # conditions left out, for guidance
PEAK = {"prior": 1e-3, "decoder": 6e-4, "upsampler": 6e-4}
BATCH = {"prior": 1024, "decoder": 384, "upsampler": 128}


@torch.no_grad()
def view_table(
    split, book: dict, seed: int, device, size: int, eyes=None, views=albums.VIEWS
):
    """(pictures (E, 3, size, size) uint8, embeddings (E, D) or None, entry (E,)).

    An entry is a drawing with one of its turns, in the order of ``book``.
    """
    g = torch.Generator().manual_seed(seed)
    rgba = split.rgba.to(device)
    rows, steps, which = albums.entries(book, device, views)
    out, seen = [], []
    kind = torch.device(device).type
    for part in which.split(512):
        x = colours.turn_pictures(rgba[rows[part]], steps[part])
        y = (drawings.whole_views(x, g) + 1) / 2
        if eyes is not None:
            S = eyes.config.image_size
            z = F.interpolate(y, size=(S, S), mode="bicubic", antialias=True).clamp(
                0, 1
            )
            with torch.autocast(kind, torch.bfloat16):
                seen.append(eyes.encode_image(z).float())
        if size != y.shape[-1]:
            y = F.interpolate(y, size=(size, size), mode="bilinear", antialias=True)
        out.append((y * 255).round().to(torch.uint8))
    return torch.cat(out), torch.cat(seen) if seen else None, which.to(device)


@torch.no_grad()
def text_table(book: dict, model, tokenizer, device) -> tuple[Tensor, Tensor]:
    """Embeddings of all captions: ((texts, D), first and count (entries, 2))."""
    texts, spans = [], []
    for row in (r for d in book["captions"] for r in d):
        spans.append((len(texts), len(row)))
        texts += row
    known = {t: n for n, t in enumerate(dict.fromkeys(texts))}
    tokens = tokenizer(list(known))
    rows = []
    for part in tokens.split(1024):
        rows.append(model.encode_text(part.to(device)).float())
    table = torch.cat(rows)
    pick = torch.tensor([known[t] for t in texts], device=device)
    return table[pick], torch.tensor(spans, device=device)


def long(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1) * x.shape[-1] ** 0.5


def train_part(part, model, data, clock: Clock, device, batch, seed=0):
    """Train one of the three networks in place; returns its last losses."""
    kind = torch.device(device).type
    net = getattr(model, part)
    fused = {"fused": True} if kind == "cuda" else {}
    optimiser = torch.optim.AdamW(groups(net, 0.01), betas=(0.9, 0.99), **fused)
    average = Average(net, 0.9995)
    g = torch.Generator(device=device).manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=g, device=device)

    def randn(x):
        return torch.randn(x.shape, generator=g, device=device, dtype=x.dtype)

    pictures, seen, entry = data["views"]
    count = len(entry)
    running = None
    for step, share in clock:
        for group in optimiser.param_groups:
            group["lr"] = rate(share, PEAK[part], 0.02)
        rows = torch.randint(count, (batch,), generator=g, device=device)
        t = rand(batch)
        told = rand(batch) >= UNTOLD
        if part == "prior":
            texts, spans = data["texts"]
            span = spans[entry[rows]]
            text = texts[span[:, 0] + (rand(batch) * span[:, 1]).long()]
            x = long(seen[rows])
            with torch.autocast(kind, torch.bfloat16):
                said = net(add_noise(x, randn(x), t), t, long(text), told)
            loss = F.mse_loss(said.float(), x)
        elif part == "decoder":
            x = pictures[rows].float() / 127.5 - 1
            noise, about = randn(x), long(seen[rows])
            about = about + 0.1 * randn(about)  # the prior is not exact either
            with torch.autocast(kind, torch.bfloat16):
                said = net(add_noise(x, noise, t), t, about, told)
            loss = F.mse_loss(said.float(), velocity(x, noise, t))
        else:
            x = pictures[rows].float() / 127.5 - 1
            small = F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
            noise, blur = randn(x), rand(batch) * 0.35
            small = add_noise(small, randn(small), blur)
            with torch.autocast(kind, torch.bfloat16):
                said = net(add_noise(x, noise, t), t, small, blur)
            loss = F.mse_loss(said.float(), velocity(x, noise, t))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        average.update(net, step)
        running = (
            loss.detach() if running is None else running.lerp(loss.detach(), 0.01)
        )
        if clock.due:
            print(f"{part}: step {step} {share:.2f} loss {running:.4f}", flush=True)
    net.load_state_dict(average.state)
    return round(float(running), 4)


def train(
    steps: int = 8000,
    seconds: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    device="cpu",
    batch: int | None = None,
    part: str = "all",
    eyes: str = "pocket",
    album: Path | None = None,
    split=None,
    config: Config | None = None,
) -> Unclip:
    """Train the three networks, or one ``part``, ``steps`` or ``seconds`` each.

    ``eyes``: the CLIP in whose space they work. Each part is saved as OUT-PART; all
    three together then become the file that is shipped, OUT.
    """
    torch.manual_seed(seed)
    fast_kernels()
    parts = list(PEAK) if part == "all" else [part]
    if split is None:
        _, split, _ = drawings.load()
    book = json.loads(album.read_text("utf-8")) if album else albums.build(split)
    guide = clip.load(eyes, device)
    model = Unclip(config or Config(embed=guide.model.config.embed)).to(device)
    model = model.to(memory_format=torch.channels_last)
    for name in parts:
        last = name == "upsampler"
        data = {
            "views": view_table(split, book, seed, device, 128, None, 2)
            if last
            else view_table(split, book, seed, device, 64, guide.model)
        }
        if name == "prior":
            data["texts"] = text_table(book, guide.model, guide.tokenizer, device)
        print(f"{name}: {len(data['views'][0])} views", flush=True)
        clock, many = Clock(steps, seconds), batch or BATCH[name]
        loss = train_part(name, model, data, clock, device, many, seed)
        facts = {
            "steps": clock.step,
            "batch": many,
            "loss": loss,
            "minutes": round(clock.spent() / 60, 1),
            "seed": seed,
            "clip": None if last else guide.fingerprint,
            "data": data_hash(),
            "machine": machine(device),
        }
        print(name, "done", facts, flush=True)
        if out:
            state = getattr(model, name).state_dict()
            tensors = {
                f"{name}.{k}": v.half().cpu().contiguous() for k, v in state.items()
            }
            metadata = {"kind": "unclip part", "card": json.dumps(facts),
                        "config": json.dumps(vars(model.config))}  # fmt: skip
            weights.save(beside(out, name), tensors, metadata)
    if out and part == "all":
        join(out)
    return model.eval()


def beside(out: Path, part: str) -> Path:
    """Where a part of the model is kept."""
    return out.with_name(f"{out.stem}-{part}{out.suffix}")


def join(out: Path) -> None:
    """Put the three parts into the one file that is shipped."""
    tensors, card, config = {}, {"model": "unclip"}, None
    for part in PEAK:
        found, metadata = weights.read(beside(out, part), "unclip part")
        tensors |= found
        card[part] = json.loads(metadata["card"])
        card["clip"] = card[part]["clip"] or card.get("clip")
        config = metadata["config"]
    weights.save(out, tensors, {"kind": "unclip", "config": config,
                                "card": json.dumps(card, sort_keys=True)})  # fmt: skip
