"""The checks accept right answers however written, and refuse plausible wrong ones."""

import time

import numpy as np
import pytest
import torch

from helpers.course import checks
from helpers.course.checks import (
    classifying,
    codes,
    contrast,
    diffusing,
    drawing,
    dreaming,
    machines,
    searching,
    streams,
)
from helpers.course.checks.engine import agree, copied, misfit

from .answers import RIGHT, WRONG

ROOMS = (
    searching, contrast, classifying, codes, dreaming, drawing, machines, streams,
    diffusing,
)  # fmt: skip
NAMES = [name for name in checks.__all__ if name != "same"]


def parts(name: str) -> tuple:
    """The oracle, cases, slips and hint of a check."""
    kept = []
    room = next(r for r in ROOMS if getattr(checks, name).__module__ == r.__name__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "exercise", lambda function, *rest: kept.append(rest))
        getattr(checks, name)(None)
    return kept[0]


PARTS = {name: parts(name) for name in NAMES}
RIGHTS = [(n, a) for n in NAMES for a in RIGHT[n]]
WRONGS = [(n, words, a) for n in NAMES for words, a in WRONG[n].items()]
SLIPS = [(n, words, a) for n in NAMES for words, a in PARTS[n][2].items()]


def named(value):
    return value if isinstance(value, str) else getattr(value, "__name__", "")


def test_every_check_has_its_answers():
    for name in NAMES:
        assert len(RIGHT[name]) >= 2 and len(WRONG[name]) >= 6, name
        assert len(PARTS[name][2]) >= 4 and len(PARTS[name][1]) >= 6, name


@pytest.mark.parametrize("name, answer", RIGHTS, ids=named)
def test_right_answers_pass(name, answer, capsys):
    getattr(checks, name)(answer)
    line = f"{len(PARTS[name][1])} checks passed\n"
    assert capsys.readouterr().out == line


@pytest.mark.parametrize("name, words, answer", WRONGS, ids=named)
def test_wrong_answers_are_refused(name, words, answer, capsys):
    with pytest.raises(AssertionError) as refusal:
        getattr(checks, name)(answer)
    text = str(refusal.value)
    assert text.startswith("received ") and ", expected " in text
    assert "Likely: " in text and "\n" not in text and len(text) < 400
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name, words, slip", SLIPS, ids=named)
def test_known_slips_are_named(name, words, slip):
    with pytest.raises(AssertionError) as refusal:
        getattr(checks, name)(slip)
    text = str(refusal.value)
    assert words in text, text


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_stub_is_one_line(name, capsys):
    def stub(*arguments):
        raise NotImplementedError

    getattr(checks, name)(stub)
    assert capsys.readouterr().out == "not attempted yet\n"


@pytest.mark.parametrize("name", NAMES)
def test_wrong_types_get_one_sentence(name):
    oracle, cases = PARTS[name][:2]
    tensor = isinstance(oracle(*cases[0]), torch.Tensor)

    def refused(change, words):
        with pytest.raises(AssertionError, match=words) as refusal:
            getattr(checks, name)(lambda *a: change(oracle(*a)))
        assert "\n" not in str(refusal.value)

    refused(lambda x: None, "received None: nothing came back")
    refused(lambda x: str(x), "of type str")
    if tensor:
        refused(
            lambda x: x.tolist(), r"of type list, not a torch tensor: torch\.tensor"
        )
        refused(lambda x: x.numpy(), r"of type numpy\.ndarray, .* torch\.from_numpy")
        refused(lambda x: x[None], "received a tensor of shape")
        refused(lambda x: x > 0, "torch.bool")
        other = torch.long if oracle(*cases[0]).is_floating_point() else torch.float
        refused(lambda x: x.to(other), str(other))
    else:
        refused(lambda x: [x], "of type list, not one number")
        refused(lambda x: np.array([x]), "of type numpy.ndarray, not one number")
        refused(lambda x: torch.tensor([x, x]), r"shape \(2,\), not one number")
        refused(lambda x: bool(x), "of type bool")


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_may_fail_or_write_into_its_input(name, capsys):
    def fails(*arguments):
        raise IndexError("index 3 is out of bounds")

    with pytest.raises(AssertionError, match="received IndexError, .*out of bounds"):
        getattr(checks, name)(fails)
    with pytest.raises(AssertionError, match="received TypeError"):
        getattr(checks, name)(lambda: 0)
    oracle, cases = PARTS[name][:2]

    def writes(*arguments):
        answer = oracle(*copied(arguments))
        for a in arguments:
            if isinstance(a, torch.Tensor):
                a.zero_()
        return answer

    getattr(checks, name)(writes)
    assert "checks passed" in capsys.readouterr().out


def test_an_unwritten_branch_is_no_empty_stub():
    def answer(best, right):
        if best != right:
            raise NotImplementedError
        return 1.0

    with pytest.raises(AssertionError, match="one branch of your function"):
        checks.hit_rate(answer)


@pytest.mark.parametrize("name", NAMES)
def test_checks_are_fast(name):
    began = time.process_time()
    getattr(checks, name)(RIGHT[name][0])
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", NAMES)
def test_cases_do_not_decide_by_rounding(name):
    """Single precision or double: the oracle gives the same answer."""
    oracle, cases = PARTS[name][:2]
    for args in cases:
        double = [
            a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a
            for a in args
        ]
        want = oracle(*args)
        again = oracle(*double)
        if isinstance(want, torch.Tensor) and want.is_floating_point():
            again = again.float()
        assert not misfit(again, want) and agree(again, want)


def double_it(x):
    return 2 * x


def test_same_names_both_sides(capsys):
    cases = [(torch.ones(3),), (torch.zeros(2),)]
    checks.same(double_it, lambda x: x + x, cases=cases, what="double_it, x + x")
    checks.same(torch.ones(2, 3), torch.ones(2, 3) + 1e-7, what="ones, nearly ones")
    checks.same(["a", 1], ["a", 1])
    assert capsys.readouterr().out.splitlines() == [
        "double_it, x + x: the same in 2 cases, largest difference below 1e-05",
        "ones, nearly ones: the same in 1 case of shape (2, 3), "
        "largest difference below 1e-05",
        "both sides: the same in 1 case",
    ]


@pytest.mark.parametrize(
    "sides, more, words",
    [
        ((torch.ones(2), torch.zeros(2)), {}, "both sides: "),
        ((torch.ones(2), torch.ones(3)), {}, "both sides: "),
        ((torch.ones(2), [1.0, 1.0]), {}, "a Tensor and a list"),
        (([1, 2], [1, 2, 3]), {}, "2 and 3 parts"),
        ((1.0, 1.1), {"what": "mine, theirs"}, "mine, theirs: 1.0 and 1.1"),
        (("a", "b"), {}, "'a' and 'b'"),
        ((double_it, double_it), {"cases": [(1,)]}, "one and the same function"),
        ((double_it, abs), {"cases": []}, "no case to compare"),
        ((double_it, abs), {"cases": [(0,), (1,)]}, "double_it, abs, case 2 of 2"),
        ((double_it, abs), {}, "need cases"),
    ],
)
def test_same_refuses(sides, more, words):
    with pytest.raises(AssertionError, match=words):
        checks.same(*sides, **more)


def test_same_refuses_one_object():
    x = torch.ones(2)
    with pytest.raises(AssertionError, match="one and the same tensor"):
        checks.same(x, x)
