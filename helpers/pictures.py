"""Pictures: anything to a tensor, a tensor to a picture, once for the whole course.

Dims: B batch, H/W pixels. A picture tensor is (3, H, W), float in [0, 1] or uint8.
"""

import contextlib
import io
import os
import re
import sys
import warnings
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from . import paths
from .values import flag, whole

MAX_PIXELS = 50_000_000  # a larger picture is refused as a decompression bomb
GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue look
BITS = (1, 8, 10, 12, 14, 16)  # depths that cameras and scanners give
LARGEST = 2**30  # pixels a side
LONGEST = 200  # letters of a name that a sentence shows
NOISE = 1e-5  # how far rounding may carry a float out of [0, 1]
OVER = 2  # floats up to this one were [0, 1] before some filter overshot
WIDE = re.compile(
    r"(LA|RGBA?);16[LBN]"
)  # how Pillow names 16 bit a colour, see lower_bytes
SWAP = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
PATHS = (str, os.PathLike)
FILES = (*PATHS, bytes, bytearray, memoryview)


def read_picture(source, size: int | None = None, bgr: bool = False) -> Image.Image:
    """Any one picture as RGB: the only way in, so all kinds are prepared alike.

    ``source``: a path, bytes, an open file, a PIL picture, a numpy array (H, W) or
    (H, W, 1 to 4) or a tensor (H, W) or (1 to 4, H, W). Floats lie in [0, 1], uint8 in
    0..255. ``bgr``: the array holds blue first, as OpenCV gives it. ``size``: the
    longest side at most.

    Transparent parts become white, EXIF rotation is applied, of an animation the first
    frame is taken. Deep pictures (16 bit, float files) become 8 bit by the range that
    their values show. HEIC is read where ``pillow-heif`` is installed. Raises
    ValueError with one sentence for what cannot be read.
    """
    if isinstance(source, (np.ndarray, Tensor)):
        image = from_array(source, flag("bgr", bgr))
    elif bgr:
        raise ValueError("bgr=True goes with arrays; a file knows its own colours.")
    elif isinstance(source, Image.Image):
        image = to_rgb(source, "the picture")
    elif isinstance(source, FILES) or hasattr(source, "read"):
        image = from_file(source)
    else:
        raise ValueError(
            "A picture must be a path, bytes or a PIL image, an array or a tensor, not "
            f"{type(source).__name__}."
        )
    size = LARGEST if size is None else whole("size", size, 1, LARGEST)
    if max(image.size) > size:
        image.thumbnail((size, size), Image.LANCZOS)
    return image


def one_or_many(source) -> list:
    """One picture or several (a list, a batch array or tensor) -> a list of pictures.

    Raises ValueError with one sentence for what is neither.
    """
    one = isinstance(source, (*FILES, Image.Image)) or hasattr(source, "read")
    if isinstance(source, np.ndarray) and source.ndim == 0:
        source = source.item()  # a path, say, that numpy has taken in
        return one_or_many(source)
    numbers = isinstance(source, np.ndarray) and source.dtype.kind not in "OUS"
    if numbers or isinstance(source, Tensor):
        one = source.ndim < 4
        if source.ndim > 4:
            raise wrong_shape(source)
    if one:
        return [source]
    if not hasattr(source, "__iter__") or isinstance(source, dict):
        raise ValueError(
            "Pictures must be a list, an array or a tensor (or one picture), not "
            f"{type(source).__name__}."
        )
    return list(source)


def plain(name) -> str:
    """A file name as printable text: what cannot be printed is spelt as \\x..

    Of a very long one the end is shown.
    """
    name = os.fsdecode(name) if isinstance(name, os.PathLike) else str(name)
    name = name if len(name) <= LONGEST else f"…{name[-LONGEST:]}"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in name
    )


def from_file(source) -> Image.Image:
    """A picture out of a path, bytes or an open file, as RGB."""
    with contextlib.ExitStack() as stack:
        image, what = begun(source, stack)
        return to_rgb(image, what)


