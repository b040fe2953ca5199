"""DALL-E 2 in miniature: unCLIP (Ramesh et al. 2022).

Dims: B batch, D embedding of CLIP, L channels of a latent, n places a side, H/W pixels.
A caption becomes the embedding of a picture (the prior), that the n x n latents of a
VQGAN (the decoder), which its own decoder paints; an up-sampler draws fine edges anew.
All three are diffusions. The paper's decoder works on pixels, 64 a side: 4,096 places
where ours has 64, so that a CPU can train it (latent diffusion, Rombach et al. 2022).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import clip, vqgan, weights
from ..blocks import Attention, Transformer
from ..clip.tokenizer import check_texts
from ..device import pick_device
from ..values import floats, generator, number, seed_after, short, tensor, whole
from .diffusion import Clock, add_noise, ddim, ddim_back, guided

SIZE, LARGE = 64, 128  # pixels a side before and after the up-sampler
HANDS = ("emoji", "flat emoji", "bold flat emoji", "3-D emoji")  # it learnt these


@dataclass
class Config:
    """Sizes of the three networks."""

    embed: int = 384  # D, of the CLIP whose space is used
    prior_width: int = 192
    prior_layers: int = 3
    prior_heads: int = 4
    latent: int = 16  # L
    grid: int = 8  # n
    patch: int = 2  # latents a side that the decoder reads as one token
    decoder_width: int = 288
    decoder_layers: int = 5
    decoder_heads: int = 6
    upsampler: tuple = (24, 32, 48)
    clock: int = 192  # width of time and condition


class Prior(nn.Module):
    """Caption embedding -> picture embedding; a small transformer that predicts x0.

    It reads four tokens: the caption, the time, the noised picture embedding, and a
    question whose answer is the clean one (paper §2.2). Embeddings have length sqrt(D).
    """

    def __init__(self, c: Config):
        super().__init__()
        w = c.prior_width
        self.caption, self.noised = nn.Linear(c.embed, w), nn.Linear(c.embed, w)
        self.clock = Clock(w)
        self.untold = nn.Parameter(0.02 * torch.randn(w))
        self.question = nn.Parameter(0.02 * torch.randn(w))
        self.place = nn.Parameter(0.02 * torch.randn(4, w))
        self.transformer = Transformer(w, c.prior_layers, c.prior_heads, False)
        self.norm, self.answer = nn.LayerNorm(w), nn.Linear(w, c.embed)

    def forward(self, x: Tensor, t: Tensor, text: Tensor, told: Tensor) -> Tensor:
        """x, text (B, D), t (B,), told (B,) bool -> the clean embedding (B, D)."""
        said = torch.where(told[:, None], self.caption(text), self.untold)
        question = self.question.expand(len(x), -1)
        tokens = torch.stack([said, self.clock(t), self.noised(x), question], 1)
        h = self.transformer(tokens + self.place)
        return self.answer(self.norm(h[:, -1]))


class ResBlock(nn.Module):
    """norm, swish, 3x3 twice around a shortcut; ``c`` (B, W) scales and shifts."""

    def __init__(self, before: int, after: int, width: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.told = nn.Linear(width, 2 * after)
        self.norm2 = nn.GroupNorm(8, after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)
        same = before == after
        self.short = nn.Identity() if same else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.told(F.silu(c))[:, :, None, None].chunk(2, 1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.short(x) + h


class Attend(nn.Module):
    """Every place looks at every other: (B, C, H, W) -> the same."""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        q, k, v = (  # (B, heads, H * W, C / heads)
            part.reshape(B, self.heads, C // self.heads, H * W).transpose(2, 3)
            for part in self.qkv(self.norm(x)).chunk(3, 1)
        )
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(h.transpose(2, 3).reshape(B, C, H, W))


class UNet(nn.Module):
    """Down, and up again with what was seen on the way: (B, C, H, W) -> (B, C', H, W).

    Sizes H, H / 2 and H / 4 with ``channels`` each; attention at the smaller two.
    """

    def __init__(self, before: int, after: int, channels: tuple, width: int):
        super().__init__()
        a, b, c = channels
        self.enter = nn.Conv2d(before, a, 3, padding=1)
        self.down1 = ResBlock(a, a, width)
        self.down2 = ResBlock(a, b, width)
        self.attend2 = Attend(b)
        self.down3 = ResBlock(b, c, width)
        self.attend3 = Attend(c)
        self.middle = ResBlock(c, c, width)
        self.up3 = ResBlock(2 * c, c, width)
        self.attend_up3 = Attend(c)
        self.up2 = ResBlock(c + b, b, width)
        self.attend_up2 = Attend(b)
        self.up1 = ResBlock(b + a, a, width)
        self.last = ResBlock(2 * a, a, width)
        self.norm = nn.GroupNorm(8, a)
        self.leave = nn.Conv2d(a, after, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        def larger(h: Tensor) -> Tensor:
            return F.interpolate(h, scale_factor=2.0, mode="nearest")

        x = self.enter(x)
        one = self.down1(x, c)
        two = self.attend2(self.down2(F.avg_pool2d(one, 2), c))
        three = self.attend3(self.down3(F.avg_pool2d(two, 2), c))
        h = self.middle(three, c)
        h = self.attend_up3(self.up3(torch.cat([h, three], 1), c))
        h = self.attend_up2(self.up2(torch.cat([larger(h), two], 1), c))
        h = self.up1(torch.cat([larger(h), one], 1), c)
        h = self.last(torch.cat([h, x], 1), c)
        return self.leave(F.silu(self.norm(h)))


class DecoderBlock(nn.Module):
    """Attention, then mlp; the condition scales, shifts and gates both.

    This is the block of DiT (Peebles and Xie 2023, "adaLN-Zero"). ``told`` (B, 6, C) is
    made once for all blocks, and each adds what it learnt for itself.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.own = nn.Parameter(torch.zeros(6, width))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        parts = (told + self.own)[:, :, None].unbind(1)  # six times (B, 1, C)
        scale1, shift1, gate1, scale2, shift2, gate2 = parts
        x = x + gate1 * self.attn(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class Decoder(nn.Module):
    """Noised latents, time, picture embedding -> velocity: a transformer of places.

    Two by two latents become one token (the "patches" of DiT), so 16 tokens in all. The
    embedding is added to the time, as in the paper (§2.1), and both reach every block.
    ``mean`` and ``spread`` bring the latents of the VQGAN to about one.
    """

    def __init__(self, c: Config):
        super().__init__()
        w, self.patch = c.decoder_width, c.patch
        self.enter = nn.Linear(c.latent * c.patch**2, w)
        self.place = nn.Parameter(0.02 * torch.randn((c.grid // c.patch) ** 2, w))
        self.clock = Clock(w)
        self.embedding = nn.Sequential(
            nn.Linear(c.embed, w), nn.SiLU(), nn.Linear(w, w)
        )
        self.untold = nn.Parameter(torch.zeros(w))
        self.told = nn.Sequential(nn.SiLU(), nn.Linear(w, 6 * w))
        self.blocks = nn.ModuleList(
            DecoderBlock(w, c.decoder_heads) for _ in range(c.decoder_layers)
        )
        self.norm = nn.LayerNorm(w)
        self.leave = nn.Linear(w, c.latent * c.patch**2)
        for layer in (self.told[1], self.leave):  # at first every block does nothing
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("mean", torch.zeros(c.latent, 1, 1))
        self.register_buffer("spread", torch.ones(c.latent, 1, 1))

    def forward(self, x: Tensor, t: Tensor, seen: Tensor, told: Tensor) -> Tensor:
        """x (B, L, n, n), t (B,), seen (B, D) of length sqrt(D), told (B,) bool."""
        about = torch.where(told[:, None], self.embedding(seen), self.untold)
        about = self.told(self.clock(t) + about).unflatten(1, (6, -1))
        x = F.pixel_unshuffle(x, self.patch)
        h = self.enter(x.flatten(2).transpose(1, 2)) + self.place  # (B, tokens, C)
        for block in self.blocks:
            h = block(h, about)
        h = self.leave(self.norm(h)).transpose(1, 2).view_as(x)
        return F.pixel_shuffle(h, self.patch)


class Upsampler(nn.Module):
    """Noised picture of 128 px, and the one of 64 px -> the clean one (paper §2.1).

    It says what the enlarged small picture lacks. Four by four pixels become channels
    first, so that few places are left. The small picture is noised too, to ``blur``
    (B,) in time, and the network is told how much: so it learns not to trust every
    pixel of what the decoder will give it.
    """

    def __init__(self, c: Config):
        super().__init__()
        self.clock, self.trust = Clock(c.clock), Clock(c.clock)
        self.net = UNet(48 + 12, 48, c.upsampler, c.clock)

    def forward(self, x: Tensor, t: Tensor, small: Tensor, blur: Tensor) -> Tensor:
        h = torch.cat([F.pixel_unshuffle(x, 4), F.pixel_unshuffle(small, 2)], 1)
        h = self.net(h, self.clock(t) + self.trust(blur))
        return F.interpolate(
            small, scale_factor=2.0, mode="bilinear"
        ) + F.pixel_shuffle(h, 4)


class Unclip(nn.Module):
    """The three networks; ``Painter`` adds the CLIP and the sampling."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.prior, self.decoder = Prior(config), Decoder(config)
        self.upsampler = Upsampler(config)


class Painter:
    """DALL-E 2: captions and picture embeddings in, pictures out.

    ``eyes``: the CLIP in whose space it works; ``codes``: the VQGAN that paints.
    """

    def __init__(
        self, model: Unclip, eyes: clip.Embedder, codes: vqgan.VQGAN, card: dict
    ):
        self.model, self.eyes, self.card = model.eval(), eyes, card
        self.vqgan = codes

    @property
    def device(self) -> torch.device:
        return self.model.prior.question.device

    @property
    def places(self) -> tuple[int, int, int]:
        """The shape of one picture's latents: (L, n, n)."""
        c = self.model.config
        return c.latent, c.grid, c.grid

    def pair(self, latents, seen) -> tuple[Tensor, Tensor]:
        """Latents and the embeddings they belong to, checked."""
        latents = floats("Latents", latents, *self.places).to(self.device)
        seen = floats("Embeddings", seen, self.model.config.embed)
        if len(latents) != len(seen):
            raise ValueError(
                f"Each embedding needs its own latents: {len(seen)} embeddings came "
                f"with {len(latents)}."
            )
        return latents, seen

    def noise(self, seed: int, *shape: int) -> Tensor:
        """Drawn on the CPU, so that a seed means the same everywhere."""
        shape = [whole("A side of noise", n, 0, 2**30) for n in shape]
        return torch.randn(shape, generator=generator(seed)).to(self.device)

    def long(self, embedding: Tensor) -> Tensor:
        """(B, D) brought to length sqrt(D), as the networks want it."""
        embedding = tensor("Embeddings", embedding).float().to(self.device)
        return F.normalize(embedding, dim=-1) * embedding.shape[-1] ** 0.5

    def imagine(
        self, captions: list[str], seed: int = 0, guidance: float = 2.0, steps: int = 16
    ) -> Tensor:
        """What the prior thinks pictures of the captions look like to CLIP: (B, D).

        A caption longer than the context of the CLIP is cut, with a warning. Raises
        ValueError for knobs out of range, TypeError for what is no text.
        """
        text = self.long(self.eyes.embed_texts(check_texts(captions)))

        def network(x, t, told):
            return self.model.prior(x, t, as_many(text, x), told)

        x = self.noise(seed, *text.shape)
        return F.normalize(ddim(guided(network, guidance), x, steps, "x0"), dim=-1)

    def look(self, pictures) -> Tensor:
        """CLIP's embeddings of pictures: (B, D) on the unit sphere."""
        return self.eyes.embed_images(pictures).to(self.device)

    def velocity(self, seen: Tensor, guidance: float):
        """The decoder's velocity under guidance, as a function of (x_t, t)."""
        seen = self.long(floats("Embeddings", seen, self.model.config.embed))

        def network(x, t, told):
            return self.model.decoder(x, t, as_many(seen, x), told)

        return guided(network, guidance)

    def decode(
        self,
        seen: Tensor,
        seed: int = 0,
        guidance: float = 3.0,
        steps: int = 20,
        start: Tensor | None = None,
        watch=None,
    ) -> Tensor:
        """Picture embeddings (B, D) -> latents (B, L, n, n) of about length one.

        ``start``: noise of that shape to begin with, instead of that of the seed.
        ``watch``: called with (step, clean latents) after each step. Raises ValueError
        for knobs out of range and other shapes.
        """
        if start is None:
            seen = floats("Embeddings", seen, self.model.config.embed)
            start = self.noise(seed, len(seen), *self.places)
        start, seen = self.pair(start, seen)
        if not len(seen):
            return start
        return ddim(self.velocity(seen, guidance), start, steps, "v", None, watch)

    @torch.no_grad()
    def paint(self, latents: Tensor) -> Tensor:
        """Latents (B, L, n, n) -> pictures (B, 3, 128, 128) float in [0, 1].

        Each latent first becomes the nearest code, so that nothing is painted that the
        VQGAN has not learnt.
        """
        latents = floats("Latents", latents, *self.places).to(self.device)
        z = latents * self.model.decoder.spread + self.model.decoder.mean
        codes = self.vqgan.quantize.nearest(z)
        return ((self.vqgan.from_codes(codes) + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def latents(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, 128, 128) float in [0, 1] -> latents (B, L, n, n)."""
        pictures = check_pictures("Pictures", pictures, LARGE)
        if not len(pictures):
            return torch.zeros(0, *self.places, device=self.device)
        return self.encode(pictures.to(self.device))

    def encode(self, pictures: Tensor) -> Tensor:
        """The same without checks, and with the gradient."""
        z = self.vqgan.encode(pictures * 2 - 1)
        return (z - self.model.decoder.mean) / self.model.decoder.spread

    def enlarge(
        self, small: Tensor, seed: int = 0, steps: int = 6, blur: float = 0.1
    ) -> Tensor:
        """(B, 3, 64, 64) -> (B, 3, 128, 128), both float in [0, 1]."""
        small = check_pictures("Small pictures", small, SIZE)
        blur = number("The blur", blur, 0, 1)
        if not len(small):
            return torch.zeros(0, 3, LARGE, LARGE, device=self.device)
        small = small.to(self.device) * 2 - 1
        level = torch.full((len(small),), blur, device=self.device)
        noised = add_noise(small, self.noise(seed_after(seed, 1), *small.shape), level)
        x = self.noise(seed_after(seed, 2), len(small), 3, LARGE, LARGE)

        def said_by(x, t):
            return self.model.upsampler(x, t, noised, level)

        return (ddim(said_by, x, steps, "x0", 1.0) + 1) / 2

    def finish(self, latents: Tensor, seed: int = 0) -> Tensor:
        """Paint, shrink to 64 px, and let the up-sampler draw the edges anew."""
        small = F.interpolate(
            self.paint(latents), size=(SIZE, SIZE), mode="bilinear", antialias=True
        )
        return self.enlarge(small, seed)

    def draw(
        self, captions: str | list[str], seed: int = 0, sharpen: bool = False, **knobs
    ) -> Tensor:
        """Captions -> pictures (B, 3, 128, 128) float in [0, 1].

        ``knobs``: guidance and steps of the decoder. ``sharpen``: let the up-sampler
        follow; it has learnt for minutes only, and leaves grain.
        """
        captions = check_texts(captions)
        if not captions:
            return torch.zeros(0, 3, LARGE, LARGE, device=self.device)
        latents = self.decode(self.imagine(captions, seed), seed, **knobs)
        return self.finish(latents, seed) if sharpen else self.paint(latents)

    def variations(self, picture, count: int, seed: int = 0, **knobs) -> Tensor:
        """Other pictures with the embedding of this one: (count, 3, 128, 128)."""
        count = whole("The number of pictures", count, 1, 4096)
        seen = self.look([picture]).expand(count, -1)
        return self.paint(self.decode(seen, seed, **knobs))

    def recover(self, latents: Tensor, seen: Tensor, steps: int = 40) -> Tensor:
        """The noise from which the decoder draws these latents again (§3.2)."""
        latents, seen = self.pair(latents, seen)
        return ddim_back(self.velocity(seen, 1.0), latents, steps, "v")


def between(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """On the sphere from a to b (slerp): (..., D), ``share`` from 0 to 1.

    Raises ValueError with one sentence for vectors or shares that do not fit.
    """
    a, b = (tensor("Embeddings", x) for x in (a, b))
    if any(x.is_complex() or not x.isfinite().all() for x in (a, b)):
        raise ValueError("Embeddings are floats without NaN or inf.")
    a, b = a.float(), b.float()
    share = tensor("Shares", share).to(a.device)
    try:
        torch.broadcast_shapes(a.shape, b.shape, (*share.shape, 1))
    except RuntimeError:
        raise ValueError(
            f"Embeddings {tuple(a.shape)} and {tuple(b.shape)} and shares "
            f"{tuple(share.shape)} do not fit together."
        ) from None
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"Shares lie from 0 to 1, not at {short(share)}.")
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    angle = (a * b).sum(-1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    if share.ndim:
        share = share[..., None]
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


def as_many(rows: Tensor, x: Tensor) -> Tensor:
    """rows (B, D) for x of B or, with guidance, 2 B."""
    return rows.repeat(len(x) // max(len(rows), 1), 1)


def check_pictures(what: str, x, side: int) -> Tensor:
    """Floats (B, 3, side, side) in [0, 1]. Raises ValueError with one sentence."""
    x = floats(what, x, 3, side, side)
    low, high = (float(n) for n in x.aminmax()) if x.numel() else (0.0, 1.0)
    if not -0.01 <= low <= high <= 1.01:  # painting overshoots a little
        raise ValueError(
            f"{what} lie in [0, 1] here, these go from {low:.3g} to {high:.3g}."
        )
    return x


def load(name: str = "unclip", device=None, eyes=()) -> Painter:
    """The shipped DALL-E 2, or a file of the same kind, with ``pocket`` as its CLIP.

    ``eyes``: CLIPs that are there already; where its own is among them, it is taken.
    Raises ValueError, FileNotFoundError or (no such device) RuntimeError with one
    sentence.
    """
    device = pick_device(device)
    path = weights.find("unclip", name)
    tensors, metadata = weights.read(path, "unclip")
    sizes = weights.config(Config, metadata, path)
    model = weights.construct(Unclip, sizes, path)
    weights.load_state(model, tensors, path.name)
    card = weights.note(metadata, "card", path)
    own = device, card.get("clip"), False
    known = {(e.device, getattr(e, "fingerprint", ""), e.bf16): e for e in eyes}
    eyes = known.get(own) or clip.load("pocket", device)
    if card.get("clip") not in (None, eyes.fingerprint):
        raise ValueError(
            f"{path.name} was trained in the space of another CLIP: train it again."
        )
    codes = vqgan.load("dalle", device)
    if card.get("vqgan") not in (None, codes.card["mark"]):
        raise ValueError(
            f"{path.name} was trained on the latents of another VQGAN: train it again."
        )
    return Painter(model.to(device), eyes, codes, card)
