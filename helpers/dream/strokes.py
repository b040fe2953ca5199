"""Strokes: a differentiable rasteriser of curves in plain PyTorch.

Dims: n strokes, H/W pixels. The distance of every pixel to every curve is computed, so
memory grows with strokes times pixels.
"""

import math

import torch
import torch.nn.functional as F

from .canvas import Drawer


def bezier(a, b, c, t):
    """The point at t of curves with the end points a, c and the middle point b."""
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c


class LineDrawer(Drawer):
    """Curved strokes on paper: a differentiable rasteriser in plain PyTorch.

    A stroke is a quadratic Bezier curve (three points), a width, a colour, an opacity.
    The colour of a pixel follows from its distance to each curve, stroke over stroke.
    """

    samples = 12  # points of a curve, among which the nearest is sought

    def __init__(self, size, strokes: int = 48, device="cpu", lr: float = 0.01):
        if strokes < 1:
            raise ValueError(f"A drawing needs at least one stroke, not {strokes}.")
        super().__init__(size, device)
        self.strokes, self.lr = strokes, lr
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
        """Trace a picture: strokes begin where it differs from its border."""
        x = self.fit(picture)
        edge = torch.cat([x[..., [0, -1]].flatten(2), x[..., [0, -1], :].flatten(2)], 2)
        self.paper = edge[0].median(1).values
        self.place(x)
        self.repaint(x)

    def repaint(self, picture, rounds: int = 100):
        """Bring the strokes nearer to a picture, pixel by pixel, on 64 px a side."""
        x = self.fit(picture)
        scale = 64 / max(self.width, self.height, 64)
        size = tuple(max(1, round(n * scale)) for n in (self.width, self.height))
        trial = LineDrawer(size, self.strokes, self.device, 2 * self.lr)
        trial.carry(self)
        goal, adam = trial.fit(x), torch.optim.Adam(trial.parameters())
        with torch.enable_grad():
            for _ in range(rounds):
                adam.zero_grad()
                F.mse_loss(trial.draw(), goal).backward()
                adam.step()
                trial.hold()
        self.carry(trial)

    def place(self, x: torch.Tensor) -> None:
        """Begin with strokes in the colours of a picture (1, 3, H, W)."""
        g = torch.Generator().manual_seed(0)
        self.start(g)
        ink = (x - self.paper[:, None, None]).abs().sum(1).flatten().cpu() + 1e-3
        where = torch.multinomial(ink, self.strokes, True, generator=g).to(x.device)
        rows, columns = where // self.width, where % self.width
        centre = torch.stack([columns / self.width, rows / self.height], 1)
        seen = x[0, :, rows, columns].T.clamp(0.03, 0.97)
        with torch.no_grad():
            self.points += centre[:, None] - self.points.mean(1, keepdim=True)
            self.colour[:, :3] = seen.logit()
            self.colour[:, 3] = 1.0
            self.thickness += 0.4

    def white(self):
        """The paper is white already; strokes begin where chance puts them."""

    def carry(self, old):
        """Strokes know no pixels: they stay as they are; another's are traced."""
        if not isinstance(old, LineDrawer):
            super().carry(old)
            return
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

    @torch.no_grad()
    def nearest(self):
        """Where on each curve the point nearest to each pixel lies: (n, H * W).

        It is sought among some points of the curve, then two steps of Gauss and Newton.
        """
        points = self.points * self.aspect
        a, b, c = points[:, 0], points[:, 1], points[:, 2]
        line = torch.linspace(0, 1, self.samples, device=self.device)
        curve = bezier(a[:, None], b[:, None], c[:, None], line[:, None])
        far = curve.square().sum(-1)[:, None] - 2 * self.places @ curve.transpose(1, 2)
        t = line[far.argmin(-1)]
        ahead, bend = 2 * (b - a), 2 * (a - 2 * b + c)  # the curve's two derivatives
        x, y = self.places.T
        for _ in range(2):
            dx, dy = (bezier(*points[..., k, None].unbind(1), t) for k in (0, 1))
            dx, dy = dx - x, dy - y
            vx, vy = (ahead[:, k, None] + bend[:, k, None] * t for k in (0, 1))
            fast = (vx.square() + vy.square()).clamp(min=1e-8)
            t = t - ((dx * vx + dy * vy) / fast).clamp(-0.1, 0.1)
            t = t.clamp(0, 1)
        return t

    def draw(self):
        t, points = self.nearest(), self.points * self.aspect
        # the nearest point does not move to first order, so t needs no gradient
        dx, dy = (bezier(*points[..., k, None].unbind(1), t) for k in (0, 1))
        dx, dy = dx - self.places[:, 0], dy - self.places[:, 1]
        distance = (dx.square() + dy.square()).clamp(min=1e-10).sqrt()
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