def check_file(source) -> None:
    """Is there a picture at this path? It is opened, but not decoded.

    Raises ValueError with one sentence if not.
    """
    with contextlib.ExitStack() as stack:
        image, what = begun(source, stack)
        check_pixels(*image.size, what)


def begun(source, stack: contextlib.ExitStack) -> tuple[Image.Image, str]:
    """(a picture that is opened but not decoded, what to call it in a sentence)."""
    what = "the picture"
    if isinstance(source, PATHS):
        what = plain(source)
        file = stack.enter_context(file_at(source, what))
    else:
        raw = bytes(source) if isinstance(source, FILES) else bytes_of(source)
        file = io.BytesIO(raw)
    head = file.read(32)
    if not head:
        raise ValueError(f"{what} is empty (zero bytes).")
    file.seek(0)
    return opened(file, head, what), what


def file_at(source, what: str):
    """The open file at a path. Raises ValueError with one sentence."""
    path = paths.given(source)
    if str(path).lower().startswith("data:") and not os.path.exists(path):
        raise ValueError("The text is a data URL, no path: decode its base64 to bytes.")
    if "://" in what:
        local = what.lower().startswith("file:")
        way = "write its path alone" if local else "download the picture"
        raise ValueError(f"{what} is an address, not a file: {way}.")
    if os.path.isdir(path):
        raise ValueError(f"{what} is a folder, not a picture.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{what} is a device or a pipe, not a picture.")
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise ValueError(f"There is no picture at {what}.") from None
    except OSError as error:  # no permission, a name too long
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{what} cannot be opened ({why}).") from None
    except ValueError:  # a zero byte in the name
        raise ValueError(f"There is no picture at {what}.") from None


def bytes_of(source) -> bytes:
    """What an open binary file holds, from its beginning where it can go back."""
    raw = None
    with contextlib.suppress(Exception):
        source.seek(0)
    with contextlib.suppress(Exception):
        raw = source.read()
    if not isinstance(raw, (bytes, bytearray)):
        raise ValueError("The open file gives no bytes: open it with mode 'rb'.")
    return bytes(raw)


@lru_cache
def formats() -> tuple[list[str], bool]:
    """(the formats that are read, whether HEIC is among them).

    PostScript is a program that Pillow would hand to Ghostscript: it is not run.
    """
    Image.init()
    heic = False
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        heic = True
    return [name for name in Image.OPEN if name != "EPS"], heic


def opened(file, head: bytes, what: str) -> Image.Image:
    """Let Pillow open a file that begins with ``head``; it is not decoded yet."""
    known, heic = formats()
    if head.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        raise ValueError(f"{what} is PostScript, a program; convert it to PNG first.")
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if not heic and brand in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"):
        if b"avif" not in head:
            raise ValueError(f"{what} is HEIC: to read it, pip install pillow-heif.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(file, formats=known)
    except Image.DecompressionBombError:
        raise ValueError(f"{what} is too large; shrink it first.") from None
    except UnidentifiedImageError:
        raise ValueError(
            f"{what} is not a picture that can be read (PNG, JPEG, WebP, GIF ...)."
        ) from None
    except Exception:
        raise ValueError(f"{what} is damaged or cut short.") from None


def check_pixels(width: int, height: int, what: str) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{what} has {width} x {height} pixels, more than {MAX_PIXELS:,}; shrink "
            "it first."
        )
    if width * height == 0:
        raise ValueError(f"{what} is empty: {width} x {height} pixels.")


