"""DALL-E 1: the stream, guidance, and what is refused. Small random networks."""

import pytest
import torch

from helpers import gpt, vqgan
from helpers.clip.tokenizer import Tokenizer, learn_merges
from helpers.dalle import dalle1, unclip
from helpers.dalle.dalle1 import Dalle1, stream_words
from helpers.vqgan import gan


@pytest.fixture(scope="module")
def dalle():
    torch.manual_seed(0)
    codes = vqgan.VQGAN(
        vqgan.Config(
            ch=8,
            ch_mult=(1, 2),
            num_res_blocks=1,
            resolution=8,
            fold=1,
            z_channels=8,
            embed_dim=4,
            n_embed=32,
        )  # fmt: skip
    ).eval()
    tokenizer = Tokenizer(learn_merges(["red apple", "a cat"] * 3, 6), 10)
    c = gpt.Config(codes=32, grid=4, conditions=10, values=len(tokenizer) + 10,
                           width=32, layers=2, heads=4, orders=2)  # fmt: skip
    return Dalle1(gpt.GPT(c).eval(), codes, tokenizer, {}, [])


def test_every_padding_has_its_own_token(dalle):
    c = dalle.model.config
    words = dalle.words(["a cat", ""])
    assert words.shape == (2, 10) and int(words.min()) >= c.codes
    pads = words[1][2:]
    assert len(set(pads.tolist())) == 8 and int(words.max()) < c.vocab
    tokens = dalle.tokenizer(["a cat"])
    same = stream_words(tokens, dalle.tokenizer, c)
    length = int((tokens[0] == dalle.tokenizer.end).nonzero()[0]) + 1
    assert (same[0, :length] - c.codes == tokens[0, :length]).all()


@pytest.mark.parametrize("count", [1, 3])
def test_guidance_one_is_the_caption_alone(dalle, count):
    texts = ["a cat"] * count
    got = dalle.draw_codes(texts, 3, guidance=1, temperature=1.0, top_p=1.0)
    c = dalle.model.config
    start = dalle.words(texts)
    g = torch.Generator().manual_seed(3)
    whole = gpt.sample(dalle.model, start, 16, g, limit=c.codes)
    assert (whole[:, 10:].view(count, 4, 4) == got).all()


def test_guidance_zero_ignores_the_caption(dalle):
    a = dalle.draw_codes(["a cat"], guidance=0)
    b = dalle.draw_codes(["red apple"], guidance=0)
    assert (a == b).all()


def test_the_first_codes_stay(dalle):
    begin = torch.arange(8).view(1, 8)
    codes = dalle.draw_codes(["a cat"], begin=begin)
    assert (codes.flatten(1)[:, :8] == begin).all()
    whole = torch.arange(16).view(1, 16)
    assert (dalle.draw_codes(["a cat"], begin=whole).flatten(1) == whole).all()


def test_losses_are_those_of_the_stream(dalle):
    codes = dalle.draw_codes(["a cat", "red apple"], seed=1)
    got = dalle.losses(["a cat", "red apple"], codes)
    assert got.shape == (2, 16)
    stream = torch.cat([dalle.words(["a cat", "red apple"]), codes.flatten(1)], 1)
    with torch.no_grad():
        logp = dalle.model(stream).log_softmax(-1)
    for row in range(2):
        terms = [-logp[row, 9 + n, stream[row, 10 + n]] for n in range(16)]
        torch.testing.assert_close(torch.stack(terms), got[row])


def test_words_from_codes(dalle):
    out = dalle.describe(dalle.draw_codes(["a cat", "red apple"]))
    assert len(out) == 2 and all(isinstance(t, str) for t in out)
    assert dalle.describe(torch.zeros(0, 4, 4, dtype=torch.long)) == []


def test_no_picture_of_none(dalle):
    assert dalle.draw([]).shape[0] == 0


@pytest.mark.parametrize(
    "knobs, said",
    [
        ({"guidance": -1}, "guidance"),
        ({"guidance": float("nan")}, "guidance"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"begin": torch.zeros(1, 17, dtype=torch.long)}, "first codes"),
        ({"begin": torch.zeros(2, 3, dtype=torch.long)}, "first codes"),
    ],
)
def test_bad_knobs_get_one_sentence(dalle, knobs, said):
    with pytest.raises(ValueError, match=said):
        dalle.draw_codes(["a cat"], **knobs)
    with pytest.raises(TypeError):
        dalle.draw_codes([3])


