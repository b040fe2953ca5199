"""Train DALL-E 2: prior, decoder and up-sampler, each a diffusion of its own."""

import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import clip, vqgan, weights
from ...dalle import drawings
from ...dalle.diffusion import add_noise, velocity
from ...dalle.unclip import HANDS, LARGE, SIZE, Config, Unclip
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

FILE = "unclip.safetensors"
UNTOLD = 0.1  # conditions left out, for guidance
PEAK = {"prior": 1e-3, "decoder": 2e-3, "upsampler": 2e-3}
PAINTED = 1500  # views that the up-sampler learns from
BATCH = {"prior": 1024, "decoder": 64, "upsampler": 16}


@torch.no_grad()
def text_table(book: dict, model, tokenizer, device) -> tuple[Tensor, Tensor]:
    """The captions as vectors: ((N, D), spans (E, 2)); see ``album.wordings``."""
    texts, which, spans = albums.wordings(book)
    parts = tokenizer(texts).to(device).split(1024)
    table = torch.cat([model.encode_text(part).float() for part in parts])
    return table[which.to(device)], spans.to(device)


def long(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1) * x.shape[-1] ** 0.5


def train_part(part, model, data, clock: Clock, device, batch, seed=0, save=None):
    """Train one of the three networks in place; returns its last losses.

    ``data``: entry and worth (E,), and what the part needs of latents (E, L, n, n),
    seen (E, D), pictures and painted (E, 3, S, S) and texts; ``save``: called with
    (weights, loss) every five minutes and at the end.
    """
    kind = torch.device(device).type
    net = getattr(model, part)
    both = optimisers(net, part, kind == "cuda")
    average = Average(net, 0.999)
    g = torch.Generator(device=device).manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=g, device=device)

    def randn(x):
        return torch.randn(x.shape, generator=g, device=device, dtype=x.dtype)

    entry, running, saved = data["entry"], None, time.time()
    for step, share in clock:
        for group in (g for o in both for g in o.param_groups):
            group["lr"] = rate(share, PEAK[part], 0.02)
        rows = torch.multinomial(data["worth"], batch, True, generator=g)
        t = rand(batch)
        told = rand(batch) >= UNTOLD
        if part == "prior":
            texts, spans = data["texts"]
            span = spans[entry[rows]]
            text = texts[span[:, 0] + (rand(batch) * span[:, 1]).long()]
            x = long(data["seen"][rows].float())
            with half(device):
                said = net(add_noise(x, randn(x), t), t, long(text), told)
            loss = F.mse_loss(said.float(), x)
        elif part == "decoder":
            x = data["latents"][rows].float()
            t = randn(t).sigmoid()  # the middle decides most (Esser et al. 2024)
            noise, about = randn(x), long(data["seen"][rows].float())
            about = about + 0.1 * randn(about)  # the prior is not exact either
            with half(device):
                said = net(add_noise(x, noise, t), t, about, told)
            loss = F.mse_loss(said.float(), velocity(x, noise, t))
        else:
            x = data["pictures"][rows].float() / 127.5 - 1
            small = data["painted"][rows].float() / 127.5 - 1
            noise, blur = randn(x), rand(batch) * 0.2
            small = add_noise(small, randn(small), blur)
            with half(device):
                said = net(add_noise(x, noise, t), t, small, blur)
            loss = F.mse_loss(said.float(), x)
        descend(loss, net, both)
        average.update(net, step)
        running = (
            loss.detach() if running is None else running.lerp(loss.detach(), 0.01)
        )
        if clock.due:
            print(f"{part}: step {step} {share:.2f} loss {running:.4f}", flush=True)
        if save and time.time() - saved > 300:
            saved = time.time()
            save(average.state, round(float(running), 4))
    net.load_state_dict(average.state)
    if save:
        save(average.state, round(float(running), 4))
    return round(float(running), 4)


def optimisers(net, part: str, fused: bool) -> list[torch.optim.Optimizer]:
    """AdamW; on a GPU Muon for the matrices of the decoder's blocks.

    Muon needs fewer steps, but on a CPU, where batches are small, each takes longer: in
    a minute AdamW came further (data/models/training_log.txt).
    """
    blocks = net.blocks.parameters() if part == "decoder" and fused else []
    inner = [p for p in blocks if p.ndim == 2 and len(p) > 6]
    rest = rest_of(net, inner, 0.01)
    adam = torch.optim.AdamW(rest, betas=(0.9, 0.99), fused=fused)
    return [adam, Muon(inner, weight_decay=0.01)] if inner else [adam]


