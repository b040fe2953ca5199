"""One folding: what looks the same is the same text, and no caption changes."""

import re
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import clip, words
from helpers.clip import official, zeroshot
from helpers.words import fold

SAME = [  # (typed, clean); nltk#2448 and its kind
    ("\u200fگربه", "گربه"),
    ("گربه\u200e", "گربه"),
    ("\u2067گربه\u2069", "گربه"),
    ("\ufeffcat", "cat"),
    ("umb\u200brella", "umbrella"),
    ("umb\u200crella", "umbrella"),
    ("umb\u2060rella", "umbrella"),
    ("um\u00adbrel\u00adla", "umbrella"),
    ("cafe\u0301", "café"),
    ("ﮔﺮﺑﻪ", "گربه"),
    ("گـــربه", "گربه"),
    ("كيك", "کیک"),
    ("گربه\u200d", "گربه"),
    ("٣ گربه", "۳ گربه"),
    ("مدرسة", "مدرسه"),
    ("  a\u00a0red\u2003\n apple\t", "a red apple"),
    ("葛\U000e0100", "葛"),
    ("a\x00b", "ab"),
    ("cat\udc80", "cat"),
    ("cat\ufffc", "cat"),  # dictation leaves it
    ("cat\u2800", "cat"),
    ("Ａ\u3000ｃａｔ（１）", "A cat(1)"),  # typed on a Chinese or Japanese keyboard
    ("a ﬁreﬂy, oﬃce", "a firefly, office"),  # copied out of a PDF
    ("cat\u3164\u034f", "cat"),
]


@pytest.mark.parametrize(("typed", "clean"), SAME)
def test_what_looks_the_same_is_the_same(typed, clean):
    assert fold(typed) == fold(clean) == clean


@pytest.mark.parametrize(
    "text",
    ["Cat", "👩\u200d🚀", "❤\ufe0f", "1\ufe0f\u20e3", "क\u094d\u200dष", "گربهٔ", "آب",
     "🏴\U000e0067\U000e0062\U000e007f", "don't", "a-b", "\u0601۳"],
)  # fmt: skip
def test_what_carries_meaning_stays(text):
    assert fold(text) == unicodedata.normalize("NFC", text)


def test_the_half_space_parts_persian_words():
    assert fold("نیم\u200cسوز") == "نیم سوز"
    assert fold("نیم\u200cسوز", persian=False) == "نیم\u200cسوز"
    assert fold("كيك", persian=False) == "كيك"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=30), st.booleans())
def test_folding_twice_changes_nothing(text, persian):
    once = fold(text, persian)
    assert fold(once, persian) == once
    assert fold("\u200f" + text + " \ufeff", persian) == once or "\u200d" in text
    assert not re.search(r"[\u200b\u200e\u200f\u2066-\u2069]", once)


@pytest.fixture(scope="module")
def model():
    return clip.load("scratch", "cpu")


def test_queries_and_classes_pass_through_it(model):
    typed, clean = zip(*SAME[:8], strict=True)
    a, b = model.embed_texts(list(typed)), model.embed_texts(list(clean))
    torch.testing.assert_close(a, b)
    # CLIP#235, open_clip#917: these shared the answer, half and half
    for twins in (["cat", "Cat", "dog"], ["café", "cafe\u0301"], ["گربه", "ﮔﺮﺑﻪ"]):
        with pytest.raises(ValueError, match="is there twice"):
            zeroshot.classifier(model, twins)


def test_official_weights_fold_too():
    tokenizer = official.tokenizer()
    ready = clip.Embedder("x", torch.nn.Identity(), tokenizer, {}, torch.device("cpu"))
    assert torch.equal(ready.tokenize("umb\u200brella"), tokenizer("umbrella"))
    assert not torch.equal(tokenizer("umb\u200brella"), tokenizer("umbrella"))
    assert words.fold("Cat", False) == "Cat"
