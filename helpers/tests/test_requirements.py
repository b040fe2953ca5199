"""The lists of what is installed agree with one another and with the code."""

import ast
import sys

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from helpers import paths

NAMES = {"PIL": "pillow", "sklearn": "scikit-learn", "faiss": "faiss-cpu"}
NAMES |= {"arabic_reshaper": "arabic-reshaper", "bidi": "python-bidi"}
BROUGHT = {"IPython"}  # by ipywidgets
OPTIONAL = {"ipyevents", "pillow_heif"}  # used where it is there


def read(name: str) -> dict[str, Requirement]:
    lines = (paths.ROOT / name).read_text("utf-8").splitlines()
    wanted = [Requirement(row) for line in lines if (row := line.split("#")[0].strip())]
    assert len({w.name for w in wanted}) == len(wanted)
    return {w.name: w for w in wanted}


MAIN = read("requirements.txt")
OLDEST = read("helpers/workshop/lower_bounds.txt")


def test_requirements_are_lower_bounds_and_nothing_else():
    for name, wanted in MAIN.items():
        assert [s.operator for s in wanted.specifier] == [">="], name


def test_the_oldest_releases_are_those_of_the_lower_bounds():
    assert list(OLDEST) == list(MAIN)
    for name, pinned in OLDEST.items():
        [pin], [bound] = pinned.specifier, MAIN[name].specifier
        assert pin.operator == "==", name
        assert Version(pin.version) == Version(bound.version), name


def test_torch_and_torchvision_fit_each_other():
    # github.com/pytorch/vision, README: torchvision 0.20 goes with torch 2.5, and so on
    torch, vision = (
        Version(next(iter(OLDEST[n].specifier)).version)
        for n in ("torch", "torchvision")
    )
    assert torch.minor - vision.minor == 5 - 20


def imports(*folders: str) -> set[str]:
    out = set()
    for folder in folders:
        for path in (paths.ROOT / "helpers").glob(folder):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    out |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    out.add(node.module)
    found = {name.split(".")[0] for name in out} - set(sys.stdlib_module_names)
    return {NAMES.get(name, name) for name in found - {"helpers"} - BROUGHT - OPTIONAL}


@pytest.mark.parametrize(
    "room", ["*", "clip", "corpus", "course", "dalle", "dream", "search", "vqgan"]
)
def test_what_a_room_imports_is_required(room):
    folders = ["*.py"] if room == "*" else [f"{room}/*.py", f"{room}/*/*.py"]
    assert imports(*folders) <= set(MAIN)
