"""One preparation: a picture gives the same vector however it comes."""

import io
import os
import struct
import warnings
import zlib
from pathlib import PurePath

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import clip, paths, pictures
from helpers.pictures import one_or_many, read_picture, to_tensor

CAT = paths.PHOTOS / "cat.jpg"


@pytest.fixture(scope="module")
def model():
    return clip.load("scratch", "cpu")


def as_bytes(image, kind="PNG", **more):
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def wide(shape=(40, 160)):
    """A 4 : 1 picture."""
    g = torch.Generator().manual_seed(0)
    return torch.randint(256, (*shape, 3), generator=g, dtype=torch.uint8).numpy()


def test_one_picture_one_preparation(model):
    # transformers#11992, CLIP#215: squashed as a tensor, cropped as PIL (cosine 0.81);
    # CLIP#418: arrays were refused
    x = wide()
    t = torch.from_numpy(x).permute(2, 0, 1)
    want = model.embed_images(Image.fromarray(x))
    raw = as_bytes(Image.fromarray(x))
    rgba = np.dstack([x, np.full(x.shape[:2], 255, np.uint8)])
    for same in (
        x, t, t[None], x[None], [x], (t,), raw, bytearray(raw), memoryview(raw),
        io.BytesIO(raw), x / 255, t / 255, (t / 255).double(), rgba, [Image.open(
            io.BytesIO(raw))], np.asfortranarray(x), iter([t]),
    ):  # fmt: skip
        assert torch.equal(model.embed_images(same), want), type(same)
    assert torch.equal(model.embed_images(x[..., ::-1], bgr=True), want)
    assert torch.equal(model.embed_images([rgba[..., [2, 1, 0, 3]]], bgr=True), want)
    grey = x[..., 0]
    want = model.embed_images(Image.fromarray(grey))
    for same in (grey, grey[..., None], torch.from_numpy(grey), t[:1]):
        assert torch.equal(model.embed_images(same), want)


def test_the_lessons_own_usage(model):
    # dalle-mini#69, openai/CLIP's README: preprocess(picture).unsqueeze(0)
    want = model.embed_images([CAT])
    assert torch.equal(model.embed_images(str(CAT)), want)
    assert torch.equal(model.embed_images(model.preprocess(CAT)[None]), want)
    same, preprocess = clip.load("scratch", "cpu")
    images = torch.stack([preprocess(Image.open(CAT)), preprocess(CAT)])
    texts = same.tokenize(["a cat", "a dog", "a horse"])
    each, other = same(images, texts)
    assert each.shape == (2, 3) and torch.equal(each.T, other)
    words = same.embed_texts(["a cat", "a dog", "a horse"])
    torch.testing.assert_close(each.softmax(1)[:1], same.probabilities(want, words))
    with torch.no_grad():
        torch.testing.assert_close(each, same.model(images, texts))
    for bad in (texts.float(), texts[0], texts + 10**6, torch.zeros(1, 999).long()):
        with pytest.raises(TypeError, match="tokenize"):
            same.embed_texts(bad)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (torch.rand(3, 9, 9) * 255, "divide by 255"),
        (torch.rand(3, 9, 9) * 2 - 1, "undo its normalisation"),
        (torch.full((3, 9, 9), float("nan")), "NaN"),
        (np.full((9, 9, 3), np.inf), "NaN or inf"),
        (torch.ones(3, 9, 9).long(), "not int64"),
        (np.ones((9, 9, 3), np.int32), "not int32"),
        (np.ones((9, 9, 3), complex), "not complex"),
        (np.zeros((3, 9, 9), np.uint8), r"\(H, W, 3\), not \(3, 9, 9\)"),
        (torch.zeros(9, 9, 3), r"\(3, H, W\), not \(9, 9, 3\)"),
        (torch.zeros(5), "shape"),
        (torch.zeros(3, 0, 4), "empty"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (torch.zeros(1, 1, 3, 9, 9), "shape"),
        (torch.zeros(3, 9, 9).to_sparse(), "no plain values"),
        (Image.new("RGB", (0, 3)), "empty"),
        (np.zeros((8000, 8000), np.uint8), "more than"),
        (paths.PHOTOS, "is a folder"),
        ("a\0b.png", "no picture at"),
        ("x" * 5000, "cannot be opened|no picture at"),
        (io.StringIO("text"), "mode 'rb'"),
        ({"a": 1}, "not dict"),
        (None, "not NoneType"),
        ("", "path of|path is empty"),
        ("https://a.org/cat.jpg", "is an address, not a file: download"),
        ("data:image/png;base64," + "iVBOR" * 999, "is a data URL"),
        ("file:///home/me/cat.jpg", "is an address, not a file: write its path"),
        (torch.full((3, 9, 9), 1.0002), "1.0002"),
        (np.array(3.0), "not float"),
        ([[CAT]], "not list"),
    ],
)
def test_what_is_no_picture_gets_one_sentence(model, bad, says):
    with pytest.raises(ValueError, match=says) as caught:
        model.embed_images(bad)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="goes with arrays"):
        read_picture(CAT, bgr=True)


