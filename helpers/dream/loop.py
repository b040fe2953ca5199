"""The guided loop: a drawer makes a picture, CLIP says how to change it (VQGAN+CLIP).

Three parts may be swapped: the drawer (drawers.py), the wishes (prompts.py and
losses.py) and the optimiser. Dims: N cuts, D embedding, H/W pixels.
"""

import math
import warnings
from dataclasses import asdict, astuple, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from .. import clip
from .. import vqgan as vqgans
from ..device import pick_device
from ..values import members, short
from . import cutouts, distil, drawers, losses, memory, prompts, record
from .frame import Frame
from .guides import ready_guides
from .packed import unpack
from .prompts import Prompt
from .settings import (
    ASKED,
    OPTIMISERS,
    Canvas,
    Settings,
    check,
    check_canvas,
    opening,
    plan,
    uses_codes,
)
from .sketch import maker, sketched
from .start import begin


class Dream:
    """One run. ``for frame in dream.steps(): ...``, or ``dream.run()`` for all of it.

    ``best`` is the best Frame so far; ``notes`` says what happened on the way; ``need``
    is the memory of a step in MB, as estimated at its start. Ready CLIPs and a VQGAN
    may be passed in, so that they are loaded once; ``wishes``: further Prompts;
    ``peek(picture)`` is shown (3, H, W) sketches before the first step. All of it but
    that is in ``record``, and the run draws from what the record holds (its pictures
    are small, in 8 bits). Raises ValueError (TypeError for things of another kind) with
    one sentence if the settings make no sense.
    """

    def __init__(
        self, settings: Settings, guides=None, vqgan=None, wishes=(), peek=None
    ):
        self.settings = s = settings
        if not isinstance(s, Settings):
            raise TypeError(f"A Dream needs Settings, not {type(s).__name__}.")
        check(s)
        device = self.meet(guides)
        self.notes, self.best, self.last, self.parts, self.need = [], None, None, 1, 0.0
        self.fresh = False  # a finer canvas that no preview has shown yet
        self.begun, self.until = False, None  # the step after which it ends, if any
        if vqgan is None and uses_codes(s):
            vqgan = vqgans.load(s.vqgan, device)
        if not (vqgan is None or hasattr(vqgan, "from_codes")):
            raise TypeError(
                f"A VQGAN is what vqgan.load gives, not {type(vqgan).__name__}: "
                "vqgan.load(NAME)."
            )
        self.vqgan, self.plan = vqgan, plan(s)
        self.foresee(self.plan[-1], device)
        large = self.open(self.plan[-1], device)
        self.size = (large.height, large.width)
        if (large.width, large.height) != (s.width, s.height):
            self.notes.append(
                f"{s.width} x {s.height} became {large.width} x {large.height}, a "
                f"multiple of {large.unit}."
            )
        for canvas in self.plan:
            if not canvas.drawer:
                check_canvas(canvas, large.unit)
        fit = (large.width, large.height)
        side = max(guide.model.config.image_size for guide in self.guides)
        given, wishes = wishes, members(wishes)
        if wishes is None:
            raise TypeError(f"The wishes are a list of Prompts, not {short(given)}.")
        if wishes:
            prompts.check([*prompts.parse(s.prompt), *wishes])
        rows = [record.wish_row(wish, fit, side) for wish in wishes]
        asked = None
        if opening(s) == "sketch":
            asked = {k: getattr(s, k) for k in ASKED}
            s = sketched(s, self.guides, fit, device, peek)
        if s.distil == "usual":
            s = replace(s, distil=distil.USUAL if asked else 0.0)
        self.settings = s = record.pack_settings(s, fit, side)
        self.g = torch.Generator().manual_seed(s.seed)  # before anything is drawn
        self.drawer = large
        if len(self.plan) > 1:
            self.drawer = self.open(self.plan[0], device)
        self.drawer.start(self.g)
        first = begin(opening(s), self.drawer, self.g).put(self.drawer)
        self.losses = losses.build(s.losses, first)
        self.distilled = None
        if s.distil:
            self.distilled = distil.Distilled(maker(str(device), self.guides), s.seed)
        self.recipe = cutouts.RECIPES[s.recipe]
        sizes = [guide.model.config.embed for guide in self.guides]
        more = prompts.wishes(s.pictures, s.noises, s.spots, sizes, large.read)
        self.wishes = [*prompts.parse(s.prompt), *more, *map(record.wish_of, rows)]
        prompts.check(self.wishes)
        self.goals = [self.goal(wish) for wish in self.wishes]
        self.over = large.read(s.overlay[0]) if s.overlay else None
        self.record = {
            "format": record.FORMAT,
            "settings": asdict(s),
            "asked": asked,  # before the sketch became the start
            "canvases": [astuple(canvas) for canvas in self.plan],
            "guides": record.guide_rows(self.guides),
            "vqgan": record.vqgan_row(vqgan if uses_codes(s) else None),
            "dalle2": record.painter_row(self.distilled),
            "wishes": rows,
            "versions": record.versions(device),
        }
        self.made = self.swappable()

    def meet(self, guides) -> torch.device:
        """Take the guides that were passed in, or load those of the settings."""
        guides = ready_guides(guides) or []
        device = guides[0].device if guides else pick_device()
        self.guides = guides or [clip.load(n, device) for n in self.settings.guides]
        for guide in self.guides:
            guide.model.eval().requires_grad_(False)
        return device

    def swappable(self) -> dict:
        """The parts that a reader may swap by hand; no record holds such a part."""
        return {
            "losses": dict(self.losses),
            "wishes": list(self.wishes),
            "drawer": self.drawer,
            "recipe": self.recipe,
        }

    def foresee(self, canvas: Canvas, device) -> None:
        """Raise ValueError if a large picture cannot fit into memory."""
        if canvas.width * canvas.height > 512 * 512:
            trial = self.open(Canvas(256, 256, 1, 1.0), device)
            memory.refuse(trial, canvas.width, canvas.height)

    def say(self, note: str) -> None:
        """Keep a note, and show it as a warning."""
        self.notes.append(note)
        warnings.warn(note, stacklevel=3)

    def open(self, canvas: Canvas, device) -> drawers.Drawer:
        """A drawer of the size of a canvas, with nothing on it yet."""
        s = self.settings
        size = (canvas.width, canvas.height)
        name, options = canvas.drawer or s.drawer, {} if canvas.drawer else s.options
        drawer = drawers.make(name, size, device, self.vqgan, **options)
        drawer.tile = s.tile
        return drawer

    # -- one step -----------------------------------------------------------------

    @torch.no_grad()
    def goal(self, wish: Prompt) -> list[Tensor]:
        """Where a wish lies in the space of each guide: a (D,) for every guide."""
        out = []
        for n, guide in enumerate(self.guides):
            if wish.vector is not None:
                vector = prompts.vector_for(wish, n, self.guides)
            elif wish.picture is not None:
                vector = guide.embed_images([unpack(wish.picture)])[0]
            else:
                self.measure(guide, wish.text)
                vector = guide.embed_texts([wish.text])[0]
            out.append(F.normalize(vector.float(), dim=-1).to(guide.device))
        return out

    def measure(self, guide, text: str) -> None:
        """Note a text that is longer than a guide reads; the tokenizer warns, too."""
        room, long = guide.tokenizer.context - 2, len(guide.tokenizer.encode(text))
        if long > room:
            self.notes.append(
                f"{guide.name} reads the first {room} of the {long} tokens of "
                f'"{text[:20]} ...".'
            )

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
            mask = None if mask is None else mask.to(seen.device)
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
        text = distil.words(self.wishes, progress, self.settings.told)
        if self.distilled and text:
            add({"DALL-E 2": self.settings.distil * self.distilled(seen, text)})
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
            except (RuntimeError, MemoryError) as error:
                if not memory.is_memory(error) or self.parts >= cuts:
                    raise
            self.parts = min(2 * self.parts, cuts)
            self.say(
                f"Out of memory: the {cuts} cuts are now made in {self.parts} parts."
            )
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
        """Yield a Frame at every step (its picture is the one that was looked at).

        A run that meets NaN, or has no memory left, ends early: ``best`` is kept, and a
        warning and ``notes`` say so. Raises RuntimeError with one sentence if not even
        the first step was possible, or if the run has been drawn before.
        """
        if self.begun:
            raise RuntimeError(
                "This run has been drawn: make a new Dream, or go on from its picture "
                "with go_on(dream.best)."
            )
        self.begun, now = True, self.swappable()
        self.record["by hand"] = [k for k, v in self.made.items() if v != now[k]]
        try:
            yield from self.through()
        except (RuntimeError, MemoryError) as error:
            if not memory.is_memory(error):
                raise
            if self.best is None:
                raise RuntimeError(
                    "Out of memory in the first step, even with one cut at a time: "
                    "draw smaller, or with smaller guides."
                ) from None
            self.say(
                f"Out of memory after step {self.last.step}: the best picture so far, "
                f"of step {self.best.step}, is kept."
            )

    def through(self):
        """The steps on all canvases."""
        done = 0
        for canvas in self.plan:
            if done:  # the same picture on a finer canvas, or by another hand
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
            wrong = [f'term "{k}"' for k, v in losses.items() if not math.isfinite(v)]
            if not picture.isfinite().all():
                wrong = ["picture"]
            if wrong:
                self.say(
                    f"Stopped at step {step}: the {wrong[0]} is no number; the last "
                    "good picture is kept."
                )
                yield None
                return
            last = step == done + canvas.steps - 1 or step == self.until
            preview, rows = step % s.every == 0 or last, None
            if preview and picture.shape[-2:] == self.size and not canvas.drawer:
                rows = self.drawer.rows()  # before the step changes them
            optimiser.step()
            self.drawer.hold()
            if s.overlay and step % s.overlay[2] == 0 and progress < 0.7:
                self.lay_over()
            score = self.score(picture, progress) if preview else None
            seen = self.enlarged(picture)[0]
            self.last = Frame(step, seen, score, losses, rows, self.about())
            first = self.fresh or not self.best  # on this canvas: coarse ones lose
            if preview and (story or first or score > self.best.score):
                self.best, self.fresh = self.last, False
            if step == self.until:
                self.best = self.last
            yield self.last
            if step == self.until:
                yield None
                return

    def about(self) -> dict:
        """The record as it is now, shared by all frames without a change."""
        if self.record.get("parts") != self.parts:
            self.record = {**self.record, "parts": self.parts}
        return self.record

    def enlarged(self, picture: Tensor) -> Tensor:
        """A picture of any canvas in the size of the last one."""
        if picture.shape[-2:] == self.size:
            return picture
        return F.interpolate(picture, self.size, mode="bicubic").clamp(0, 1)

    def lay_over(self) -> None:
        """Mix the overlay into the picture and go on from there."""
        opacity = float(self.settings.overlay[1])
        with torch.no_grad():
            over = self.drawer.fit(self.over)
            mixed = (1 - opacity) * self.drawer.draw() + opacity * over
        self.drawer.repaint(mixed)  # in place: the optimiser keeps its memory

    def run(self, progress: bool = True, watch=None) -> Frame:
        """Run to the end, or until Ctrl-C; returns the best Frame.

        ``watch(frame)`` is called at every preview. An interrupted run keeps the best
        picture so far, and says so in a warning and in ``notes``. Raises RuntimeError
        with one sentence where nothing could be drawn.
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
            at = self.last.step if self.last else 0
            kept = f", of step {self.best.step}," if self.best else ""
            self.say(f"Stopped at step {at}: the best picture so far{kept} is kept.")
        if self.best is None:
            with torch.no_grad():
                picture = self.drawer.draw()
            if not picture.isfinite().all():
                raise RuntimeError(
                    "Nothing could be drawn: the first picture is no number; look at "
                    "the weights of the drawer and the guides."
                )
            score = self.score(picture, 0.0)
            seen = self.enlarged(picture)[0]
            self.best = Frame(0, seen, score, {}, record=self.about())
        return self.best


def generate(prompt: str, progress: bool = True, **settings) -> Frame:
    """Words in, picture out: ``generate("a red fox", seed=1).picture``.

    ``settings``: fields of ``Settings``. Raises ValueError with one sentence for what
    makes no sense. An interrupt returns the best picture so far.
    """
    known = Settings.__dataclass_fields__
    if wrong := [name for name in settings if name not in known]:
        raise ValueError(
            f'There is no setting "{wrong[0]}"; choose from {", ".join(known)}.'
        )
    return Dream(Settings(prompt=prompt, **settings)).run(progress)
