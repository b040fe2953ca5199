"""Augmentation: shapes, range, determinism, and the neutral setting."""

import pytest
import torch

from helpers.corpus import augment, colours


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("size", [32, 48, 128])
def test_shape_range_and_seed(batch, size):
    rgba = torch.randint(0, 256, (batch, 4, 64, 64), dtype=torch.uint8)
    views = [
        augment.random_views(rgba, size, torch.Generator().manual_seed(3))
        for _ in range(2)
    ]
    assert views[0].shape == (batch, 3, size, size)
    assert views[0].min() >= 0 and views[0].max() <= 1
    assert torch.equal(*views)
    other = augment.random_views(rgba, size, torch.Generator().manual_seed(4))
    assert not torch.equal(views[0], other)


def test_strength_zero_is_a_plain_white_background():
    rgba = torch.zeros(1, 4, 32, 32, dtype=torch.uint8)
    rgba[:, 0, :, :16], rgba[:, 3, :, :16] = 255, 255
    out = augment.random_views(rgba, 32, torch.Generator(), strength=0)
    assert (
        out[0, :, 5, 3].tolist() == [1, 0, 0] and out[0, :, 5, 30].tolist() == [1] * 3
    )


def test_without_change_of_hue_red_stays_red():
    rgba = torch.zeros(20, 4, 32, 32, dtype=torch.uint8)
    rgba[:, 0], rgba[:, 3] = 222, 255
    x = augment.random_views(
        rgba, 32, torch.Generator().manual_seed(0), keep_colours=True
    )
    named = colours.name_pixels(x)[:, 12:20, 12:20]
    assert (named == colours.NAMES.index("red")).float().mean() > 0.95


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_frame_leaves_the_others_as_they_are(share):
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    out = augment.framed(x, torch.Generator().manual_seed(0), share)
    assert out.shape == x.shape and out.min() >= 0 and out.max() <= 1
    changed = (out - x).abs().flatten(1).amax(1) > 1e-3
    assert changed.all() if share else not changed.any()
