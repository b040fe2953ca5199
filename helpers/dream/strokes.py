"""Strokes: a differentiable rasteriser of curves in plain PyTorch.

Dims: n strokes, H/W pixels. The distance of every pixel to every curve is computed, so
memory grows with strokes times pixels.
"""

import math

import torch

from .canvas import Drawer


class LineDrawer(Drawer):
    """Curved strokes on paper: a differentiable rasteriser in plain PyTorch.

    A stroke is a quadratic Bezier curve (three points), a width, a colour, an opacity.
    The colour of a pixel follows from its distance to each curve, stroke over stroke.
    """

    pieces = 10  # straight pieces of a curve

    def __init__(self, size, strokes: int = 48, device="cpu", lr: float = 0.01):
        if strokes < 1:
            raise ValueError(f"A drawing needs at least one stroke, not {strokes}.")
        super().__init__(size, device)
        self.strokes, self.lr = strokes, lr
        line = torch.linspace(0, 1, self.pieces + 1)[:, None]
        basis = torch.cat([(1 - line) ** 2, 2 * line * (1 - line), line**2], 1)
        self.basis = basis.to(self.device)  # (pieces + 1, 3)
        y = (torch.arange(self.height) + 0.5) / self.height
        x = (torch.arange(self.width) + 0.5) / self.width
        y, x = torch.meshgrid(y, x, indexing="ij")
        short = min(self.width, self.height)
        self.aspect = torch.tensor([self.width / short, self.height / short])
        self.aspect = self.aspect.to(self.device)
        self.pixel = 1 / short
        points = torch.stack([x, y], -1).view(-1, 2).to(self.device)
        self.places = points * self.aspect  # (H * W, 2)
        self.paper = torch.ones(3, device=self.device)

    def start(self, g):
        n = self.strokes
        centre = torch.rand(n, 1, 2, generator=g)
        points = centre + 0.15 * torch.randn(n, 3, 2, generator=g)
        width = torch.full((n, 1), math.log(0.025))
        colour = torch.rand(n, 4, generator=g) * 2 - 1
        self.keep(points=points, thickness=width, colour=colour)

    def paint(self, picture):
        """Strokes where they are, in the colours of the picture; its mean is paper."""
        g = torch.Generator().manual_seed(0)
        self.start(g)
        x = self.fit(picture)
        at = self.points.detach().mean(1).clamp(0, 0.999)
        rows = (at[:, 1] * self.height).long()
        columns = (at[:, 0] * self.width).long()
        seen = x[0, :, rows, columns].T.clamp(0.03, 0.97)
        with torch.no_grad():
            self.colour[:, :3] = seen.logit()
            self.colour[:, 3] = 1.0
        self.paper = x.mean((0, 2, 3))

    def white(self):
        """The paper is white already; strokes begin where chance puts them."""

    def carry(self, old):
        """Strokes know no pixels: they stay as they are."""
        self.keep(points=old.points, thickness=old.thickness, colour=old.colour)
        self.paper = old.paper
        self.hold()

    def rows(self):
        """One row a stroke (points, thickness, colour, opacity), then the paper."""
        parts = [self.points.flatten(1), self.thickness, self.colour]
        strokes = torch.cat([p.detach() for p in parts], 1).tolist()
        return tuple(map(tuple, [*strokes, self.paper.tolist()]))

    def take(self, rows):
        """Begin from the strokes that ``rows`` gave."""
        *strokes, paper = rows
        if [len(row) for row in rows] != [11] * self.strokes + [3]:
            raise ValueError(
                f"These rows are not the {self.strokes} strokes of this drawer: 11 "
                "numbers each, then 3 of the paper."
            )
        x = torch.tensor(strokes, dtype=torch.float32)
        points, thickness, colour = x.split([6, 1, 4], 1)
        self.keep(points=points.view(-1, 3, 2), thickness=thickness, colour=colour)
        self.paper = torch.tensor(paper, dtype=torch.float32, device=self.device)
        self.hold()

    def parameters(self):
        return [
            {"params": [self.points], "lr": self.lr},
            {"params": [self.thickness], "lr": 3 * self.lr},
            {"params": [self.colour], "lr": 8 * self.lr},
        ]

    def draw(self):
        curve = (self.basis @ self.points) * self.aspect  # (n, pieces + 1, 2)
        start, way = curve[:, :-1], curve[:, 1:] - curve[:, :-1]
        long = way.pow(2).sum(-1).clamp(min=1e-8)  # (n, pieces)
        # where on each piece the nearest point to each pixel lies, in [0, 1]
        along = torch.einsum("pk,nsk->nsp", self.places, way)
        along = along - (start * way).sum(-1)[..., None]
        t = (along / long[..., None]).clamp(0, 1)  # (n, pieces, H * W)
        dx = self.places[:, 0] - start[..., :1] - t * way[..., :1]
        dy = self.places[:, 1] - start[..., 1:] - t * way[..., 1:]
        nearest = (dx.square() + dy.square()).amin(1)  # (n, H * W)
        distance = nearest.clamp(min=1e-10).sqrt()
        ink = ((self.thickness.exp() - distance) / (0.7 * self.pixel)).sigmoid()
        ink = ink * self.colour[:, 3:].sigmoid()
        colour = self.colour[:, :3].sigmoid()
        # stroke n shows where no later stroke covers it
        clear = (1 - ink).flip(0).cumprod(0).flip(0)
        above = torch.cat([clear[1:], torch.ones_like(clear[:1])])
        x = torch.einsum("np,nc->cp", ink * above, colour)
        x = x + clear[0] * self.paper[:, None]
        return x.view(1, 3, self.height, self.width).clamp(0, 1)

    def hold(self):
        with torch.no_grad():
            self.points.clamp_(-0.2, 1.2)
            self.thickness.clamp_(math.log(self.pixel), math.log(0.15))
