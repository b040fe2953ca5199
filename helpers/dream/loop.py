"""The guided loop: a drawer makes a picture, CLIP says how to change it (VQGAN+CLIP).

Three parts may be swapped: the drawer (drawers.py), the wishes (prompts.py and
losses.py) and the optimiser. Dims: N cuts, D embedding, H/W pixels.
"""

import math
import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from .. import clip
from .. import vqgan as vqgans
from ..device import pick_device
from . import cutouts, drawers, losses, memory, prompts
from .prompts import Prompt
from .settings import OPTIMISERS, Settings, check
from .start import begin


@dataclass
class Frame:
    """What one step shows: the picture (3, H, W) in [0, 1], and the numbers.

    ``score``: mean cosine of the whole picture with the wishes that count now (None
    between previews); ``losses``: {term: value}.
    """

    step: int
    picture: Tensor
    score: float | None
    losses: dict


class Dream:
    """One run. ``for frame in dream.steps(): ...``, or ``dream.run()`` for all of it.

    ``best`` is the best Frame so far; ``notes`` says what happened on the way; ``need``
    is the memory of a step in MB, as estimated at its start. Ready
    CLIPs and a VQGAN may be passed in, so that they are loaded once. Raises ValueError
    with one sentence if the settings make no sense.
    """

    def __init__(self, settings: Settings, guides=None, vqgan=None, wishes=()):
        self.settings, s = settings, settings
        check(s)
        if any(guide.name == "judge" for guide in guides or []) or "judge" in s.guides:
            raise ValueError("The judge never guides: it would judge its own work.")
        device = guides[0].device if guides else pick_device()
        self.guides = guides or [clip.load(name, device) for name in s.guides]
        for guide in self.guides:
            guide.model.eval().requires_grad_(False)
        self.notes, self.best, self.last, self.parts, self.need = [], None, None, 1, 0.0
        self.g = torch.Generator().manual_seed(s.seed)  # before anything is drawn
        if vqgan is None and s.drawer in ("vqgan", "codes"):
            vqgan = vqgans.load(s.vqgan, device)
        size = (s.width, s.height)
        self.drawer = drawers.make(s.drawer, size, device, vqgan, **s.options)
        if (self.drawer.width, self.drawer.height) != size:
            self.notes.append(
                f"{s.width} x {s.height} became {self.drawer.width} x "
                f"{self.drawer.height}, a multiple of {self.drawer.unit}."
            )
        self.drawer.tile = s.tile
        self.drawer.start(self.g)
        first = begin(s.start, self.drawer, self.g).put(self.drawer)
        self.losses = losses.build(s.losses, first)
        self.recipe = cutouts.RECIPES[s.recipe]
        embed, read = self.guides[0].model.config.embed, self.drawer.read
        more = prompts.wishes(s.pictures, s.noises, s.spots, embed, read)
        self.wishes = [*prompts.story(s.prompt), *more, *wishes]
        prompts.check(self.wishes)
        self.goals = [self.goal(wish) for wish in self.wishes]
        self.over = read(s.overlay[0]) if s.overlay else None

    # -- one step -----------------------------------------------------------------

    @torch.no_grad()
    def goal(self, wish: Prompt) -> list[Tensor]:
        """Where a wish lies in the space of each guide: a (D,) for every guide."""
        out = []
        for n, guide in enumerate(self.guides):
            if wish.vector is not None:
                many = isinstance(wish.vector, (list, tuple))
                vector = wish.vector[n] if many else wish.vector
                if vector.shape[-1] != guide.model.config.embed:
                    raise ValueError(
                        f'The vector of "{wish.text}" has {vector.shape[-1]} numbers, '
                        f"{guide.name} needs {guide.model.config.embed}."
                    )
            elif wish.picture is not None:
                vector = guide.embed_images([wish.picture])[0]
            else:
                vector = guide.embed_texts([wish.text])[0]
            out.append(F.normalize(vector.float(), dim=-1).to(guide.device))
        return out

    def look(self, picture: Tensor, count: int) -> list[Tensor]:
        """Random views of a picture, (count, 3, S, S) for each guide."""
        if self.settings.tile:
            by = [
                int(torch.randint(n, (1,), generator=self.g)) for n in picture.shape[2:]
            ]
            picture = picture.roll(by, (2, 3))
        sizes = [cutouts.cut_size(guide) for guide in self.guides]
        cuts = {
            size: cutouts.views(picture, count, size, self.recipe, self.g)
            for size in dict.fromkeys(sizes)
        }
        return [cuts[size] for size in sizes]

    def embed(self, guide, views: Tensor) -> Tensor:
        """What a guide makes of views, (N, 3, S, S) -> (N, D)."""
        with self.precision(guide.bf16):
            return guide.model.encode_image(views)

    def precision(self, wanted: bool = False):
        """The context of drawer and guides: bf16 autocast if it is asked for."""
        kind = self.drawer.device.type
        half = self.settings.bf16 or wanted
        return torch.autocast(kind, torch.bfloat16, enabled=half)

    def paint(self) -> Tensor:
        """The picture as it is now, (1, 3, H, W), with its gradient."""
        with self.precision():
            return self.drawer.draw().float()

    def wished(self, views: list[Tensor], now: list[int]) -> dict[str, Tensor]:
        """The terms of the wishes ``now`` for views of each guide, by name."""
        out: dict[str, Tensor] = {}
        for at, (guide, cuts) in enumerate(zip(self.guides, views, strict=True)):
            seen = self.embed(guide, cuts)
            for n in now:
                wish = self.wishes[n]
                term = prompts.wish(seen, self.goals[n][at], wish.weight, wish.stop)
                out[wish.text] = out.get(wish.text, 0) + term / len(self.guides)
        return out

    def backward(self, seen: Tensor, progress: float) -> dict[str, float]:
        """Add the gradients of all terms to a picture (1, 3, H, W); returns the terms.

        The views are drawn together and embedded in ``parts``, so that CLIP holds only
        one part in memory; gradients and random numbers do not depend on the parts.
        """
        total: dict[str, float] = {}

        def add(found: dict[str, Tensor], share: float = 1.0) -> None:
            (share * sum(found.values())).backward()
            for name, value in found.items():
                total[name] = total.get(name, 0.0) + share * value.item()

        cuts = self.settings.cuts
        now = [n for n, wish in enumerate(self.wishes) if wish.counts(progress)]
        masks = {id(self.wishes[n].mask): self.wishes[n].mask for n in now}
        for key, mask in masks.items():
            shown = seen if mask is None else seen * mask + 0.5 * (1 - mask)
            views = self.look(shown, cuts)
            leaves = [v.detach().requires_grad_() for v in views]
            these = [n for n in now if id(self.wishes[n].mask) == key]
            for rows in torch.arange(cuts).chunk(self.parts):
                part = [leaf[rows[0] : rows[-1] + 1] for leaf in leaves]
                add(self.wished(part, these), len(rows) / cuts)
            torch.autograd.backward(views, [leaf.grad for leaf in leaves])
        for name, (weight, function) in self.losses.items():
            add({name: weight * function(seen)})
        return total

    def gradients(self, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Add the gradients of one step; returns the picture it saw, and the losses.

        If memory runs out, the cuts are made in twice as many parts.
        """
        cuts = self.settings.cuts
        while True:
            before = self.g.get_state()
            try:
                picture = self.paint()
                seen = picture.detach().requires_grad_()
                total = self.backward(seen, progress)
                picture.backward(seen.grad)
                return picture.detach(), total
            except RuntimeError as error:
                if not memory.is_memory(error) or self.parts >= cuts:
                    raise
            self.parts *= 2
            self.notes.append(
                f"Out of memory: the {cuts} cuts are now made in {self.parts} parts."
            )
            warnings.warn(self.notes[-1], stacklevel=3)
            self.g.set_state(before)
            for group in self.drawer.parameters():
                for p in group["params"]:
                    p.grad = None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    @torch.no_grad()
    def score(self, picture: Tensor, progress: float) -> float:
        """Mean cosine of the whole picture with the wishes towards which it goes."""
        out = []
        for n, wish in enumerate(self.wishes):
            if wish.counts(progress) and wish.weight > 0 and wish.mask is None:
                for guide, goal in zip(self.guides, self.goals[n], strict=True):
                    out.append((cutouts.whole(guide, picture) @ goal).item())
        return sum(out) / max(1, len(out))

    # -- memory -------------------------------------------------------------------

    def pieces(self) -> tuple[float, float]:
        """Megabytes that the drawer holds for one picture, the guides for one cut."""
        weights = [guide.model for guide in self.guides]
        weights += [w for w in [getattr(self.drawer, "vqgan", None)] if w]
        g = torch.Generator().manual_seed(0)  # the run's own stays where it is
        picture = self.paint().detach().requires_grad_(True)

        def look(guide, count: int) -> Tensor:
            size = cutouts.cut_size(guide)
            views = cutouts.views(picture, count, size, self.recipe, g)
            return self.embed(guide, views)

        cut = 0.0
        for guide in self.guides:
            one, two = (
                memory.held(lambda n=n, guide=guide: look(guide, n), weights)
                for n in (1, 2)
            )
            cut += two - one
        return memory.held(self.paint, weights), cut

    def fit(self, megabytes: float) -> float:
        """Make the cuts in as many parts as fit; returns a step's need in MB."""
        cuts, (drawer, cut) = self.settings.cuts, self.pieces()
        cpu = self.drawer.device.type == "cpu"
        free = memory.split(drawer, cut, cuts, math.inf, cpu, self.parts)
        self.parts = memory.split(drawer, cut, cuts, megabytes, cpu, self.parts)
        need = memory.step(drawer, cut, cuts, self.parts)
        if self.parts > free:
            self.notes.append(
                f"About {need:.0f} MB a step: the cuts are made in {self.parts} parts."
            )
        return need

    # -- the loop -----------------------------------------------------------------

    def steps(self):
        """Yield a Frame at every step (its picture is the one that was looked at)."""
        s = self.settings
        self.need = self.fit(0.8 * memory.free(self.drawer.device))
        groups = self.drawer.parameters()
        rates = [group["lr"] * s.rate for group in groups]
        optimiser = OPTIMISERS[s.optimiser](groups, lr=1.0)
        story = any(w.begin > 0 or w.end < 1 for w in self.wishes)
        for step in range(s.steps):
            progress = step / s.steps
            fall = (1 / 3) ** sum(progress >= d for d in s.drops)
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * fall
            optimiser.zero_grad(set_to_none=True)
            picture, losses = self.gradients(progress)
            wrong = [name for name, v in losses.items() if not math.isfinite(v)]
            if wrong:
                self.notes.append(
                    f'Stopped at step {step}: the term "{wrong[0]}" is no number; the '
                    "last good picture is kept."
                )
                warnings.warn(self.notes[-1], stacklevel=2)
                return
            optimiser.step()
            self.drawer.hold()
            if s.overlay and step % int(s.overlay[2]) == 0 and progress < 0.7:
                self.lay_over(optimiser)
            preview = step % s.every == 0 or step == s.steps - 1
            score = self.score(picture, progress) if preview else None
            self.last = Frame(step, picture[0], score, losses)
            if preview and (story or not self.best or score > self.best.score):
                self.best = self.last
            yield self.last

    def lay_over(self, optimiser) -> None:
        """Mix the overlay into the picture and go on from there."""
        opacity = float(self.settings.overlay[1])
        with torch.no_grad():
            mixed = (1 - opacity) * self.drawer.draw() + opacity * self.over
        self.drawer.paint(mixed)  # in place: the optimiser keeps its memory

    def run(self, progress: bool = True, watch=None) -> Frame:
        """Run to the end, or until Ctrl-C; returns the best Frame.

        ``watch(frame)`` is called at every preview.
        """
        bar = tqdm(self.steps(), total=self.settings.steps, disable=not progress)
        bar.set_description("drawing")
        try:
            for frame in bar:
                if frame.score is not None:
                    bar.set_postfix(score=f"{frame.score:.2f}")
                    if watch:
                        watch(frame)
        except KeyboardInterrupt:
            self.notes.append(f"Stopped at step {self.last.step if self.last else 0}.")
        if self.best is None:
            with torch.no_grad():
                picture = self.drawer.draw()
            self.best = Frame(0, picture[0], self.score(picture, 0.0), {})
        return self.best


def generate(prompt: str, progress: bool = True, **settings) -> Frame:
    """Words in, picture out: ``generate("a red fox", seed=1).picture``."""
    return Dream(Settings(prompt=prompt, **settings)).run(progress)