@pytest.mark.parametrize("size", [0, -5, "64", 3.5, True, (64, 64), float("nan")])
def test_a_size_is_a_whole_number(size):
    # deforum#747: "scale must be > 0" out of Pillow, TypeErrors out of torchvision
    for read in (read_picture, pictures.to_tensor):
        with pytest.raises(ValueError, match="size must be a whole number"):
            read(CAT, size)


@pytest.mark.parametrize("dtype", [">u2", "<u2"])
@pytest.mark.parametrize(("top", "depth"), [(65535, 16), (4095, 12), (1023, 10)])
def test_deep_grey_by_the_range_it_shows(dtype, top, depth):
    # Pillow#5991, #3011: a big-endian TIFF was called damaged, 12 bits came out black
    values = np.linspace(0, top, 256).reshape(16, 16).astype(dtype)
    want = values.astype(float) * 255 / (2**depth - 1)
    mode = "I;16B" if dtype == ">u2" else "I;16"
    image = Image.frombytes(mode, (16, 16), values.tobytes())
    kinds = [image, values, as_bytes(image, "TIFF")]
    kinds += [as_bytes(image, "PNG")] if mode == "I;16" else []
    for kind in kinds:
        assert abs(np.asarray(read_picture(kind))[..., 0] - want).max() <= 0.51


def test_float_files():
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for values in (ramp, ramp * 255, ramp * 3000 - 100):
        out = np.asarray(read_picture(as_bytes(Image.fromarray(values), "TIFF")))
        assert abs(out[..., 0] - ramp * 255).max() <= 1
    ramp[0, 0] = float("nan")
    with pytest.raises(ValueError, match="no numbers"):
        read_picture(as_bytes(Image.fromarray(ramp), "TIFF"))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV",
             "LAB", "I", "F", "RGBX"],
)  # fmt: skip
def test_every_mode_of_pillow(mode):
    red = Image.new("RGB", (8, 8), (250, 10, 10))
    if mode == "LAB":
        image = Image.new("LAB", (8, 8), (54, 208, 195))
    elif mode in ("LA", "La", "PA"):
        image = red.convert("L").convert("LA")
        image = image.convert(mode) if mode != "PA" else red.convert("P").convert("PA")
    elif mode == "RGBa":
        image = red.convert("RGBA").convert("RGBa")
    else:
        image = red.convert(mode)
    out = read_picture(image)
    assert out.mode == "RGB" and out.size == (8, 8)
    if mode in ("P", "PA", "RGBA", "RGBa", "YCbCr", "HSV", "RGBX"):
        assert abs(np.asarray(out)[4, 4].astype(int) - (250, 10, 10)).max() < 12


def test_broken_exif_turns_nothing_and_loses_nothing():
    image = Image.new("RGB", (30, 10), "red")
    raw = as_bytes(image, "JPEG", exif=b"Exif\0\0" + b"no notes at all")
    assert read_picture(raw).size == (30, 10)


def test_nothing_runs_postscript(tmp_path):
    raw = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    (tmp_path / "x.eps").write_bytes(raw)
    for source in (raw, tmp_path / "x.eps"):
        with pytest.raises(ValueError, match="PostScript"):
            read_picture(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="PostScript"):
            read_picture(Image.open(io.BytesIO(raw)))


def test_heic_where_it_can_be_read():
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red")).save(out)
    assert read_picture(out.getvalue()).size == (64, 48)


def test_names_in_sentences_can_be_printed():
    for name in ("a\udcff.png", "a\nb.png", "\u202egnp.x"):
        with pytest.raises(ValueError) as caught:
            to_tensor(name)
        assert str(caught.value).isprintable()
        assert pictures.plain(name) in str(caught.value)


def test_a_path_of_any_kind_is_one_picture(tmp_path, monkeypatch):
    # kind 9 (openai/CLIP's usage; rclip's folders): what os.scandir and numpy give
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Image.new("RGB", (8, 6), "red").save(tmp_path / "a.png")
    entry = next(os.scandir(tmp_path))
    for path in (entry, PurePath(tmp_path, "a.png"), np.array(entry.path), "~/a.png"):
        (row,) = one_or_many(path)
        assert read_picture(row).size == (8, 6)
    with pytest.raises(ValueError, match="no picture at") as caught:
        read_picture("y" * 150 + "/" + "x" * 150 + ".png")
    assert len(str(caught.value)) < 260


