"""Settings, prompts and PNGs that nobody thought of: a result, or one sentence.

Public case: of 918 random settings some 30 kinds ended in raw errors (deforum#747).
"""

import json
import math
import os
import warnings
from dataclasses import asdict, fields

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from helpers.dream import Dream, Settings, files
from helpers.dream.prompts import parse
from helpers.dream.settings import STARTS
from helpers.tests.dream.tiny import OPTIONS, codes, dream, guide
from helpers.values import frozen

MANY = int(os.environ.get("FUZZ", 1))  # FUZZ=20 looks longer
EYE, PAINT = guide(), codes()


def some(count: int):
    """So many examples, the same each time unless FUZZ asks for more."""
    calm = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return budget(
        max_examples=count * MANY,
        deadline=None,
        derandomize=MANY == 1,
        suppress_health_check=calm,
        database=None,
    )


def one_sentence(error: Exception) -> None:
    said = str(error)
    assert said and "\n" not in said and said.endswith(".") and len(said) < 500, said


PIECES = (
    "a fox|روباه|snow 95|12:30|http://a.b|:|::|2|-0.5|:2|: 2|:-1:-0.5|1e9|nan|,|٫|/|%|"
    "\u200f|\u200c|：|\n|\\|^|❄|(|)|!|∶|“|”|„|«|»|--no| in snow|:2 |:1.3)|\u200b"
).split("|") + ["|", '"', " ", "\\|", '"x ^ y"']
LINES = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text(max_size=30)
)


@some(400)
@given(LINES)
def test_a_prompt_is_read_or_refused(line):
    try:
        found = parse(line)
    except ValueError as error:
        return one_sentence(error)
    assert found and all(p.text and math.isfinite(p.weight) for p in found)
    chapters = sorted({p.begin for p in found})
    spelt = [" | ".join(str(p) for p in found if p.begin == b) for b in chapters]
    again = parse(" ^ ".join(spelt))
    key = [(p.text, p.weight, p.stop, p.begin, p.end) for p in found]
    assert key == [(p.text, p.weight, p.stop, p.begin, p.end) for p in again]


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**20, 10**400, -(10**9), b"x", "", "x", "\x00", "a\nb", ()]),
    st.floats(),
    st.lists(
        st.one_of(st.integers(-1, 9), st.floats(), st.text(max_size=2)), max_size=3
    ),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.builds(object),
)
NUMBERS = st.one_of(st.integers(-2, 40), st.floats(-1, 2))
GOOD = {  # what might be right, or right but for one part
    "prompt": LINES,
    "seed": st.integers(-1, 2**64),
    "steps": st.integers(0, 4),
    "width": st.integers(0, 40),
    "height": st.integers(0, 40),
    "drawer": st.sampled_from([*OPTIONS, "crayon"]),
    "options": st.dictionaries(
        st.sampled_from(["lr", "block", "strokes", "decay"]), NUMBERS, max_size=1
    ),
    "guides": st.sampled_from([("pocket",), ["scratch"], "pocket", (), ("judge",)]),
    "vqgan": st.sampled_from(["pocket", "dalle", "x"]),
    "cuts": st.integers(0, 2),
    "recipe": st.sampled_from(["pixray", "crops", "wide", "none", "soup"]),
    "optimiser": st.sampled_from(["adam", "adamw", "adagrad", "rmsprop", "radam"]),
    "rate": st.floats(-1, 2000),
    "drops": st.lists(st.floats(-0.2, 1.2), max_size=2),
    "canvases": st.one_of(
        st.sampled_from(["coarse", (), ((16, 0.5, 1), (32, 0.5, 1))]),
        st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=2),
    ),
    "start": st.one_of(
        st.sampled_from([*STARTS, "PICTURE", "nowhere.png"]),
        st.lists(st.lists(st.integers(-1, 21), max_size=9), max_size=7),
    ),
    "losses": st.dictionaries(
        st.sampled_from(["edges", "symmetry", "saturation", "stay", "palette", "x"]),
        st.one_of(NUMBERS, st.tuples(NUMBERS, st.sampled_from(["red, navy", "red"]))),
        max_size=2,
    ),
    "distil": st.one_of(st.sampled_from(["usual", "x"]), NUMBERS),
    "told": st.sampled_from([(), ("a fox", "emoji of a cat"), ["a", "b"], "x", ("a",)]),
    "pictures": st.lists(st.tuples(st.just("PICTURE"), NUMBERS), max_size=1),
    "noises": st.lists(st.tuples(st.integers(-1, 9), NUMBERS), max_size=1),
    "spots": st.lists(st.tuples(LINES, st.just("PICTURE")), max_size=1),
    "overlay": st.one_of(
        st.just(()), st.tuples(st.just("PICTURE"), st.floats(-1, 2), st.integers(-1, 3))
    ),
    "tile": st.booleans(),
    "every": st.integers(0, 3),
    "bf16": st.just(False),
}
SMALL = {"prompt": "a fox", "steps": 2, "cuts": 1, "width": 16, "height": 16}
SMALL |= {"drawer": "pixel", "guides": ("scratch",)}