def to_rgb(image: Image.Image, what: str) -> Image.Image:
    """A PIL picture of any mode -> RGB, upright, on white."""
    if image.format == "EPS":
        raise ValueError(f"{what} is PostScript, a program; convert it to PNG first.")
    check_pixels(*image.size, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            twin = lower_bytes(image)
            image.load()
            clear = image.info.get("transparency")
            if twin is not None:
                image = narrowed(image, twin, clear)
            with contextlib.suppress(Exception):  # a broken note turns nothing
                image = ImageOps.exif_transpose(image)
            deep = np.asarray(image) if image.mode.startswith(("I", "F")) else None
            if deep is None:
                return on_white(image)
    except Exception:
        raise ValueError(f"{what} is damaged or cut short.") from None
    return Image.fromarray(eight_bits(deep, what, clear)).convert("RGB")


def lower_bytes(image: Image.Image) -> tuple[Image.Image, list | slice] | None:
    """The lower bytes of a PNG or TIFF of 16 bit a colour that is not decoded yet.

    Returns a picture to decode, and where in its colours they lie. Pillow keeps the
    upper bytes alone, and those of a camera's 12 bits are nearly black. Told that the
    bytes stand the other way round, it keeps the lower ones. Grey with alpha has no
    such way: its four bytes are called four colours.
    """
    tiles = getattr(image, "tile", None) or []
    rows = [t[3] if isinstance(t[3], tuple) else (t[3],) for t in tiles]
    wide = all(WIDE.fullmatch(str(row[0])) for row in rows)
    if not (rows and wide and image.mode in ("RGB", "RGBA")):
        return None
    at = image.fp.tell()
    image.fp.seek(0)
    twin = Image.open(io.BytesIO(image.fp.read()), formats=[image.format])
    image.fp.seek(at)
    twin.tile = []
    for tile, (order, *more) in zip(tiles, rows, strict=True):
        order = "RGBA" if order.startswith("L") else order[:-1] + SWAP[order[-1]]
        args = (order, *more) if isinstance(tile[3], tuple) else order
        old = not hasattr(tile, "_replace")  # Pillow 10 has plain tuples
        twin.tile.append((*tile[:3], args) if old else tile._replace(args=args))
    return twin, [1, 1, 1, 3] if rows[0][0].startswith("L") else slice(None)


def narrowed(image: Image.Image, twin: tuple, clear) -> Image.Image:
    """A picture of 16 bit a colour as 8 bit, by the range that its values show.

    ``image`` holds the upper bytes, ``twin`` is of ``lower_bytes``. One that shows all
    of its range stays as Pillow reads it. ``clear``: what stands for transparent.
    """
    upper, (twin, places) = np.asarray(image), twin
    if upper[..., :3].max() >= 64 and not isinstance(clear, tuple):
        return image
    twin.load()
    deep = upper.astype(np.uint16) * 256 + np.asarray(twin)[..., places]
    out = Image.fromarray(eight_bits(deep, "the picture", clear))
    out.info = {k: v for k, v in image.info.items() if k != "transparency"}
    return out


def on_white(image: Image.Image) -> Image.Image:
    """A PIL picture of 8 bit -> RGB; what is transparent becomes white."""
    if image.mode == "LAB":
        image = from_lab(image)
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def from_lab(image: Image.Image) -> Image.Image:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")


def eight_bits(values: np.ndarray, what: str, clear=None) -> np.ndarray:
    """Grey (H, W) or colours (H, W, C) of any depth -> uint8, by what the values show.

    Integers: the smallest depth (1, 8, 10, 12, 14 or 16 bit) that holds them; the alpha
    of (H, W, 2) and (H, W, 4) has one of its own, that of the colours at least. Floats:
    [0, 1] (what a filter carried beyond 1 is cut), else 0..255. Wider or negative
    values are stretched to their own range. ``clear``: the value (or colour) that
    stands for transparent; it becomes white.
    """
    if values.ndim == 3 and values.shape[2] in (2, 4):
        colours, alpha = values[..., :-1], values[..., -1:]
        least = np.broadcast_to(colours.max(), (1, *alpha.shape[1:]))
        deep = eight_bits(np.concatenate([alpha, least]), what)[:-1]
        return np.concatenate([eight_bits(colours, what, clear), deep], 2)
    x = values.astype(np.float32)
    low, high = float(x.min()), float(x.max())
    if not np.isfinite(low + high):
        raise ValueError(f"{what} holds values that are no numbers (NaN or inf).")
    depths = [2**bits - 1 for bits in BITS]
    if values.dtype.kind == "f":
        depths = [1, 255]
        high = min(high, 1) if high <= OVER else high
        x = x.clip(max=high)
    tops = [top for top in depths if high <= top]
    if low < 0 or not tops:
        low = min(low, 0)
        x = (x - low) * (255 / max(high - low, 1e-9))
    else:
        x = x * (255 / tops[0])
    if isinstance(clear, int):
        x[values == clear] = 255
    elif isinstance(clear, tuple):
        x[(values == np.array(clear)).all(-1)] = 255
    return x.round().astype(np.uint8)


def wrong_shape(x) -> ValueError:
    wanted = "(3, H, W)" if isinstance(x, Tensor) else "(H, W, 3)"
    kind = "tensor" if isinstance(x, Tensor) else "array"
    return ValueError(
        f"A picture as {kind} has the shape {wanted}, not {tuple(x.shape)}."
    )


def from_array(x, bgr: bool = False) -> Image.Image:
    """A numpy array (H, W) or (H, W, C), or a tensor (H, W) or (C, H, W), as RGB.

    C: 1 grey, 2 grey and alpha, 3 colours, 4 colours and alpha. uint8, bool, uint16
    (as a file of 16 bit), or float in [0, 1].
    """
    given = x
    if isinstance(x, Tensor):
        try:
            x = x.detach().cpu()
            x = x.float() if x.is_floating_point() else x
            x = (x.movedim(0, -1) if x.ndim == 3 else x).numpy()
        except (TypeError, RuntimeError, NotImplementedError):
            raise ValueError("The tensor holds no plain values to see.") from None
    if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[2] not in (1, 2, 3, 4)):
        raise wrong_shape(given)
    check_pixels(x.shape[1], x.shape[0], "The picture")
    x = values_of(x)
    x = x[..., 0] if x.ndim == 3 and x.shape[2] == 1 else x
    if bgr and x.ndim == 3 and x.shape[2] > 2:
        x = x[..., [2, 1, 0, 3][: x.shape[2]]]
    return to_rgb(Image.fromarray(np.ascontiguousarray(x)), "The picture")


