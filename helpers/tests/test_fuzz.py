"""Whatever comes in, a result comes out, or one sentence of a documented type.

Picture files cut and flipped, arrays of any shape and type, lists of classes, and long
histories of an index, as hypothesis thinks them up.
"""

import io
import os
import re
import warnings
from pathlib import PurePath

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from helpers import archive, pictures, weights
from helpers.clip import tune, zeroshot
from helpers.clip.tokenizer import Tokenizer
from helpers.dream import files as dream_files
from helpers.search import ImageIndex, storage

CALM = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


class Tiny:
    """A model that sees 6 x 6 pixels and reads bytes; as fast as a fuzz test needs."""

    name, fingerprint = "tiny", "tiny"

    class model:  # noqa: N801
        class config:  # noqa: N801
            embed = 108

    tokenizer = Tokenizer([], 24)
    tokenize = tokenizer.__call__

    def preprocess(self, picture):
        return pictures.to_tensor(picture, 6)

    def embed_images(self, images):
        rows = [self.preprocess(p) for p in pictures.one_or_many(images)]
        return F.normalize(torch.stack(rows).flatten(1) + 0.01, dim=1)

    def embed_texts(self, texts):
        rows = self.tokenizer(texts).float()
        return F.normalize(F.pad(rows, (0, 108 - rows.shape[1])), dim=1)


def one_sentence(error: Exception) -> None:
    text = str(error)
    assert text and "\n" not in text and len(text) < 400, text
    assert text.encode("utf-8")


def files() -> list[bytes]:
    """One small picture in every format that this Pillow writes."""
    Image.init()
    g = np.random.default_rng(0)
    noise = Image.fromarray(g.integers(0, 256, (12, 10, 3), dtype=np.uint8))
    out = []
    for kind in sorted(Image.SAVE.keys() - {"PDF", "EPS"}):
        for mode in ("RGB", "P", "LA", "1", "I;16", "CMYK"):
            body = io.BytesIO()
            try:
                picture = noise.convert("I").convert("I;16") if mode == "I;16" else None
                (picture or noise.convert(mode)).save(body, kind)
            except Exception:  # this format has no such mode
                continue
            out.append(body.getvalue())
    return out


FILES = files()


@settings(max_examples=400, **CALM)
@given(
    st.integers(0, len(FILES) - 1),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    st.one_of(st.none(), st.integers(0, 4000)),
)
def test_picture_files(which, flips, cut):
    raw = bytearray(FILES[which])
    for at, value in flips:
        raw[at % len(raw)] = value
    read(bytes(raw[:cut]))


@settings(max_examples=150, **CALM)
@given(st.binary(max_size=300))
def test_any_bytes(raw):
    read(raw)


def read(raw: bytes) -> None:
    try:
        out = pictures.read_picture(raw)
    except ValueError as error:
        one_sentence(error)
    else:
        assert out.mode == "RGB" and min(out.size) > 0


ANY_ARRAY = hnp.arrays(
    st.one_of(hnp.scalar_dtypes(), st.sampled_from([np.dtype("u1"), np.dtype("f4")])),
    hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5),
)


@settings(max_examples=300, **CALM)
@given(ANY_ARRAY, st.booleans(), st.booleans())
def test_arrays(x, as_tensor, bgr):
    if as_tensor:
        try:
            x = torch.from_numpy(x)
        except (TypeError, ValueError):  # torch has no such type
            return
    try:
        rows = pictures.one_or_many(x)
        out = [pictures.to_tensor(row, 4, bgr) for row in rows]
    except ValueError as error:
        one_sentence(error)
    else:
        for row in out:
            assert row.shape == (3, 4, 4) and 0 <= row.min() <= row.max() <= 1


NAMES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["cat", "Cat", "cafe\u0301", "café", "گربه", "\u200f", "{}", "a" * 99]
    ),
    st.none(),
    st.integers(),
)
LISTS = st.one_of(st.lists(NAMES, max_size=6), st.text(max_size=30), st.none())


@settings(max_examples=200, **CALM)
@given(LISTS, st.booleans(), st.sampled_from(["{}", "a {}.", "no place", "{} {}"]))
def test_classes(classes, doubles, template):
    model = Tiny()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            out = zeroshot.classifier(model, classes, template, doubles)
        except ValueError as error:
            one_sentence(error)
            return
    names = zeroshot.check_classes(classes, doubles)
    assert len(out) == len(names) >= 2 and all(names)
    if isinstance(classes, list):
        assert len(names) == len(classes)
    if not doubles:  # all are told apart
        assert len({tuple(row) for row in model.tokenize(names).tolist()}) >= 2


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["write", "spoil", "delete", "update", "add", "save", "load", "merge",
             "remove", "move", "search", "resume"]
        ),
        st.integers(0, 4),
    ),
    min_size=3,
    max_size=14,
)  # fmt: skip