@st.composite
def choices(draw):
    """Settings of which one to four fields were changed, now and then to junk."""
    names = draw(st.lists(st.sampled_from(sorted(GOOD)), min_size=1, max_size=4))
    junk = draw(st.sampled_from([False, False, False, True]))
    return SMALL | {n: draw(JUNK if junk else GOOD[n]) for n in dict.fromkeys(names)}


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "photo.png"
    Image.linear_gradient("L").resize((20, 12)).save(path)
    return str(path)


def filled(value, photo):
    """Put the path of a real picture where the choices say PICTURE."""
    if isinstance(value, (list, tuple)):
        return type(value)(filled(v, photo) for v in value)
    return photo if isinstance(value, str) and value == "PICTURE" else value


def test_every_field_is_tried():
    assert set(GOOD) == {f.name for f in fields(Settings)}


@some(180)
@given(chosen=choices())
def test_settings_give_a_picture_or_a_sentence(photo, chosen):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            s = Settings(**{k: filled(v, photo) for k, v in chosen.items()})
            copy = json.loads(json.dumps(asdict(s)))
            assert Settings(**{k: frozen(v) for k, v in copy.items()}) == s
            if s.steps > 4 or s.width * s.height > 1600 or s.cuts > 2:
                return  # right, but too long for a test
            run = Dream(s, [EYE], PAINT)
            frame = run.run(progress=False)
    except ValueError as error:
        return one_sentence(error)
    assert frame.picture.shape == (3, *run.size) and frame.picture.isfinite().all()
    assert 0 <= frame.picture.min() and frame.picture.max() <= 1


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "a.png"
    return files.save(path, dream(noises=((3, 0.5),)).run(progress=False))


@some(120)
@given(st.integers(0, 10**6), st.binary(min_size=0, max_size=9), st.booleans())
def test_a_damaged_png_is_read_or_refused(png, at, harm, cut):
    raw = png.read_bytes()
    at %= len(raw)
    raw = raw[:at] + harm + (b"" if cut else raw[at + len(harm) :])
    path = png.with_name("b.png")
    path.write_bytes(raw)
    for act in (files.settings_of, lambda p: files.again(p, [EYE])):
        try:
            act(path)
        except ValueError as error:
            one_sentence(error)


PLAIN = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    max_leaves=4,
)


@some(150)
@given(st.data())
def test_a_foreign_record_is_read_or_refused(png, data):
    with Image.open(png) as image:
        table = json.loads(image.info[files.KEY])
        inside = data.draw(
            st.sampled_from([table, table["settings"], table["guides"][0]])
        )
        key = data.draw(st.sampled_from([*inside, "new"]))
        if data.draw(st.booleans()):
            inside.pop(key, None)
        else:
            inside[key] = data.draw(PLAIN)
        text = PngImagePlugin.PngInfo()
        text.add_itxt(files.KEY, json.dumps(table))
        image.save(png.with_name("c.png"), pnginfo=text)
    for act in (files.settings_of, files.again, files.go_on):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                act(png.with_name("c.png"), *([[EYE]] if act is files.again else []))
        except ValueError as error:
            one_sentence(error)