def train(
    steps: int = 8000,
    seconds: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    device="cpu",
    batch: int | None = None,
    part: str = "all",
    eyes: str = "pocket",
    views: int = 1,
    init: Path | None = None,
    album: Path | None = None,
    split=None,
    config: Config | None = None,
    codes: vqgan.VQGAN | None = None,
) -> Unclip:
    """Train the three networks, or one ``part``, ``steps`` or ``seconds`` each.

    ``eyes``: the CLIP in whose space they work; ``views``: of each drawing; ``init``: a
    file of one part to go on from. Each part is saved as OUT-PART, every five minutes
    too; all three together then become the file that is shipped, OUT.
    """
    torch.manual_seed(seed)
    fast_kernels()
    parts = list(PEAK) if part == "all" else [part]
    cache = WORK if split is None else None
    if split is None:
        _, split, _ = drawings.load()
        split = split.select(lambda card: card["style"] in HANDS)
    book = albums.build(split, most=1)
    if album:
        book = json.loads(album.read_text("utf-8"))
    guide = clip.load(eyes, device)
    codes = (codes or vqgan.load("dalle")).to(device).eval()
    model = Unclip(config or Config(embed=guide.model.config.embed)).to(device)
    before = {}
    for name in parts:
        net = getattr(model, name)
        if init:
            found, metadata = weights.read(init, "unclip part")
            own = {k.removeprefix(f"{name}."): v for k, v in found.items()}
            weights.load_state(net, own, init.name)
            before = {"after": json.loads(metadata["card"])}
        data = table(name, split, book, seed, device, views, guide, codes, cache)
        if name == "decoder" and not init:
            z = data["z"].float()
            net.mean.copy_(z.mean((0, 2, 3)).view_as(net.mean))
            net.spread.copy_(z.std((0, 2, 3)).view_as(net.spread))
        if name == "decoder":
            z = (data.pop("z").float() - net.mean) / net.spread
            data["latents"] = z.half()
        data["worth"] = albums.worth(split, book).to(device)[data["entry"]]
        print(f"{name}: {len(data['entry'])} views", flush=True)
        clock, many = Clock(steps, seconds), batch or BATCH[name]

        def save(state, loss, name=name, clock=clock, many=many, before=before):
            facts = {
                "steps": clock.step,
                "batch": many,
                "loss": loss,
                "minutes": round(clock.spent() / 60, 1),
                "seed": seed,
                "clip": None if name == "upsampler" else guide.fingerprint,
                "vqgan": codes.card["mark"] if name == "decoder" else None,
                "data": data_hash(),
                "machine": machine(device),
            } | before
            print(name, facts, flush=True)
            tensors = {
                f"{name}.{k}": v.half().cpu().contiguous() for k, v in state.items()
            }
            metadata = {"kind": "unclip part", "card": json.dumps(facts),
                        "config": json.dumps(vars(model.config))}  # fmt: skip
            weights.save(beside(out, name), tensors, metadata)

        train_part(name, model, data, clock, device, many, seed, save if out else None)
    if out and part == "all":
        join(out)
    return model.eval()


def table(part, split, book, seed, device, views, guide, codes, cache) -> dict:
    """What a part learns from; see ``views.table``."""
    if part == "upsampler":
        z = view_tables.table(
            split, book, seed, device, views, codes=codes, cache=cache
        )
        data = view_tables.table(split, book, seed, device, views, size=LARGE)
        g = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(z["entry"]), generator=g)[:PAINTED].to(device)
        data = {k: v[rows] for k, v in (data | {"z": z["z"]}).items()}
        return data | {"painted": painted(codes, data.pop("z"))}
    data = view_tables.table(split, book, seed, device, views, eyes=guide, cache=cache)
    if part == "prior":
        data["texts"] = text_table(book, guide.model, guide.tokenizer, device)
        return data
    return data | view_tables.table(
        split, book, seed, device, views, codes=codes, cache=cache
    )


@torch.no_grad()
def painted(codes: vqgan.VQGAN, z: Tensor) -> Tensor:
    """What the VQGAN paints of latents, at half the size: uint8 (N, 3, S, S)."""
    out = []
    for part in z.split(32):
        x = codes.from_codes(codes.quantize.nearest(part.float()))
        x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
        out.append(((x.clamp(-1, 1) + 1) * 127.5).round().byte())
    return torch.cat(out)


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
        for mark in ("clip", "vqgan"):
            card[mark] = card[part].get(mark) or card.get(mark)
        config = metadata["config"]
    weights.save(out, tensors, {"kind": "unclip", "config": config,
                                "card": json.dumps(card, sort_keys=True)})  # fmt: skip