def test_the_shipped_files_draw():
    dalle = dalle1.load(device="cpu")
    assert dalle.card["vqgan"] == vqgan.load("dalle").card["mark"]
    out = dalle.draw(["a red apple", "گربه"], seed=1)
    assert len(out) == 2 and out.isfinite().all()
    assert out.std() > 0.02  # not one colour


BAD = [  # deforum#747 (settings that fail in the depths, or mean something else)
    ({"guidance": "5"}, "guidance must be"),
    ({"temperature": float("nan")}, "temperature must be"),
    ({"temperature": "hot"}, "temperature must be"),
    ({"top_k": -1}, "top_k must be"),
    ({"top_k": 2.5}, "top_k must be"),
    ({"top_p": "1"}, "top_p must be"),
    ({"top_p": float("nan")}, "top_p must be"),
    ({"seed": 10**20}, "seed must be"),  # "Overflow when unpacking", in two panels
    ({"seed": -1}, "seed must be"),
    ({"seed": None}, "seed must be"),
    ({"seed": 1.5}, "seed must be"),
    ({"begin": [[0.5]]}, "whole numbers"),
    ({"begin": "abc"}, "Codes are numbers"),
    ({"begin": [[1, 2], [3]]}, "Codes are numbers"),
    ({"begin": [[32]]}, "between 0 and 31"),  # a caption's token, no code
    ({"begin": [[-1]]}, "between 0 and 31"),
]


@pytest.mark.parametrize(("knobs", "says"), BAD)
def test_odd_knobs_are_one_sentence(dalle, knobs, says):
    with pytest.raises(ValueError, match=says) as caught:
        dalle.draw("a cat", **knobs)
    assert "\n" not in str(caught.value)


def test_one_caption_or_many_and_nothing_else(dalle):
    one = dalle.draw_codes("a cat", seed=1)
    assert torch.equal(one, dalle.draw_codes(iter(["a cat"]), seed=1))
    assert len(one) == 1
    for bad in (None, 3, b"a cat", ["a cat", None]):
        with pytest.raises(TypeError):
            dalle.draw(bad)


def test_codes_of_other_kinds_are_refused(dalle):
    codes = dalle.draw_codes(["a cat"])
    for bad, says in (
        (codes.float(), "whole numbers"),
        (codes[0], r"\(B, 4, 4\)"),
        (codes[:, :2], r"\(B, 4, 4\)"),
        (codes + 32, "between 0 and 31"),
    ):
        for act in (dalle.describe, lambda c: dalle.losses(["a cat"], c)):
            with pytest.raises(ValueError, match=says):
                act(bad)
    with pytest.raises(ValueError, match="2 captions came with 1"):
        dalle.losses(["a cat", "red apple"], codes)
    for count in (0, 2.5, "3", None):
        with pytest.raises(ValueError, match="number of pictures must be"):
            dalle.best_of("a cat", count, None)


@pytest.mark.parametrize("load", [dalle1.load, unclip.load, gan.load])
def test_a_device_that_is_not_there(load):
    # CLIP's reports of "cuda" without a card: these rooms had their own way to a device
    for device in ("gpu", "CUDA", ""):
        with pytest.raises(RuntimeError, match="is no device") as caught:
            load(device=device)
        assert "\n" not in str(caught.value)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match='no "cuda:0" device'):
            load(device="cuda:0")


def test_other_eyes_colder_than_cold_and_codes_of_other_kinds(dalle):
    # the kind of deforum#747: a name for a model, softmax of inf, codes from numpy
    for eyes in (None, "pocket", [], [None]):
        with pytest.raises(ValueError, match="ready CLIP"):
            dalle.best_of("a cat", 2, eyes)
    codes = dalle.draw_codes("a cat", temperature=0)
    assert torch.equal(dalle.draw_codes("a cat", temperature=1e-45), codes)
    assert dalle.describe(codes, temperature=1e-45) == dalle.describe(codes)
    want = dalle.pictures(codes)
    for same in (codes.numpy(), codes.tolist(), codes.numpy().astype("int32")):
        assert torch.equal(dalle.pictures(same), want)
    for bad in ("a", codes.float(), codes.bool(), codes[0], codes[:, :0]):
        with pytest.raises(ValueError, match="Codes") as caught:
            dalle.pictures(bad)
        assert "\n" not in str(caught.value)
    for bad in ("a.png", torch.zeros(1, 3, 0, 8), None):
        with pytest.raises(ValueError, match="Pictures") as caught:
            dalle.vqgan.to_codes(bad)
        assert "\n" not in str(caught.value)
