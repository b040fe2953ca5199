"""Where our preprocessing is OpenAI's and where it differs, as its docstring says."""

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.pictures import to_tensor

open_clip = pytest.importorskip("open_clip")


def both(picture, size: int = 64):
    """(ours, open_clip's), each (3, S, S) in [0, 1]."""
    zero, one = (0,) * 3, (1,) * 3
    theirs = open_clip.image_transform(size, is_train=False, mean=zero, std=one)
    return to_tensor(picture, size), theirs(picture)


def noise(h: int, w: int, mode: str = "RGB"):
    g = torch.Generator().manual_seed(0)
    x = torch.randint(256, (h, w, len(mode)), generator=g, dtype=torch.uint8).numpy()
    return Image.fromarray(x.squeeze())


@pytest.mark.parametrize("shape", [(90, 70), (40, 320), (320, 40)])
@pytest.mark.parametrize("mode", ["RGB", "L", "opaque"])
def test_these_are_the_same(shape, mode):
    picture = noise(*shape, "L" if mode == "L" else "RGB")
    if mode == "opaque":
        picture.putalpha(255)
    ours, theirs = both(picture)
    assert (ours - theirs).abs().max() <= 1 / 255


def test_a_longer_strip_lies_up_to_a_pixel_aside():
    smooth = noise(4, 60).resize((909, 60), Image.BICUBIC)  # 15 : 1
    ours, theirs = both(smooth)
    apart = (ours - theirs).abs().mean()
    aside = [(theirs[..., 1:] - theirs[..., :-1]).abs().mean()]
    assert apart <= max(aside)


def test_these_differ_on_purpose():
    clear = noise(80, 80, "RGBA")
    clear.putalpha(0)
    ours, theirs = both(clear)
    assert ours.min() == 1 and theirs.mean() < 0.9  # white, not the hidden colours
    turned = noise(80, 80)
    turned.getexif()[0x0112] = 6
    ours, theirs = both(turned)
    assert (ours.rot90(1, (1, 2)) - theirs).abs().mean() < 0.02
    for mode in ("P", "CMYK"):
        picture = noise(80, 80).convert(mode)
        ours, theirs = both(picture)
        assert torch.equal(ours, both(picture.convert("RGB"))[1])
        assert not torch.equal(ours, theirs)
    grey = Image.fromarray(np.full((80, 80), 30000, dtype=np.uint16))
    ours, theirs = both(grey)
    assert abs(ours.mean() - 30000 / 65535) < 0.01 and theirs.mean() == 1
