"""The notation of prompts, and their distance."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.dream import prompts
from helpers.dream.prompts import Prompt, parse
from helpers.words import fold


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("a red fox", [("a red fox", 1, -math.inf)]),
        ("a fox:2", [("a fox", 2, -math.inf)]),
        ("a fox:-.5:-0.1 | snow:3", [("a fox", -0.5, -0.1), ("snow", 3, -math.inf)]),
        ("a clock at 12:30", [("a clock at 12:30", 1, -math.inf)]),
        ('"a clock at 12:30":2', [("a clock at 12:30", 2, -math.inf)]),
        ('"a | b" | c', [("a | b", 1, -math.inf), ("c", 1, -math.inf)]),
        ('"say \\"hi\\"":2:1', [('say "hi"', 2, 1)]),
        ("یک روباه سرخ:2", [("یک روباه سرخ", 2, -math.inf)]),
        ("http://a.b/c", [("http://a.b/c", 1, -math.inf)]),
        ("a title: the fox", [("a title: the fox", 1, -math.inf)]),
        (" a | | b ", [("a", 1, -math.inf), ("b", 1, -math.inf)]),
        ("🦊", [("🦊", 1, -math.inf)]),
        ("at 12:30:45", [("at 12:30:45", 1, -math.inf)]),
        ("lunch 12:30pm", [("lunch 12:30pm", 1, -math.inf)]),
        ("http://a.b/c:2", [("http://a.b/c", 2, -math.inf)]),
        ("C:\\temp", [("C:\\temp", 1, -math.inf)]),
        ("a smile :)", [("a smile :)", 1, -math.inf)]),
        ("a \\| b | c\\:2", [("a | b", 1, -math.inf), ("c:2", 1, -math.inf)]),
        ('a sign "a | b" here', [('a sign "a | b" here', 1, -math.inf)]),
        ('"Starry Night" by him:2', [('"Starry Night" by him', 2, -math.inf)]),
        ("fox :2", [("fox", 2, -math.inf)]),
        ("روباه:۰٫۵", [("روباه", 0.5, -math.inf)]),
        (
            "روباه\u200f:2\u200f | گربه",
            [("روباه", 2, -math.inf), ("گربه", 1, -math.inf)],
        ),
        ("نیم\u200cفاصله", [("نیم\u200cفاصله", 1, -math.inf)]),
    ],
)
def test_notation(line, want):
    assert [(p.text, p.weight, p.stop) for p in parse(line)] == want


@settings(max_examples=300, deadline=None)
@given(
    st.text(min_size=1).filter(lambda t: any(c.isalpha() for c in fold(t, False))),
    st.floats(0.01, 50),
    st.one_of(st.just(-math.inf), st.floats(-3, 3)),
)
def test_what_is_written_is_read_again(text, weight, stop):
    again = parse(str(Prompt(text, weight, stop)))
    assert [(p.text, p.weight, p.stop) for p in again] == [(text, weight, stop)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is empty"),
        (" | ", "is empty"),
        ("?!...", "only punctuation"),
        ("fox:much", "is not a number"),
        ("fox:0", "is 0"),
        ("fox:-1 | cat:-2", "below 0"),
        ("fox:1:9", "never count"),
        ("fox | cat:-1:0.5", "below 0 too, such as -0.95"),
        ('"fox', "do not close"),
        ('a 5" pipe | snow', r"do not close.*character 4 "),
        # public: InvokeAI#258, deforum#34, #151 (what looks like a weight and is none)
        ("fox: 2", "write fox:2 for a weight"),
        ("fox : 2", "write fox:2 for a weight"),
        ("fox:- 2", "write fox:-2 for a weight"),
        ("a city | windows 95:-0.5", r'write "windows 95":-0.5 .*character 20 '),
        ("at 12:30:2", 'write "at 12:30":2'),
        ("windows 95:2", 'write "windows 95":2'),
        ("fox::2", "write fox:2"),
        ("fox：2", "write fox:2"),
        ("fox∶2", "write fox:2"),
        ("fox﹕2 in snow", "write fox:2"),
        # the same sources, notations of other programs that became text
        ("a fox:2 in snow", "at the end of a prompt"),
        ("(fox:1.3) in snow", "at the end of a prompt"),
        ("a fox:1.2, a wolf:0.8", "at the end of a prompt"),
        ("روباه:۲ در برف", "at the end of a prompt"),
        ("a city --no cats", "--no is an option of another program"),
        ("“x | y”", 'write "x | y"'),
        ("„x ^ y“", 'write "x \\^ y"'),
        ("fox | : 2", "No text stands before"),
        ("\u200b", "holds no word"),
        ("fox:0,5", "write fox:0.5"),
        ("fox:1/2", "looks like a weight"),
        ("fox:2:1:3", "looks like a weight"),
        ("http://localhost:8080", "looks like a weight"),
        ("fox:50%", "looks like a weight"),
        ("fox:", "is not a number"),
        ("fox:nan", "is not a number"),
        ("fox:2:much", "is not a number"),
        ("fox:much:2", "is not a number"),
        ("(fox:1.2)", "at the end of a prompt"),
        ("fox:1e999", "finite"),
        ("fox:1e-9", "0.0001 to 10,000"),
        (":2", "No text"),
        ('"":2', "no word"),
        ("fox ^ cat:-1", "in chapter 2"),
        ("a\ud800", "Character 2 of the prompt is no text"),
        ("a" * 5001, "shorten it"),
        ("|".join("ab" * 40), "64 parts"),
    ],
)
def test_bad_lines_are_one_sentence(line, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse(line)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".") and len(said) < 300


def test_no_text_is_a_type_error():
    with pytest.raises(TypeError, match="must be text"):
        parse(None)


def test_story_shares_the_steps():
    chapters = prompts.story("an egg ^ a chick:2 | a nest ^ a hen")
    assert [(p.text, round(p.begin, 2)) for p in chapters] == [
        ("an egg", 0.0),
        ("a chick", 0.33),
        ("a nest", 0.33),
        ("a hen", 0.67),
    ]
    assert [p.text for p in chapters if p.counts(0.5)] == ["a chick", "a nest"]
    assert [p.text for p in chapters if p.counts(1.0)] == ["a hen"]
    with pytest.raises(ValueError, match="story is empty"):
        prompts.story(" ^ ")
    quoted = prompts.story('"x ^ 2" ^ a \\^ b')  # one grammar: quotes hold anything
    assert [(p.text, p.begin) for p in quoted] == [("x ^ 2", 0), ("a ^ b", 0.5)]


@pytest.mark.parametrize("count", [1, 5])
def test_distance_is_half_the_squared_angle(count):
    a = F.normalize(torch.randn(count, 7, dtype=torch.double), dim=-1)
    b = F.normalize(torch.randn(count, 7, dtype=torch.double), dim=-1)
    angle = (a * b).sum(-1).clamp(-1, 1).arccos()
    torch.testing.assert_close(prompts.distance(a, b), angle**2 / 2)


def test_stop_holds_and_weights_push():
    goal = F.normalize(torch.ones(4), dim=0)
    near = F.normalize(torch.tensor([[1.0, 1, 1, 0.9]]), dim=-1).requires_grad_(True)
    prompts.wish(near, goal, 1.0, stop=0.5).backward()
    assert near.grad.abs().sum() == 0  # content
    near.grad = None
    prompts.wish(near, goal, 2.0, -math.inf).backward()
    toward = near.grad.clone()
    near.grad = None
    prompts.wish(near, goal, -2.0, -math.inf).backward()
    torch.testing.assert_close(near.grad, -toward)


@pytest.mark.parametrize("weight", [2.0, 0.5, -0.5, -2.0])
@pytest.mark.parametrize("stop", [-math.inf, -0.95, 0.3])
def test_a_stop_is_that_of_the_reference(weight, stop):
    """Katherine Crowson's VQGAN+CLIP: class Prompt, with replace_grad spelled out."""
    g = torch.Generator().manual_seed(0)
    goal = F.normalize(torch.randn(1, 6, generator=g), dim=1)
    ours = torch.randn(50, 6, generator=g).requires_grad_(True)
    theirs = ours.detach().clone().requires_grad_(True)
    loss = prompts.wish(F.normalize(ours, dim=1), goal[0], weight, stop)
    loss.backward()
    sign = math.copysign(1, weight)
    seen = F.normalize(theirs[:, None], dim=2).sub(goal[None]).norm(dim=2)
    dists = seen.div(2).arcsin().pow(2).mul(2) * sign
    held = torch.maximum(dists, torch.tensor(stop))
    (abs(weight) * held.mean()).backward()
    torch.testing.assert_close(loss, abs(weight) * dists.mean())
    torch.testing.assert_close(ours.grad, theirs.grad)
    if weight < 0 and stop == -0.95:
        near = (dists * sign < 0.95)[:, 0]
        assert 0 < near.sum() < 50
        assert torch.equal(ours.grad.abs().sum(1) > 0, near)  # beyond it, none


