"""Settings are checked whole when they are made: each fault is one sentence."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.dream import Settings
from helpers.dream.settings import plan

NAN, HUGE = float("nan"), 10**400
FAULTS = [  # public: deforum#747, deep-daze#9 (settings that fail late, in the depths)
    ({"prompt": None}, "must be text"),
    ({"prompt": "a ^ b ^ c", "steps": 2}, "3 chapters need"),
    ({"seed": -1}, "seed"),
    ({"seed": 10**20}, "seed"),
    ({"seed": 0.5}, "seed"),
    ({"seed": True}, "seed"),
    ({"steps": 0}, "At least one step"),
    ({"steps": 4.0}, "steps must be a whole number"),
    ({"steps": "9"}, "steps must be a whole number"),
    ({"steps": True}, "steps must be a whole number"),
    ({"steps": HUGE}, "steps must be a whole number"),
    ({"cuts": -3}, "At least one cut"),
    ({"every": 0}, "every"),
    ({"width": 0}, "nothing to draw"),
    ({"width": 9999, "height": 9999}, "16 million"),
    ({"width": NAN}, "width must be"),
    ({"width": 4, "height": 4}, "smaller than one code"),
    ({"drawer": "crayon"}, "no drawer"),
    ({"drawer": ["pixel"]}, "no drawer"),
    ({"options": {"block": 2}}, "no option"),
    ({"options": [("lr", 1)]}, "options is a dict"),
    ({"options": {"lr": NAN}}, "option lr"),
    ({"drawer": "pixel", "options": {"block": 0}}, "at least one pixel"),
    ({"drawer": "pixel", "options": {"block": True}}, "option block"),
    ({"drawer": "lines", "width": 1024, "height": 1024}, "too much memory"),
    ({"guides": ()}, "No guide"),
    ({"guides": ("nobody",)}, "no CLIP called"),
    ({"guides": ("judge",)}, "judge never guides"),
    ({"guides": 7}, "guides is written"),
    ({"guides": (None,)}, "name of a CLIP"),
    ({"vqgan": "nothing"}, "no VQGAN called"),
    ({"vqgan": "/x/y.safetensors"}, "no weights file"),
    ({"vqgan": None}, "name of a VQGAN"),
    ({"recipe": None}, "no cutout recipe"),
    ({"optimiser": {}}, "no optimiser"),
    ({"rate": NAN}, "rate must be a number"),
    ({"rate": "1"}, "rate must be a number"),
    ({"rate": 0}, "rate must be a number"),
    ({"drops": 0.75}, "drops is written"),
    ({"drops": (1.5,)}, "share in drops"),
    ({"drops": (0.5,) * 99}, "at most 16 shares"),
    ({"canvases": {"side": 1}}, "canvases are"),
    ({"canvases": ((HUGE, 1, 1),)}, "three numbers"),
    ({"canvases": ((4, 0.5, 1), (128, 0.5, 1))}, "smaller than one code"),
    ({"start": "/nowhere.png"}, "no picture at"),
    ({"start": Path("/")}, "is a folder"),
    ({"start": 5}, "path of a picture"),
    ({"start": ()}, "rows of whole numbers"),
    ({"start": ((1, 2.5),)}, "code of the start"),
    ({"start": ((1, True),)}, "code of the start"),
    ({"start": "data:image/png;base64,?"}, "damaged"),
    ({"start": ((1, 2),), "drawer": "pixel"}, "A code grid starts"),
    ({"losses": [1]}, "losses is a dict"),
    ({"losses": {"shine": 1}}, "no loss"),
    ({"losses": {"symmetry": True}}, "weight of"),
    ({"losses": {"symmetry": float("inf")}}, "weight of"),
    ({"losses": {"palette": 1}}, "is given as"),
    ({"losses": {"palette": (1, "navy, navy")}}, "at least two colours"),
    ({"losses": {"palette": (1, 7)}}, "names of colours"),
    ({"losses": {"palette": (1, ["navy", 3])}}, "names of colours"),
    ({"losses": {"stay": 1}}, "needs a picture"),
    ({"pictures": "cat.jpg"}, "pictures is written"),
    ({"pictures": (("/nowhere.jpg", 1),)}, "no picture at"),
    ({"noises": ((1, 0),)}, "would do nothing"),
    ({"noises": ((1,),)}, "row of noises"),
    ({"spots": (("a", "/nowhere.png"),)}, "no picture at"),
    ({"overlay": ("/nowhere.png", 1, 2)}, "no picture at"),
    ({"overlay": (1, 2)}, "overlay is"),
    ({"tile": 1}, "tile is True or False"),
    ({"bf16": "no"}, "bf16 is True or False"),
]


@pytest.mark.parametrize(("more", "reason"), FAULTS)
def test_a_fault_is_one_sentence_at_once(more, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        Settings(**more)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".") and len(said) < 400


@pytest.mark.parametrize("at", [{"opacity": 2}, {"every": 0}, {"opacity": NAN}])
def test_an_overlay_that_makes_no_sense(at, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    row = {"path": path, "opacity": 0.5, "every": 3} | at
    with pytest.raises(ValueError, match="overlay"):
        Settings(overlay=tuple(row.values()))


def test_a_start_that_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ValueError, match="not a picture"):
        Settings(start=tmp_path / "a.png")


def test_other_spellings_become_plain_data(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    s = Settings(
        steps=np.int64(6), rate=np.float32(0.5), drops=[0.5], guides="pocket",
        canvases=[[64, 0.5, 1], [128, np.float64(0.5), 0.5]], start=path,
        losses={"palette": [1, ["red", "navy"]]}, seed=np.uint8(3),
    )  # fmt: skip
    assert type(s.steps) is int and type(s.seed) is int and s.rate == 0.5
    assert s.drops == (0.5,) and s.guides == ("pocket",) and s.start == str(path)
    assert s.canvases == ((64, 0.5, 1), (128, 0.5, 0.5))
    assert s.losses == {"palette": (1, ("red", "navy"))}
    assert Settings(**asdict(s)) == s


def test_a_dict_that_changes_later_changes_nothing():
    options = {"block": 8}
    s = Settings(drawer="pixel", options=options)
    options["block"] = 0
    assert s.options == {"block": 8}


def test_no_seed_draws_one_and_says_it(capsys):
    a, b = Settings(seed=None), Settings(seed=None)
    said = capsys.readouterr().out
    assert f"seed={a.seed} " in said and f"seed={b.seed} " in said
    assert a.seed != b.seed and replace(a, steps=9).seed == a.seed


def test_what_is_shown_is_what_is_not_usual():
    assert repr(Settings()) == "Settings()"
    assert repr(Settings(steps=9)) == "Settings(steps=9)"
    assert len(repr(Settings(prompt="fox " * 900))) < 200


def test_the_default_is_sixty_steps_and_all_are_shared_out():
    found = plan(Settings())
    assert [(c.width, c.steps, c.rate) for c in found] == [
        (64, 30, 1.0),
        (128, 30, 0.5),
    ]
    large = plan(Settings(width=256, height=256))
    assert [c.steps for c in large] == [24, 18, 18]


def test_a_coarse_canvas_without_room_for_a_code_is_left_out():
    assert [c.width for c in plan(Settings(width=128, height=12))] == [128]
    assert [c.width for c in plan(Settings(width=256, height=16))] == [128, 256]
    more = {"options": {"block": 16}, "start": "white"}
    small = Settings(drawer="pixel", width=32, height=24, **more)
    assert [c.width for c in plan(small)] == [32]


def test_a_start_is_opened_as_all_pictures_are(tmp_path, monkeypatch):
    # one preparation (transformers#11992): settings had an opener of their own, which
    # knew no "~", and no HEIC where it is installed; PostScript got through
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert Settings(start="~/a.png").start == str(tmp_path / "a.png")
    (tmp_path / "x.eps").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    )
    (tmp_path / "zero.png").touch()
    for name, says in (
        ("x.eps", "PostScript"),
        ("zero.png", "zero bytes"),
        ("https://a.org/b.png", "is an address"),
        ("", "path is empty"),
    ):
        path = tmp_path / name if name.endswith(("eps", "zero.png")) else name
        with pytest.raises(ValueError, match=says) as caught:
            Settings(pictures=((path, 1),))
        assert str(caught.value).startswith("A picture prompt: ")


def test_a_heic_start(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    out = tmp_path / "a.heic"
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red")).save(out)
    assert Settings(start=out).start == str(out)