def test_a_batch_is_a_whole_number(model):
    # kind 5, arguments misread: -1 embedded nothing, without a word
    for batch in (0, -1, 2.5, "8", True):
        with pytest.raises(ValueError, match="batch must be a whole number"):
            model.embed_images([CAT], batch=batch)
        with pytest.raises(ValueError, match="batch must be a whole number"):
            model.embed_texts(["a cat"], batch=batch)


def png16(x, *chunks) -> bytes:
    """A PNG of 16 bit a colour, (H, W, 2 to 4), as no Pillow writes it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + sum_

    h, w, colours = x.shape
    about = struct.pack(">IIBBBBB", w, h, 16, {2: 4, 3: 2, 4: 6}[colours], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in x)
    parts = [chunk(b"IHDR", about), *(chunk(*c) for c in chunks)]
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff16(x, order: str) -> bytes:
    """The same as a TIFF, "<" or ">"."""
    h, w, colours = x.shape
    raw = x.astype(order + "u2").tobytes()
    bits = struct.pack(f"{order}{colours}H", *[16] * colours)
    tags = [(256, w), (257, h), (258, 8 + len(raw)), (259, 1), (262, 2), (273, 8)]
    tags += [(277, colours), (278, h), (279, len(raw))]
    tags += [(338, 2)] if colours == 4 else []
    out = b"II*\0" if order == "<" else b"MM\0*"
    out += struct.pack(order + "I", 8 + len(raw) + len(bits)) + raw + bits
    out += struct.pack(order + "H", len(tags))
    for tag, value in tags:
        many = colours if tag == 258 else 1
        if tag in (259, 262, 277, 338):
            out += struct.pack(order + "HHIHH", tag, 3, many, value, 0)
        else:
            kind = 3 if tag == 258 else 4
            out += struct.pack(order + "HHII", tag, kind, many, value)
    return out + struct.pack(order + "I", 0)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("colours", [2, 3, 4])
def test_deep_colours_show_their_whole_range(bits, colours):
    # Pillow#3011 in colour: Pillow keeps the upper byte, and 12 bits come out black
    g = np.random.default_rng(0)
    x = g.integers(0, 2**bits, (9, 7, colours))
    if colours != 3:
        x[..., -1] = 65535  # opaque
    want = np.round(x[..., : 1 if colours == 2 else 3] * (255 / (2**bits - 1)))
    raws = [png16(x), x.astype(np.uint16)]
    if colours > 2:  # Pillow reads no TIFF of deep grey with alpha
        raws += [tiff16(x, "<"), tiff16(x, ">")]
    for raw in raws:
        have = np.asarray(read_picture(raw)).astype(int)
        assert abs(have - want).max() <= (bits == 16)
    turned = Image.Exif()
    turned[0x112] = 6
    body = turned.tobytes().removeprefix(b"Exif\0\0")
    picture = read_picture(png16(x, (b"eXIf", body)))
    assert abs(np.asarray(picture).astype(int) - np.rot90(want, -1)).max() <= 1
    image = Image.open(io.BytesIO(png16(x)))  # opened by the reader, not yet decoded
    assert abs(np.asarray(read_picture(image)).astype(int) - want).max() <= 1
    if colours != 3:
        x[..., -1] = 0  # transparent
        assert (np.asarray(read_picture(png16(x))) == 255).all()


def test_a_deep_colour_that_stands_for_transparent_becomes_white():
    x = np.zeros((2, 2, 3), int)
    x[0] = 40000
    clear = (b"tRNS", struct.pack(">HHH", 40000, 40000, 40000))
    have = np.asarray(read_picture(png16(x, clear)))[..., 0]
    assert have.tolist() == [[255, 255], [0, 0]]


def test_floats_a_filter_carried_beyond_one_stay_bright():
    x = np.linspace(0, 1.05, 64, dtype=np.float32).reshape(8, 8)
    have = np.asarray(read_picture(Image.fromarray(x)))[..., 0]
    assert (have == (x.clip(0, 1) * 255).round()).all()


def test_bytes_with_gaps_are_bytes():
    raw = as_bytes(Image.new("RGB", (5, 3), "red"))
    gaps = bytes(b for byte in raw for b in (byte, 0))
    assert read_picture(memoryview(gaps)[::2]).size == (5, 3)
