"""Heat maps by covering: the map points at the half that holds the thing."""

import pytest
import torch
from PIL import Image

from helpers import clip, paths
from helpers.clip.where import covers
from helpers.pictures import to_tensor


class Reddish:
    """A model whose picture vector is (red share, the rest): easy to foresee."""

    class model:
        class config:
            image_size = 60

    preprocess = staticmethod(lambda picture: to_tensor(picture, 60))

    @staticmethod
    def embed_images(x):
        red = (x[:, 0] > 200).float() * (x[:, 1] < 50).float()
        share = red.mean((1, 2))
        return torch.stack([share, 1 - share], 1)

    @staticmethod
    def embed_texts(texts):
        table = {"red": [1.0, 0.0], "rest": [0.0, 1.0]}
        return torch.tensor([table[t] for t in texts])


def red_corner() -> torch.Tensor:
    x = torch.ones(3, 60, 60)
    x[1:, :20, 40:] = 0
    return x


def test_covers_are_all_places():
    K = covers(4, 2)
    assert K.shape == (9, 4, 4) and bool((K.sum((1, 2)) == 4).all())
    assert K.sum(0)[0, 0] == 1 and K.sum(0)[1, 1] == 4
    assert len({tuple(k.flatten().tolist()) for k in K}) == 9


def test_by_hand_the_red_corner_is_found():
    red, rest = clip.where(Reddish, red_corner(), ["red", "rest"], cells=3, window=1)
    want = torch.zeros(3, 3)
    want[0, 2] = 1 / 9  # all the red there is
    torch.testing.assert_close(red, want)
    torch.testing.assert_close(rest, -want)
    bytes_too = clip.where(Reddish, (255 * red_corner()).byte(), "red", 3, 1)
    torch.testing.assert_close(bytes_too[0], want)


def test_any_size_and_kind_of_picture():
    wide = torch.ones(3, 60, 100)
    wide[1:, :20, 60:80] = 0  # in the upper right of the centre square
    image = Image.fromarray((255 * wide).byte().permute(1, 2, 0).numpy())
    for picture in (wide, image):
        found = clip.where(Reddish, picture, "red", 3, 1)
        assert found.shape == (1, 3, 3) and int(found[0].argmax()) == 2


@pytest.mark.parametrize("name", ["pocket", "scratch"])
def test_every_tower_points_at_the_cat(name):
    model = clip.load(name, "cpu")
    cat = to_tensor(paths.PHOTOS / "cat.jpg", 192)
    x = torch.full((3, 192, 192), 0.9)
    x[:, 48:144, 96:] = cat[:, ::2, ::2]
    found = clip.where(model, x, "a picture of a cat", cells=4)[0].clamp(min=0)
    assert found[:, 2:].sum() > found[:, :2].sum()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (dict(texts=[]), "no text"),
        (dict(cells=2, window=2), "does not fit"),
        (dict(cells=4, window=0), "does not fit"),
        (dict(picture=torch.ones(5, 60, 60)), r"\(3, H, W\)"),
        (dict(picture=b"nothing"), "not a picture"),
        (dict(picture="gone.png"), "no picture at"),
    ],
)
def test_bad_input(more, says):
    asked = {"picture": red_corner(), "texts": "red"} | more
    with pytest.raises(ValueError, match=says):
        clip.where(Reddish, **asked)


def test_one_preparation_and_no_guess_of_the_range():
    # dalle-mini#69, transformers#11992: a map had a way of its own into the model, so
    # 0..255 as floats was white, and True was nearly black
    x = red_corner()
    want = clip.where(Reddish, x, "red", 3, 1)
    for same in (x > 0.5, x.half(), x.permute(1, 2, 0).numpy()):
        torch.testing.assert_close(clip.where(Reddish, same, "red", 3, 1), want)
    for bad in (x * 255, x * 2 - 1, (x * 255).int(), x[None], x * float("nan")):
        with pytest.raises(ValueError, match="picture"):
            clip.where(Reddish, bad, "red", 3, 1)
    for grid in ({"cells": 6.0}, {"window": "2"}, {"cells": 10**6}):
        with pytest.raises(ValueError, match="must be a whole number"):
            clip.where(Reddish, x, "red", **grid)
