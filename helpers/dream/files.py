"""What a run leaves behind: PNGs to be drawn again or gone on from, and films."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import asdict, fields, replace
from pathlib import Path

from PIL import Image, PngImagePlugin
from torch import Tensor

from .. import clip, paths
from ..device import pick_device
from ..pictures import one_or_many, read_picture, to_image
from ..values import frozen, number, one_of, short, whole
from . import prompts, record
from .frame import Frame
from .guides import ready_guides
from .loop import Dream
from .packed import is_packed, text_of
from .settings import (
    ASKED,
    STARTS,
    Canvas,
    Settings,
    opening,
    opening_of_old,
    plan,
    uses_codes,
)

KEY = "pictures-and-words"
# pictures that Pillow, or an old one, does not write
OTHERS = (".avif", ".heic", ".heif", ".svg", ".mp4")
SIDE = 224  # pixels of a picture prompt, where no guide says
MOST_PIXELS = 2**25  # no drawing of ours is larger


def write(path, data: bytes) -> Path:
    """Write a file whole or not at all. Raises PermissionError with one sentence."""
    path = paths.given(path)
    part = path.parent / f".{os.getpid()}-{threading.get_ident()}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        part.write_bytes(data)
        part.replace(path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            part.unlink()
        reason = getattr(error, "strerror", None) or str(error)
        raise PermissionError(
            f"{path} cannot be written ({reason}); choose another folder or name."
        ) from None
    return path


def save(path, frame: Frame, settings: Settings | None = None) -> Path:
    """Write a PNG that carries all that decided it; ``again`` makes the same picture.

    The settings are those of the frame; give them only for a frame of your own making,
    which ``again`` will refuse. The file is written whole or not at all. Raises
    ValueError with one sentence for settings that did not draw this frame or a name
    that is no PNG, TypeError for what is no Frame, PermissionError where nothing can be
    written.
    """
    path = paths.given(path)
    if not isinstance(frame, Frame):
        raise TypeError(f"save writes a Frame, not {short(frame)}: dream.best is one.")
    others = {*Image.registered_extensions(), *OTHERS} - {"", ".png"}
    if path.suffix.lower() in others:
        raise ValueError(
            f"The settings travel in a PNG: save as {path.with_suffix('.png').name}."
        )
    image = to_image(frame.picture)
    if frame.record is None:
        if not isinstance(settings, Settings):
            raise ValueError("This frame has no record: give its settings to save.")
        size = (settings.width, settings.height)
        packed = record.pack_settings(settings, size, SIDE)
        table = {"format": record.FORMAT, "settings": asdict(packed)}
    else:
        table = dict(frame.record)
        if settings is not None:
            agree(table["settings"], settings)
        table |= {"step": frame.step, "score": frame.score, "rows": frame.rows}
    table["pixels"] = record.pixels(image)
    text, out = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_itxt(KEY, json.dumps(table, ensure_ascii=False))
    image.save(out, "PNG", pnginfo=text)
    return write(path, out.getvalue())


def agree(drawn: dict, given: Settings) -> None:
    """Raise ValueError if a frame was drawn with other settings than those given."""
    for name, value in drawn.items():
        mine = frozen(asdict(given)[name])
        pictures = name in ("pictures", "spots", "overlay") or (
            name == "start" and isinstance(mine, str) and mine not in STARTS
        )
        pictures |= opening(given) == "sketch" and name in ASKED
        pictures |= name == "distil" and mine == "usual" and not value
        if not pictures and frozen(value) != mine:
            raise ValueError(
                f"This frame was drawn with {name} {short(value)}, not {short(mine)}: "
                "leave the settings out, save knows them."
            )


def read(path) -> tuple[dict, Settings]:
    """The record in a PNG of ours, and its settings, checked.

    Nothing in the file is run, and no path in it is opened. Raises FileNotFoundError or
    ValueError with one sentence.
    """
    path = paths.given(path)
    foreign = f"{short(str(path), 120)} carries no settings of this course"
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError
            text = image.info[KEY]  # it stands before the pixels
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no picture at {path}.") from None
    except Exception:
        raise ValueError(foreign + ".") from None
    try:
        table = json.loads(text)
        rows = table["settings"] if "settings" in table else table  # an older file
        rows = {k: frozen(v) for k, v in rows.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{foreign}: they are damaged.") from None
    if unknown := [k for k in rows if k not in Settings.__dataclass_fields__]:
        raise ValueError(f"{foreign} in this version: it knows no {short(unknown[0])}.")
    rows = {"distil": 0.0, "told": (), **rows}  # an older file has neither
    if missing := [f.name for f in fields(Settings) if f.name not in rows]:
        raise ValueError(f"{foreign} in full: {missing[0]} is missing.")
    if outside(rows):
        raise ValueError(
            f"{short(str(path), 120)} names a picture by its path and does not hold it."
        )
    if rows["seed"] is None:
        raise ValueError(f"{foreign} in full: the seed is missing.")
    try:
        settings = Settings(**rows)
        settings = replace(settings, start=opening_of_old(settings))
        at = int("settings" in table and "guides" in table)
        if at:
            check_record(table, settings)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(f"{foreign} that make sense: {reason}.") from None
    return (table if at else {"settings": rows}), settings


def outside(rows: dict) -> bool:
    """Do settings out of a file name a picture by its path?"""
    paths = [rows["start"]] if isinstance(rows["start"], str) else []
    for name, at in (("pictures", 0), ("spots", 1)):
        if isinstance(rows[name], tuple):
            paths += [r[at] for r in rows[name] if isinstance(r, tuple) and len(r) == 2]
    if isinstance(rows["overlay"], tuple):
        paths += rows["overlay"][:1]
    return any(
        isinstance(p, str) and not is_packed(p) and p not in STARTS for p in paths
    )


def check_record(table: dict, settings: Settings) -> None:
    """Raise an error for a record that no run of ours wrote."""
    if table.get("format") != record.FORMAT:
        raise ValueError(f"its format {short(table.get('format'))} is not known")
    whole("the step", table["step"], 0, settings.steps - 1)
    whole("the parts", table["parts"], 1, 4096)
    others = [table["vqgan"], table.get("dalle2")]
    models = [*table["guides"], *[row for row in others if row]]
    for row in models:
        if not isinstance(row["mark"], str) or row.get("bf16") not in (
            None,
            True,
            False,
        ):
            raise ValueError("a model is not described")
        if row["name"] is not None and not isinstance(row["name"], str):
            raise ValueError("a model has no name")
    if not table["guides"] or len(table["guides"]) > 16:
        raise ValueError("it names no guides")
    by_hand = table.get("by hand") or []
    if not all(isinstance(part, str) for part in by_hand):
        raise ValueError("it does not say what was put in by hand")
    if not isinstance(table["versions"], dict) or len(table["wishes"]) > prompts.MOST:
        raise ValueError("versions or wishes are missing")
    if asked := table.setdefault("asked", None):  # none in an older file
        one_of("start", asked["start"], ("usual", "sketch"))
        table["asked"] = {k: asked[k] for k in ASKED if k in asked}
        replace(settings, **table["asked"])  # checks them
    if "canvases" in table:  # none in an older file
        table["canvases"] = [a_canvas(*row) for row in table["canvases"]]
        if sum(canvas.steps for canvas in table["canvases"]) != settings.steps:
            raise ValueError("its canvases have other steps than its settings")
    table["wishes"] = [record.wish_of(row) for row in table["wishes"]]
    table["rows"] = frozen(table["rows"])


def settings_of(path) -> Settings:
    """The settings inside a PNG of ours, with its pictures inside.

    Raises FileNotFoundError or ValueError with one sentence for a file that is missing,
    damaged or not ours.
    """
    return read(path)[1]


def changed(settings: Settings, changes: dict) -> Settings:
    """Settings with changes. Raises ValueError with one sentence for an unknown one."""
    for name in changes:
        one_of("setting", name, Settings.__dataclass_fields__)
    return replace(settings, **changes)


def again(path, guides=None, vqgan=None, **changes) -> Dream:
    """The run that made a PNG, ready to start; ``changes`` replace settings.

    Without changes it ends with the very step that was saved; with some, a sketch to
    begin with is drawn anew. ``guides``, ``vqgan``:
    ready models, which must be those that drew it. Raises FileNotFoundError or
    ValueError with one sentence if the file does not hold all that decided its picture,
    or if these are other models; other versions or devices are said in a warning.
    """
    table, settings = read(path)
    if "guides" not in table:
        raise ValueError(
            f"{path} does not say which models drew it: Dream(settings_of(...)) draws "
            "with those of today."
        )
    if by := table.get("by hand"):
        raise ValueError(
            f"{path} cannot be drawn again: its {by[0]} were put into the run by hand."
        )
    if changes:
        settings = replace(settings, **(table["asked"] or {}))
    else:
        settings = on_its_canvases(settings, table.get("canvases"))
    settings = changed(settings, changes)
    guides = ready_guides(guides)
    device = guides[0].device if guides else pick_device()
    if guides is None:
        guides = [guide(row, path, device) for row in table["guides"]]
    same(table["guides"], record.guide_rows(guides), "guides", path)
    drawn = table["vqgan"]
    if uses_codes(settings) and drawn:
        if vqgan is None:
            vqgan = codes(drawn, path, device)
        same([drawn], [record.vqgan_row(vqgan)], "vqgan", path)
    dream = Dream(settings, guides, vqgan, table["wishes"])
    rows = [t.get("dalle2") for t in (table, dream.record)]
    if all(rows):
        same(*([row] for row in rows), "DALL-E 2", path)
    dream.parts = table["parts"]
    if not changes:
        dream.until = table["step"]
    then, now = table["versions"], record.versions(device)
    moved = [k for k in ("torch", "device", "threads") if then.get(k) != now[k]]
    if moved:
        was = " ".join(str(then.get(moved[0])).split())[:40]
        here = f"{moved[0]} {was}, here {now[moved[0]]}"
        dream.say(f"The picture may differ a little: it was drawn with {here}.")
    return dream


def a_canvas(width, height, steps, rate, drawer) -> Canvas:
    """A canvas out of a record. Raises ValueError for one that no run of ours had."""
    if drawer not in (None, "vqgan"):
        raise ValueError(f"a canvas is drawn by {short(drawer)}")
    return Canvas(
        whole("the width of a canvas", width, 1, 2**24),
        whole("the height of a canvas", height, 1, 2**24),
        whole("the steps of a canvas", steps, 1, 100_000),
        number("the rate of a canvas", rate, 0, 1e6),
        drawer,
    )


def on_its_canvases(settings: Settings, drawn: list | None) -> Settings:
    """Settings with the very canvases of a record, if "coarse" means others by now."""
    if not drawn or drawn == plan(settings) or any(c.drawer for c in drawn):
        return settings
    rows = [(max(c.width, c.height), c.steps / settings.steps, c.rate) for c in drawn]
    return replace(settings, canvases=tuple(rows))


def guide(row: dict, path, device) -> clip.Embedder:
    """A guide by the name in a record."""
    try:
        return clip.load(row["name"], device, bf16=bool(row.get("bf16")))
    except Exception as error:
        raise ValueError(
            f'{path} was drawn with the CLIP "{row["name"]}", which cannot be loaded '
            f"({short(str(error), 80)}): pass it as guides=[...]."
        ) from None


def codes(row: dict, path, device):
    """The VQGAN by the name in a record."""
    from .. import vqgan

    try:
        if row["name"] is None:
            raise ValueError("it has no name")
        return vqgan.load(row["name"], device)
    except Exception as error:
        raise ValueError(
            f"{path} was drawn with a VQGAN that cannot be loaded "
            f"({short(str(error), 80)}): pass it as vqgan=..."
            "."
        ) from None


def same(drawn: list, here: list, what: str, path) -> None:
    """Raise ValueError unless these are the models of a record."""
    keys = ("mark", "bf16")
    rows = [[{k: r.get(k) for k in keys} for r in table] for table in (drawn, here)]
    if rows[0] != rows[1]:
        named = [
            ", ".join(f"{r['name']} ({r['mark'][:8]})" for r in t)
            for t in (drawn, here)
        ]
        raise ValueError(
            f"{path} was drawn with other {what}: {named[0]}, not {named[1]}; pass "
            "those, or draw anew with Dream(settings_of(...))."
        )


def go_on(
    source,
    prompt: str | None = None,
    steps: int = 40,
    guides=None,
    vqgan=None,
    **changes,
) -> Dream:
    """Go on with a drawing: more steps, or other words, from where it stands.

    source: a PNG of ``save``, or a Frame. prompt: None keeps the words (of a story, its
    last chapter). The run starts from the codes or strokes that are drawn, otherwise
    from the picture; it stays on the last canvas, and its own PNG holds the start.
    ``go_on("fox.png", "a wolf", steps=60).run()``. ``changes`` replace settings; with
    several canvases among them it starts from the picture. Raises FileNotFoundError or
    ValueError with one sentence.
    """
    if isinstance(source, Frame):
        table, image = source.record, to_image(source.picture)
        if table is None:
            raise ValueError(
                "This frame has no record: go on from one that Dream drew."
            )
        old = Settings(**{k: frozen(v) for k, v in table["settings"].items()})
        wishes = [record.wish_of(row) for row in table["wishes"]]
        rows = source.rows
    else:
        table, old = read(source)
        try:
            with Image.open(paths.given(source)) as file:
                image = file.convert("RGB")
        except Exception:
            raise ValueError(f"{source} is damaged or cut short.") from None
        wishes, rows = table.get("wishes", []), table.get("rows")
        if record.pixels(image) != table.get("pixels"):
            rows = None  # somebody has painted on it: the picture counts
    if "start" in changes:  # and not from where it stands
        old = replace(old, **(table.get("asked") or {}))
    if prompt is None:
        last = [p for p in prompts.parse(old.prompt) if p.end == 1]
        prompt = " | ".join(map(str, last)) if last[0].begin else old.prompt
    new = {"prompt": prompt, "steps": steps, "canvases": (), "start": text_of(image)}
    settings = changed(old, {**new, **changes})
    kept = ("drawer", "width", "height", "vqgan", "options")
    alone = settings.canvases != "coarse" and len(settings.canvases) < 2
    if rows and alone and "start" not in changes:
        if all(getattr(settings, k) == getattr(old, k) for k in kept):
            settings = replace(settings, start=rows)
    if "canvases" not in changes:
        side = max(settings.width, settings.height)
        settings = replace(settings, canvases=((side, 1.0, plan(old)[-1].rate),))
    guides = ready_guides(guides)
    device = guides[0].device if guides else pick_device()
    if guides is None and "guides" in table and "guides" not in changes:
        guides = [guide(row, source, device) for row in table["guides"]]
    if vqgan is None and uses_codes(settings) and table.get("vqgan"):
        vqgan = codes(table["vqgan"], source, device)
    return Dream(settings, guides, vqgan, wishes)


def film(pictures) -> list[Image.Image]:
    """Pictures of one size as those of a film. Raises ValueError with one sentence."""
    images = [read_picture(row) for row in one_or_many(pictures)]
    if not images:
        raise ValueError("There is no picture to animate.")
    if len({image.size for image in images}) > 1:
        raise ValueError("The pictures of a film have one size, these have several.")
    return images


def gif(path, pictures: list[Tensor], seconds: float = 4.0) -> Path:
    """Write an animation; the last picture stays for a second and a half.

    Raises ValueError or PermissionError with one sentence.
    """
    seconds = number("The seconds", seconds, 0, 3600)
    images, out = film(pictures), io.BytesIO()
    each = max(20, round(1000 * seconds / len(images)))
    times = [each] * (len(images) - 1) + [1500]
    images[0].save(
        out, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0
    )
    return write(path, out.getvalue())


def mp4(path, pictures: list[Tensor], rate: int = 15) -> Path | None:
    """Write a film with ffmpeg; None where ffmpeg is not installed.

    ``rate``: pictures a second. Raises ValueError, PermissionError or, where ffmpeg
    fails, RuntimeError with one sentence.
    """
    rate, images = whole("The rate", rate, 1, 240), film(pictures)
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    width, height = images[0].size
    command = [program, "-y", "-loglevel", "error", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate)]
    command += ["-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]
    raw = b"".join(image.tobytes() for image in images)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "film.mp4"
        command += ["-pix_fmt", "yuv420p", str(made)]
        ran = subprocess.run(command, input=raw, capture_output=True)
        if ran.returncode:
            reason = ran.stderr.decode(errors="replace").strip().split("\n")[-1]
            raise RuntimeError(f"ffmpeg could not write {path}: {reason}")
        return write(path, made.read_bytes())
