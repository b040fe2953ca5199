"""What a run leaves behind: PNGs that carry their settings, and films."""

import json
import shutil
import subprocess
from dataclasses import asdict, fields, replace
from pathlib import Path

from PIL import Image, PngImagePlugin
from torch import Tensor

from ..pictures import array, to_image
from .loop import Dream, Frame
from .settings import Settings

KEY = "pictures-and-words"


def writable(path) -> Path:
    """The path, with its folder made. Raises PermissionError with one sentence."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab"):
            pass
    except OSError as error:
        raise PermissionError(
            f"{path} cannot be written ({error.strerror}); choose another folder."
        ) from None
    return path


def save(path, frame: Frame, settings: Settings) -> Path:
    """Write a PNG that carries its settings; ``again`` makes the same picture."""
    path = writable(path)
    text = PngImagePlugin.PngInfo()
    text.add_itxt(KEY, json.dumps(asdict(settings), ensure_ascii=False))
    to_image(frame.picture).save(path, "PNG", pnginfo=text)
    return path


def settings_of(path) -> Settings:
    """The settings inside a PNG of ours. Raises ValueError with one sentence."""
    try:
        with Image.open(path) as image:
            table = json.loads(image.text[KEY])
        known = {f.name for f in fields(Settings)}
        if set(table) - known:
            raise ValueError
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no picture at {path}.") from None
    except Exception:
        raise ValueError(f"{path} carries no settings of this course.") from None
    return Settings(**{k: freeze(v) for k, v in table.items()})


def freeze(value):
    """Lists from JSON become tuples again."""
    if isinstance(value, dict):
        return {k: freeze(v) for k, v in value.items()}
    return tuple(freeze(v) for v in value) if isinstance(value, list) else value


def again(path, guides=None, vqgan=None, **changes) -> Dream:
    """The run that made a PNG, ready to start; ``changes`` replace settings."""
    return Dream(replace(settings_of(path), **changes), guides, vqgan)


def gif(path, pictures: list[Tensor], seconds: float = 4.0) -> Path:
    """Write an animation; the last picture stays for a second and a half."""
    path = writable(path)
    if not pictures:
        raise ValueError("There is no picture to animate.")
    images = [to_image(p) for p in pictures]
    each = max(20, round(1000 * seconds / len(images)))
    times = [each] * (len(images) - 1) + [1500]
    images[0].save(
        path, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0
    )
    return path


def mp4(path, pictures: list[Tensor], rate: int = 15) -> Path | None:
    """Write a film with ffmpeg; None where ffmpeg is not installed."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    path = writable(path)
    if not pictures:
        raise ValueError("There is no picture to animate.")
    height, width = pictures[0].shape[1:]
    command = [program, "-y", "-loglevel", "error", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate)]
    command += ["-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]
    command += ["-pix_fmt", "yuv420p", str(path)]
    raw = b"".join(array(p).tobytes() for p in pictures)
    ran = subprocess.run(command, input=raw, capture_output=True)
    if ran.returncode:
        reason = ran.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise RuntimeError(f"ffmpeg could not write {path}: {reason}")
    return path
