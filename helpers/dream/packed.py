"""Small pictures as text: settings that hold them fit into a PNG, and need no file.

A packed picture is a data address, "data:image/png;base64,...", 8-bit RGB.
"""

import base64
import binascii
import io

import torch.nn.functional as F

from ..pictures import read_picture, resize_and_crop, to_image, to_tensor
from ..values import short

HEAD = "data:image/png;base64,"
LARGEST = 48_000_000  # characters


def is_packed(source) -> bool:
    return isinstance(source, str) and source.startswith("data:")


def unpack(source):
    """The bytes of a packed picture; anything else (a path) as it is.

    Raises ValueError with one sentence for a packed picture that is damaged.
    """
    if not is_packed(source):
        return source
    try:
        if not source.startswith(HEAD) or len(source) > LARGEST:
            raise ValueError
        return base64.b64decode(source[len(HEAD) :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(
            f"The packed picture {short(source)} is damaged: give a path instead."
        ) from None


def text_of(image) -> str:
    """A PIL picture -> a packed picture."""
    out = io.BytesIO()
    image.convert("RGB").save(out, "PNG")
    return HEAD + base64.b64encode(out.getvalue()).decode("ascii")


def pack(source, size: tuple[int, int]) -> str:
    """Any picture (a path, bytes, PIL, packed) -> packed, no larger than ``size``.

    ``size``: (width, height). A picture with more pixels is brought to that size, as a
    canvas brings it; one with fewer is kept. Raises ValueError with one sentence.
    """
    image = read_picture(unpack(source))
    width, height = size
    if image.width * image.height <= width * height:
        return source if is_packed(source) else text_of(image)
    x = to_tensor(image)[None]
    x = F.interpolate(x, (height, width), mode="bicubic", antialias=True)
    return text_of(to_image(x[0].clamp(0, 1)))


def pack_square(source, side: int) -> str:
    """Any picture -> packed: its centre square of ``side`` pixels, as a CLIP sees it.

    Raises ValueError with one sentence.
    """
    image = read_picture(unpack(source))
    if is_packed(source) and image.size == (side, side):
        return source
    return text_of(resize_and_crop(image, side))
