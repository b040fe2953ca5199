"""Tokenizer: round trips, merges against a brute-force learner, bad input."""

import time
import warnings

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.clip import tokenizer as tk

TEXTS = ["a red apple", "red apples", "the apple tree", "سیب سرخ", "🍎 apple"] * 3
TOKENIZER = tk.Tokenizer(tk.learn_merges(TEXTS, 60), context=16)


def brute_merges(texts, count):
    spelt = [list(tk.spell(w)) for t in texts for w in tk.WORD.findall(tk.clean(t))]
    out = []
    for _ in range(count):
        pairs = {}
        for word in spelt:
            for i in range(len(word) - 1):
                pair = (word[i], word[i + 1])
                pairs[pair] = pairs.get(pair, 0) + 1
        if not pairs:
            break
        best = sorted(pairs, key=lambda p: (-pairs[p], p))[0]
        if pairs[best] < 2:
            break
        out.append(best)
        for word in spelt:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [word[i] + word[i + 1]]
                i += 1
    return out


@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_merges_equal_brute_force(count):
    texts = ["banana bandana", "aaaa aa aaa", "cat cats catalog", "سلام سلامت"] * 2
    assert tk.learn_merges(texts, count) == brute_merges(texts, count)


@settings(max_examples=150, deadline=None, derandomize=True)
@example("<|STARTOFTEXT|> a <|endoftext|>")
@given(st.text(max_size=80))
def test_any_text_survives(text):
    ids = TOKENIZER.encode(text)
    assert all(0 <= i < TOKENIZER.start for i in ids)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row = TOKENIZER([text])[0]
    assert row[0] == TOKENIZER.start and (row == TOKENIZER.end).sum() == 1


@pytest.mark.parametrize("text", ["a red apple", "سیب سرخ", "🍎", "x9 y-z", "naïve"])
def test_round_trip(text):
    decoded = TOKENIZER.decode(TOKENIZER.encode(text)).replace(" ", "")
    assert decoded == tk.clean(text).replace(" ", "")


@pytest.mark.parametrize("text", ["cat", "cat!", "!", "!! a cat", "", "a red apple"])
def test_padding_is_no_part_of_the_text(text):
    row = TOKENIZER([text])[0]
    assert (row == 0).sum() > 3  # there is padding
    same = TOKENIZER.decode(row).replace(" ", "")
    assert same == TOKENIZER.decode(TOKENIZER.encode(text)).replace(" ", "")
    assert same == text.replace(" ", "")


def test_arabic_and_persian_letters_meet():
    assert TOKENIZER.encode("كيك") == TOKENIZER.encode("کیک")
    assert TOKENIZER.encode("نیم\u200cسوز") == TOKENIZER.encode("نیم سوز")


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_empty_text_is_start_end(text):
    row = TOKENIZER([text])[0]
    assert row[:3].tolist() == [TOKENIZER.start, TOKENIZER.end, 0]


def test_newlines_are_spaces():
    assert TOKENIZER.encode("red\napple") == TOKENIZER.encode("red apple")


def test_long_text_is_cut_and_says_where():
    with pytest.warns(UserWarning, match=r"longer than 16 tokens.*zebra zone"):
        row = TOKENIZER(["zebra zone " * 40])[0]
    assert row[-1] == TOKENIZER.end and row.shape == (16,)


@pytest.mark.parametrize(
    "bad, says",
    [(None, "NoneType"), (["a", 3], "number 1 is not a string but int"), (7, "int")],
)
def test_not_text(bad, says):
    with pytest.raises(TypeError, match=says):
        TOKENIZER(bad)


def test_batch_of_zero():
    assert TOKENIZER([]).shape == (0, 16)
    assert TOKENIZER("one text").shape == (1, 16)
    assert TOKENIZER(["a"]).dtype == torch.long


def test_a_word_without_end_is_read_in_time():
    # a pasted file in a panel: a word of 20,000 letters took minutes
    g = torch.Generator().manual_seed(0)
    letters = torch.randint(97, 123, (50_000,), generator=g).tolist()
    long = bytes(letters).decode()
    mine = tk.Tokenizer(tk.learn_merges([long[:900], long[:900]], 300), 24)
    began = time.process_time()
    ids = mine.encode(long)
    assert time.process_time() - began < 2
    assert ids[:100] == mine.encode(long[:2048])[:100]
    assert len(mine.encode("a " * 10**6)) <= 100_000


@pytest.mark.parametrize(
    "ids", [None, "ab", 3, [1.5], torch.tensor([[1, 2]]), torch.tensor([1.0])]
)
def test_what_is_no_row_of_ids(ids):
    with pytest.raises(TypeError, match="row of whole numbers"):
        TOKENIZER.decode(ids)
    assert TOKENIZER.decode([-1, 10**9]) == ""


@pytest.mark.parametrize("context", [0, 1, 2.5, None])
def test_a_context_has_room_for_both_ends(context):
    with pytest.raises(ValueError, match="context"):
        tk.Tokenizer([], context)