def test_noise_prompt_is_seeded():
    a, b = prompts.noise_prompt(3, 8).vector, prompts.noise_prompt(3, 8).vector
    assert torch.equal(a, b) and abs(a.norm() - 1) < 1e-6


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("a fox*2", "fox:2"),
        ("fox * 1.5 | snow", "fox:1.5"),
        ("2*fox in snow", "fox:2"),
        ("((a fox)) in snow", "a fox:1.3"),
        ("[[[fox, cat]]]", "fox:1.3"),
        ("{{fox}}", "fox:1.3"),
        ("(a fox)1.4 in snow", "a fox:1.4"),
        ("(a fox)++", "a fox:1.3"),
        ("fox^2", "fox:2"),
        ("a fox | -0.5", "fox:-0.5"),
        ("a fox | 2.5", "fox:2.5"),
        ("fox︰2", "fox:2"),
        ("fox⁚2", "fox:2"),
    ],
)
def test_the_notation_of_other_programs_is_no_text(line, right):
    # InvokeAI, A1111 and NovelAI weigh words so; as text it would do nothing
    with pytest.raises(ValueError, match=re.escape(right)):
        parse(line)
    assert parse(f'"{line}"')[0].text == line


@pytest.mark.parametrize(
    "line",
    ["(a fox) in snow", "[fox]", "a book on C++", "M*A*S*H", "5*5 tiles", "fox x2",
     "a smile :))", "7", "f(x) and (y)", "fox ^ 2 cats", "fox ^ snow", "*fox*", "½"],
)  # fmt: skip
def test_marks_of_ordinary_text_stay_text(line):
    assert parse(line)


@pytest.mark.parametrize("line", ["؟؟؟", "。。。", "—", "…", "«»", "___", "\u0301"])
def test_only_punctuation_in_any_script(line):
    with pytest.raises(ValueError, match="only punctuation"):
        parse(line)
    assert "only punctuation" in prompts.amiss(Prompt(line))
    assert not prompts.amiss(Prompt(line, vector=torch.ones(3)))


@pytest.mark.parametrize("seed, size", [(-1, 4), ("x", 4), (0, 0), (0, -1), (2**64, 4)])
def test_noise_that_is_none(seed, size):
    with pytest.raises(ValueError, match="must be a whole number"):
        prompts.noise_prompt(seed, size)
