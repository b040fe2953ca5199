"""Measuring a VQGAN: the features of patches."""

import pytest
import torch

from helpers import clip
from helpers.workshop.evaluate.vqgan import STAGES, patches


@pytest.mark.parametrize("count", [1, 3])
def test_patches_are_what_an_early_stage_of_the_judge_gives(count):
    eyes = clip.load("judge", "cpu")
    size = eyes.model.config.image_size
    pictures = torch.rand(count, 3, size, size)
    seen = []
    stage = eyes.model.visual.conv1[STAGES - 1]
    hook = stage.register_forward_hook(lambda m, a, out: seen.append(out))
    with torch.no_grad():
        eyes.model.encode_image(pictures)
    hook.remove()
    rows = patches(eyes, pictures)
    want = seen[0].permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(rows, want, atol=1e-3, rtol=1e-3)
    assert len(rows) == count * (size // 4) ** 2
