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
from .settings import OPTIMISERS, Canvas, Settings, check, plan
from .start import begin


@dataclass
class Frame:
    """What one step shows: the picture (3, H, W) in [0, 1], and the numbers.

    The picture has its last size from the first step on, whatever canvas it is on.
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
        self.fresh = False  # a finer canvas that no preview has shown yet
        self.g = torch.Generator().manual_seed(s.seed)  # before anything is drawn
        if vqgan is None and s.drawer in ("vqgan", "codes"):
            vqgan = vqgans.load(s.vqgan, device)
        self.vqgan, self.plan = vqgan, plan(s)
        large = self.open(self.plan[-1], device)
        self.size = (large.height, large.width)
        if (large.width, large.height) != (s.width, s.height):
            self.notes.append(
                f"{s.width} x {s.height} became {large.width} x {large.height}, a "
                f"multiple of {large.unit}."
            )
        for canvas in self.plan:
            if min(canvas.width, canvas.height) < large.unit:
                raise ValueError(
                    f"A canvas of {canvas.width} x {canvas.height} is smaller than one "
                    f"code or block of {large.unit} pixels."
                )
        self.drawer = large
        if len(self.plan) > 1:
            self.drawer = self.open(self.plan[0], device)
        self.drawer.start(self.g)
        first = begin(s.start, self.drawer, self.g).put(self.drawer)
        self.losses = losses.build(s.losses, first)
        self.recipe = cutouts.RECIPES[s.recipe]
        embed, read = self.guides[0].model.config.embed, large.read
        more = prompts.wishes(s.pictures, s.noises, s.spots, embed, read)
        self.wishes = [*prompts.story(s.prompt), *more, *wishes]
        prompts.check(self.wishes)
        self.goals = [self.goal(wish) for wish in self.wishes]
        self.over = read(s.overlay[0]) if s.overlay else None

    def open(self, canvas: Canvas, device) -> drawers.Drawer:
        """A drawer of the size of a canvas, with nothing on it yet."""
        s = self.settings
        size = (canvas.width, canvas.height)
        drawer = drawers.make(s.drawer, size, device, self.vqgan, **s.options)
        drawer.tile = s.tile
        return drawer

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
            if mask is not None and mask.shape[-2:] != seen.shape[-2:]:
                mask = mask.view(1, 1, *mask.shape[-2:])
                mask = F.interpolate(mask, seen.shape[-2:], mode="area")
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
        done = 0
        for canvas in self.plan:
            if done:  # the same picture on a finer canvas
                finer = self.open(canvas, self.drawer.device)
                finer.start(torch.Generator().manual_seed(self.settings.seed))
                finer.carry(self.drawer)
                self.drawer, self.fresh = finer, True
            for frame in self.steps_on(canvas, done):
                if frame is None:
                    return
                yield frame
            done += canvas.steps

    def steps_on(self, canvas: Canvas, done: int):
        """The steps on one canvas, after ``done`` others; None if it had to stop."""
        s = self.settings
        need = self.fit(0.8 * memory.free(self.drawer.device))
        self.need = max(self.need, need)
        groups = self.drawer.parameters()
        rates = [group["lr"] * s.rate * canvas.rate for group in groups]
        optimiser = OPTIMISERS[s.optimiser](groups, lr=1.0)
        story = any(w.begin > 0 or w.end < 1 for w in self.wishes)
        for step in range(done, done + canvas.steps):
            progress = step / s.steps
            here = (step - done) / canvas.steps
            fall = (1 / 3) ** sum(here >= d for d in s.drops)
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
                yield None
                return
            optimiser.step()
            self.drawer.hold()
            if s.overlay and step % int(s.overlay[2]) == 0 and progress < 0.7:
                self.lay_over(optimiser)
            preview = step % s.every == 0 or step == done + canvas.steps - 1
            score = self.score(picture, progress) if preview else None
            self.last = Frame(step, self.enlarged(picture)[0], score, losses)
            first = self.fresh or not self.best  # on this canvas: coarse ones lose
            if preview and (story or first or score > self.best.score):
                self.best, self.fresh = self.last, False
            yield self.last

    def enlarged(self, picture: Tensor) -> Tensor:
        """A picture of any canvas in the size of the last one."""
        if picture.shape[-2:] == self.size:
            return picture
        return F.interpolate(picture, self.size, mode="bicubic").clamp(0, 1)

    def lay_over(self, optimiser) -> None:
        """Mix the overlay into the picture and go on from there."""
        opacity = float(self.settings.overlay[1])
        with torch.no_grad():
            over = self.drawer.fit(self.over)
            mixed = (1 - opacity) * self.drawer.draw() + opacity * over
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
            score = self.score(picture, 0.0)
            self.best = Frame(0, self.enlarged(picture)[0], score, {})
        return self.best


def generate(prompt: str, progress: bool = True, **settings) -> Frame:
    """Words in, picture out: ``generate("a red fox", seed=1).picture``."""
    return Dream(Settings(prompt=prompt, **settings)).run(progress)
