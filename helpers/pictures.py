"""Pictures: anything to a tensor, a tensor to a picture, once for the whole course.

Dims: B batch, H/W pixels. A picture tensor is (3, H, W), float in [0, 1] or uint8.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

MAX_PIXELS = 50_000_000  # a larger picture is refused as a decompression bomb
GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue look


def read_picture(source, size: int | None = None) -> Image.Image:
    """Open any picture as RGB: a path, bytes or a PIL image.

    Transparent parts become white, EXIF rotation is applied, 16-bit grey is scaled to 8
    bit, of an animation the first frame is taken. ``size``: the longest side at most.
    Raises ValueError with one sentence for what cannot be read.
    """
    what = "the picture"
    if isinstance(source, (str, Path)):
        what = str(source)
        if not Path(source).is_file():
            raise ValueError(f"There is no picture at {source}.")
        source = Path(source).read_bytes()
    if isinstance(source, (bytes, bytearray)):
        if not source:
            raise ValueError(f"{what} is empty (zero bytes).")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(source))
        except Image.DecompressionBombError:
            raise ValueError(f"{what} is too large; shrink it first.") from None
        except Exception:
            raise ValueError(
                f"{what} is not a picture that can be read (PNG, JPEG, WebP, GIF ...)."
            ) from None
    elif isinstance(source, Image.Image):
        image = source
    else:
        raise ValueError(
            "A picture must be a path, bytes or a PIL image, not "
            f"{type(source).__name__}."
        )
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"{what} has {image.width} x {image.height} pixels, more than "
            f"{MAX_PIXELS:,}; shrink it first."
        )
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):  # 16-bit grey or float: scale to 8 bit
            low, high = image.getextrema()
            wide = 65535 if high > 255 else max(high, 1)
            image = image.convert("F").point(lambda v: v * (255 / wide)).convert("L")
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = image.convert("RGB")
    except Exception:
        raise ValueError(f"{what} is damaged or cut short.") from None
    if size and max(image.size) > size:
        image.thumbnail((size, size), Image.LANCZOS)
    return image


def resize_and_crop(image, size: int):
    """PIL -> PIL: short side to ``size`` (bicubic), then the centre square.

    The same pixels as OpenAI's and open_clip's preprocessing for RGB, grey and opaque
    pictures of up to 8 : 1. A longer strip is cut to 8 : 1 first, or the long side
    would grow without bound; its centre then lies up to a pixel aside. On purpose
    ``read_picture`` prepares other kinds differently from theirs: what is transparent
    becomes white (theirs: whatever colour hides there), EXIF rotation is applied,
    16-bit grey is scaled instead of clipped, and palettes and CMYK become RGB before
    the resizing (theirs: after it).
    """
    from torchvision.transforms import InterpolationMode, functional

    w, h = image.size
    side = 8 * min(w, h)
    if max(w, h) > side:
        image = functional.center_crop(image, [min(h, side), min(w, side)])
    image = functional.resize(image, size, InterpolationMode.BICUBIC)
    return functional.center_crop(image, size)


def to_tensor(source, size: int | None = None) -> Tensor:
    """Any picture (path, bytes, PIL) -> (3, H, W) float in [0, 1].

    ``size``: the centre square of that side, (3, size, size), as ``resize_and_crop``
    cuts it. Raises ValueError with one sentence for what is no picture.
    """
    from torchvision.transforms.functional import pil_to_tensor

    image = read_picture(source)
    return pil_to_tensor(resize_and_crop(image, size) if size else image).float() / 255


def array(picture) -> np.ndarray:
    """A tensor (3, H, W) or a PIL picture -> (H, W, 3) uint8 array."""
    if isinstance(picture, Tensor):
        picture = picture.detach().cpu()
        if picture.is_floating_point():
            picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
        return picture.permute(1, 2, 0).numpy()
    return np.asarray(picture.convert("RGB"))


def to_image(picture: Tensor) -> Image.Image:
    """(3, H, W), float in [0, 1] or uint8 -> PIL."""
    return Image.fromarray(array(picture))


def on_background(rgba: torch.Tensor, colour=(255, 255, 255)) -> torch.Tensor:
    """Lay (B, 4, H, W) uint8 pictures on a colour (3,) or pictures (B, 3, H, W)."""
    back = torch.as_tensor(colour, device=rgba.device).to(torch.int16)
    if back.ndim == 1:
        back = back[None, :, None, None]
    alpha = rgba[:, 3:].to(torch.int16)
    delta = (rgba[:, :3].to(torch.int32) - back) * alpha
    return (back + torch.div(delta + 127, 255, rounding_mode="floor")).to(torch.uint8)
