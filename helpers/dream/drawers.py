"""Drawers: what turns parameters into a picture that a gradient can reach.

What they share is in canvas.py; strokes have a room of their own, strokes.py. Dims: H/W
pixels, h/w codes or blocks, K codes, D code width.
"""

import inspect
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..values import number, one_of, short, whole
from ..vqgan import load
from ..vqgan.quantizers import nearest_row
from .canvas import Clamp, Drawer
from .strokes import LineDrawer


def live(book: Tensor) -> Tensor:
    """The rows of a codebook (K, D) that have been used.

    A code that nobody ever chose gets no gradient: it still lies between -1 / K and
    1 / K, where it began. Thousands of such rows would make the spread look small.
    """
    used = book[book.abs().amax(1) > 1 / len(book)]
    return used if len(used) > 1 else book


class VQGANDrawer(Drawer):
    """The latent grid z of a VQGAN; each vector snaps to its nearest code.

    z is kept within the smallest and largest value of the codebook in each dimension,
    and moves by steps of ``lr`` times the spread of the codes in use. z holds rows of
    the codebook, also where the encoder writes something else (Gumbel: logits).
    """

    def __init__(self, size, vqgan, device="cpu", lr: float = 0.2):
        self.unit = vqgan.config.stride
        super().__init__(size, device)
        self.vqgan = vqgan.to(self.device).eval().requires_grad_(False)
        book = vqgan.quantize.codebook
        self.low, self.high = (v.view(1, -1, 1, 1) for v in book.aminmax(dim=0))
        self.spread = float(live(book).std())
        self.lr = lr

    def start(self, g):
        h, w = self.height // self.unit, self.width // self.unit
        codes = torch.randint(self.vqgan.count, (1, h, w), generator=g)
        self.from_codes(codes)

    def paint(self, picture):
        with torch.no_grad():
            z = self.vqgan.encode(self.fit(picture) * 2 - 1)
            if self.vqgan.config.gumbel:
                z = self.vqgan.quantize.rows(self.vqgan.quantize.nearest(z))
        self.keep(z=z)
        self.hold()

    def take(self, rows):
        """Start from rows of codes, checked."""
        h, w = self.height // self.unit, self.width // self.unit
        if len(rows) != h or any(len(row) != w for row in rows):
            raise ValueError(
                f"The code grid of this size has {h} rows of {w} codes; yours has "
                f"{len(rows)} rows of {', '.join(map(str, {len(r) for r in rows}))}."
            )
        codes, count = torch.tensor(rows), self.vqgan.count
        if codes.is_floating_point() or codes.min() < 0 or codes.max() >= count:
            raise ValueError(f"The code grid must hold integers from 0 to {count - 1}.")
        self.from_codes(codes[None])

    def rows(self):
        with torch.no_grad():
            codes = nearest_row(self.z, self.vqgan.quantize.codebook)
        return tuple(map(tuple, codes[0].tolist()))

    def from_codes(self, codes: Tensor) -> None:
        """Start from a code grid (1, h, w)."""
        self.keep(z=self.vqgan.quantize.rows(codes.to(self.device)))

    def parameters(self):
        return [{"params": [self.z], "lr": self.lr * self.spread}]

    def draw(self):
        return self.decode(self.z + (self.snapped() - self.z).detach())

    def decode(self, q: Tensor) -> Tensor:
        """Paint code vectors; a tile is painted with its neighbours around it."""
        m = 2 if self.tile and min(q.shape[2:]) > 2 else 0
        x = self.vqgan.decode(F.pad(q, (m, m, m, m), mode="circular") if m else q)
        m *= self.unit
        x = x[..., m : x.shape[2] - m, m : x.shape[3] - m]
        return Clamp.apply((x + 1) / 2, 0, 1)

    def snapped(self) -> Tensor:
        quantize = self.vqgan.quantize
        with torch.no_grad():
            return quantize.rows(nearest_row(self.z, quantize.codebook))

    def hold(self):
        with torch.no_grad():
            self.z.copy_(self.z.maximum(self.low).minimum(self.high))


class CodesDrawer(VQGANDrawer):
    """Logits over all codes at every place; the best is drawn, straight through."""

    def start(self, g):
        h, w = self.height // self.unit, self.width // self.unit
        shape = (1, self.vqgan.count, h, w)
        self.keep(logits=torch.randn(shape, generator=g))

    def paint(self, picture):
        with torch.no_grad():
            z = self.vqgan.encode(self.fit(picture) * 2 - 1)
            logits = self.vqgan.quantize.logits(z)  # (1, K, h, w)
            logits = logits / logits.std().clamp(min=1e-6)
        self.keep(logits=logits)

    def rows(self):
        return tuple(map(tuple, self.logits.detach().argmax(1)[0].tolist()))

    def from_codes(self, codes):
        one = F.one_hot(codes.to(self.device), self.vqgan.count).movedim(-1, 1)
        self.keep(logits=3.0 * one)

    def parameters(self):
        return [{"params": [self.logits], "lr": self.lr}]

    def draw(self):
        soft = self.logits.softmax(1)
        hard = F.one_hot(self.logits.argmax(1), soft.shape[1]).movedim(-1, 1).to(soft)
        pick = soft + (hard - soft).detach()
        q = torch.einsum("bkhw,kd->bdhw", pick, self.vqgan.quantize.codebook)
        return self.decode(q)

    def hold(self):
        pass