@settings(max_examples=60, **CALM)
@given(STEPS)
def test_histories_of_an_index(tmp_path_factory, steps):
    root = tmp_path_factory.mktemp("h")
    folder = root / "p"
    folder.mkdir()
    model, index, clock = Tiny(), ImageIndex(Tiny()), 10**9

    def path(n):
        return folder / ["a.png", "b.jpg", "c", "é.webp", "sub d/e.gif"][n]

    for step, n in steps:
        clock += 10**9
        try:
            if step in ("write", "spoil"):
                path(n).parent.mkdir(exist_ok=True)
                kind = {".jpg": "JPEG", ".webp": "WEBP", ".gif": "GIF"}
                kind = kind.get(path(n).suffix, "PNG")
                Image.new("L", (8, 8), clock // 10**9 * 37 % 256).save(path(n), kind)
                if step == "spoil":
                    path(n).write_bytes(path(n).read_bytes()[: 7 * n])
                os.utime(path(n), ns=(clock, clock))
            elif step == "delete":
                path(n).unlink(missing_ok=True)
            elif step == "update":
                index.update(folder, progress=False)
                check(index, model, [path(i) for i in range(5)])
            elif step == "add":
                index.add([path(n)])
            elif step == "save":
                index.save(root / "i")
            elif step == "load":
                index = ImageIndex.load(root / "i", model)
            elif step == "merge":
                before = set(index.paths)
                index.merge(ImageIndex.load(root / "i", model))
                assert before <= set(index.paths)
            elif step == "remove":
                index.remove([str(path(n))])
            elif step == "move":
                moved = root / f"p{clock}"
                folder.rename(moved)
                folder = moved
                index = ImageIndex(model)
            elif step == "search":
                hits = index.search("a cat", k=n + 1, above=-1.0, distinct=n % 2 == 0)
                assert 0 < len(hits) <= n + 1
            else:
                ImageIndex.build(folder, model, progress=False, resume=root / "w")
        except (ValueError, FileNotFoundError, KeyError) as error:
            one_sentence(error)
        assert len(index.names) == len(index.vectors) == len(index.keys)


def check(index, model, all_paths) -> None:
    """After an update the index is what a new one would be."""
    readable = {}
    for path in all_paths:
        try:
            readable[str(path)] = model.embed_images([path])[0]
        except ValueError:
            pass
    here = {p: v for p, v in zip(index.paths, index.vectors, strict=True)}
    inside = {
        p: v for p, v in here.items() if p.startswith(str(all_paths[0].parent) + os.sep)
    }
    assert inside.keys() == readable.keys()
    for name, vector in readable.items():
        torch.testing.assert_close(inside[name], vector)


ODD = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.binary(max_size=4))
PLACES = st.one_of(
    ODD,
    st.text(max_size=12),
    st.text(max_size=12).map(PurePath),
    st.sampled_from(["~", "~nobody/x.pt", "a\0b", "x" * 300, "http://a.b/c.png", "."]),
    st.lists(st.text(max_size=3), min_size=1, max_size=2),
)
DOORS = (
    pictures.read_picture, archive.read, tune.read_pairs, dream_files.settings_of,
    lambda path: weights.read(path, "clip"),
    lambda path: weights.find("clip", path, ("ViT-B/32",)),
    lambda path: ImageIndex.load(path, Tiny()),
    lambda path: Tiny().embed_images(path),
)  # fmt: skip


@settings(max_examples=200, **CALM)
@given(PLACES, st.sampled_from(DOORS))
def test_a_path_that_is_none(place, door):
    try:
        door(place)
    except (ValueError, FileNotFoundError) as error:
        one_sentence(error)


ROWS = st.lists(
    st.one_of(
        st.sampled_from(["a.png", "b.png", ",", '"', " ", "a cat", "\r\n", "\n", ";"]),
        st.text(max_size=5),
    ),
    max_size=14,
).map("".join)


@settings(max_examples=200, **CALM)
@given(ROWS)
def test_tables_of_pairs(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("t")
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    (folder / tune.LIST).write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found, captions = tune.read_pairs(folder)
    except ValueError as error:
        return one_sentence(error)
    rows = [row for row in re.split("\r\n|\r|\n", text) if re.search(r'[^\s,"﻿]', row)]
    assert len(found) == len(captions) == len(rows) and all(captions)


CARD = st.recursive(
    st.one_of(ODD.filter(lambda v: not isinstance(v, bytes)), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100, **CALM)
@given(
    st.dictionaries(
        st.sampled_from(["names", "files", "keys", "base", "skipped", "model"]),
        CARD,
        max_size=3,
    )
)
def test_a_card_edited_by_hand(tmp_path_factory, changes):
    index = ImageIndex.build(Image.new("L", (9, 9)), Tiny(), progress=False)
    place = tmp_path_factory.mktemp("c") / "i"
    index.save(place)
    card, vectors = storage.read(place)
    storage.write(place, card | changes, vectors)
    try:
        index = ImageIndex.load(place, Tiny())
    except (ValueError, FileNotFoundError) as error:
        return one_sentence(error)
    assert len(index.search("a cat")) == len(index) == 1
    index.save(place)