def values_of(x: np.ndarray) -> np.ndarray:
    """The values of an array as uint8; ValueError if their range is not known."""
    kind, width = x.dtype.kind, x.dtype.itemsize
    if kind == "u" and width == 1:
        return x
    if kind == "b":
        return x.astype(np.uint8) * 255
    if kind == "u" and width == 2:
        return eight_bits(x, "The picture")
    if kind != "f":
        raise ValueError(
            "A picture holds uint8 (0 to 255) or floats (0 to 1), not "
            f"{x.dtype.name}: convert it first."
        )
    low, high = float(x.min()), float(x.max())
    if not np.isfinite(low + high):
        raise ValueError("The picture holds values that are no numbers (NaN or inf).")
    if low < -NOISE or high > 1 + NOISE:
        hint = "undo its normalisation" if low < 0 else "divide by 255 or give uint8"
        raise ValueError(
            f"A picture of floats lies in [0, 1], this one goes from {low:.5g} to "
            f"{high:.5g}: {hint}."
        )
    return (x.astype(np.float32).clip(0, 1) * 255).round().astype(np.uint8)


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


def to_tensor(source, size: int | None = None, bgr: bool = False) -> Tensor:
    """Any one picture, as ``read_picture`` takes it -> (3, H, W) float in [0, 1].

    ``size``: the centre square of that side, (3, size, size), as ``resize_and_crop``
    cuts it. Raises ValueError with one sentence for what is no picture.
    """
    from torchvision.transforms.functional import pil_to_tensor

    image = read_picture(source, bgr=bgr)
    if size is not None:
        size = whole("size", size, 1, 4096)
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