class PixelDrawer(Drawer):
    """A grid of square blocks of one colour each: pixel art; block 1 is raw pixels."""

    def __init__(self, size, block: int = 4, device="cpu", lr: float = 0.03):
        if block < 1:
            raise ValueError(f"A block has at least one pixel a side, not {block}.")
        self.unit = block
        super().__init__(size, device)
        self.lr = lr

    def start(self, g):
        h, w = self.height // self.unit, self.width // self.unit
        noise = 0.5 + 0.15 * torch.randn(1, 3, h, w, generator=g)
        self.keep(colours=noise.clamp(0, 1))

    def paint(self, picture):
        small = F.adaptive_avg_pool2d(
            self.fit(picture), (self.height // self.unit, self.width // self.unit)
        )
        self.keep(colours=small)

    def parameters(self):
        return [{"params": [self.colours], "lr": self.lr}]

    def draw(self):
        x = Clamp.apply(self.colours, 0, 1)
        return F.interpolate(x, scale_factor=float(self.unit), mode="nearest")

    def hold(self):
        with torch.no_grad():
            self.colours.clamp_(0, 1)


class FourierDrawer(Drawer):
    """Amplitudes of waves, long waves louder (Olah et al. 2017, Feature Visualization).

    ``decay``: how fast the scale falls with the frequency; higher is smoother.
    """

    def __init__(self, size, decay: float = 1.2, device="cpu", lr: float = 0.06):
        super().__init__(size, device)
        self.decay, self.lr = decay, lr
        fy = torch.fft.fftfreq(self.height)[:, None]
        fx = torch.fft.rfftfreq(self.width)[None]
        lowest = 1 / max(self.width, self.height)
        scale = (fx**2 + fy**2).sqrt().clamp(min=lowest) ** -decay
        scale = scale * math.sqrt(self.width * self.height) * lowest**decay
        self.scale = scale.to(self.device)

    # colours that vary together in photographs (from decorrelated to RGB)
    mix = torch.tensor([[0.56, 0.19, 0.04], [0.58, 0.0, -0.08], [0.58, -0.19, 0.04]])

    def start(self, g):
        shape = (1, 3, *self.scale.shape, 2)
        self.keep(waves=0.3 * torch.randn(shape, generator=g))

    def paint(self, picture):
        x = self.fit(picture).clamp(0.02, 0.98)
        x = torch.einsum("ij,bjhw->bihw", self.mix.inverse().to(x), x.logit())
        waves = torch.fft.rfft2(x, norm="ortho") / self.scale
        self.keep(waves=torch.view_as_real(waves))

    def parameters(self):
        return [{"params": [self.waves], "lr": self.lr}]

    def draw(self):
        waves = torch.view_as_complex(self.waves.contiguous()) * self.scale
        x = torch.fft.irfft2(waves, s=(self.height, self.width), norm="ortho")
        return torch.einsum("ij,bjhw->bihw", self.mix.to(x), x).sigmoid()


KINDS = {
    "vqgan": VQGANDrawer,
    "codes": CodesDrawer,
    "pixel": PixelDrawer,
    "lines": LineDrawer,
    "fourier": FourierDrawer,
}
OF_CODES = ("vqgan", "codes")  # those that paint with the codes of a VQGAN
OPTIONS = {  # kind of number, smallest, largest
    "lr": (number, 1e-6, 10),
    "block": (whole, 1, 4096),
    "strokes": (whole, 1, 4096),
    "decay": (number, 0, 4),
}


def check(name, options) -> dict:
    """The options of a drawer as plain numbers, {"block": 8}.

    Raises ValueError with one sentence for an unknown drawer or option, or a value that
    makes no sense.
    """
    one_of("drawer", name, KINDS)
    if not isinstance(options, dict):
        raise ValueError(f'options is a dict such as {{"lr": 0.1}}: {short(options)}.')
    mine = [n for n in OPTIONS if n in inspect.signature(KINDS[name]).parameters]
    out = {}
    for key, value in options.items():
        one_of(f'option of the drawer "{name}"', key, mine)
        kind, low, high = OPTIONS[key]
        if key in ("block", "strokes") and isinstance(value, int) and value < 1:
            KINDS[name]((1, 1), **{key: value})  # says what is wrong
        out[key] = kind(f"The option {key}", value, low, high)
    return out


def make(name: str, size: tuple, device="cpu", vqgan=None, **options) -> Drawer:
    """A drawer by name: "vqgan", "codes", "pixel", "lines" or "fourier".

    ``size``: (width, height) in pixels. ``vqgan``: the VQGAN of the first two (the
    shipped one by default). Raises ValueError with one sentence for an unknown name, an
    unknown option, a size that is absurd.
    """
    options = check(name, options)
    if name in OF_CODES:
        return KINDS[name](size, vqgan or load("pocket", device), device, **options)
    return KINDS[name](size, device=device, **options)
