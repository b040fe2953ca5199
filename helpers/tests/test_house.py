"""The house: who imports whom, seen in the source alone (nothing is imported here)."""

import ast
import json
import re
from collections import Counter

import pytest

from helpers import paths

HOUSE = paths.ROOT / "helpers"
FLOORS = (  # nothing imports from a floor above its own
    "device paths start values words download archive weights".split()
    + "pictures metrics blocks gpt".split(),
    "clip corpus vqgan".split(),
    "search dream dalle".split(),
    ["course"],
    ["workshop"],
    ["tests"],
)
FLOOR = {room: n for n, rooms in enumerate(FLOORS) for room in rooms}


def name_of(path) -> str:
    """A file of the house as a dotted name: clip/model.py is clip.model."""
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(p): p for p in sorted(HOUSE.rglob("*.py"))}


def imported(text: str, here: str = "", package: bool = False) -> set[str]:
    """The modules of the house that a source imports, those in functions too."""
    out = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("helpers.")]
            out |= {n.removeprefix("helpers.") for n in names}
        if not isinstance(node, ast.ImportFrom):
            continue
        base = node.module or ""
        if node.level:
            up = here.split(".")[: None if package else -1]
            up = up[: len(up) - node.level + 1]
            base = ".".join([*[u for u in up if u], *[m for m in [base] if m]])
        elif base == "helpers" or base.startswith("helpers."):
            base = base.removeprefix("helpers").strip(".")
        else:
            continue
        for alias in node.names:  # a module, or a name out of one
            inner = f"{base}.{alias.name}".strip(".")
            out.add(inner if inner in FILES else base)
    return {name for name in out if name in FILES} - {here}


GRAPH = {
    name: imported(path.read_text("utf-8"), name, path.name == "__init__.py")
    for name, path in FILES.items()
}


def room(name: str) -> str:
    return name.split(".")[0]


def circle(graph: dict[str, set]) -> list[str]:
    """One circle of a graph as a list of names, [] if there is none."""
    done, way = set(), []

    def walk(name):
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        way.append(name)
        for other in sorted(graph.get(name, ())):
            if found := walk(other):
                return found
        way.pop()
        done.add(name)
        return []

    for name in sorted(graph):
        if found := walk(name):
            return found
    return []


def code_of(notebook) -> str:
    """The Python of a notebook, without its magic lines."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", "\n\n".join(code), flags=re.M)


PAGES = {
    p.name: imported(code_of(p)) for p in sorted(paths.ROOT.glob("notebooks/*.ipynb"))
}


def test_the_walk_sees_circles_and_imports():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    text = "from . import files\ndef f():\n    from ..blocks import Block"
    assert imported(text, "clip.official") == {"clip.files", "blocks"}
    assert imported("from .model import CLIP", "clip", True) == {"clip.model"}


def test_no_circle_of_modules():
    assert circle(GRAPH) == []


def test_no_circle_of_rooms():
    rooms: dict[str, set] = {}
    for name, others in GRAPH.items():
        if room(name):
            rooms.setdefault(room(name), set()).update(map(room, others - {""}))
    assert circle({k: v - {k} for k, v in rooms.items()}) == []


@pytest.mark.parametrize("name", [n for n in FILES if room(n) not in ("", "tests")])
def test_nothing_imports_upwards(name):
    assert room(name) in FLOOR, f"{name} has no floor: give it one in this file"
    above = [o for o in GRAPH[name] if o and FLOOR[room(o)] > FLOOR[room(name)]]
    assert above == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_imports_the_workshop(page):
    assert PAGES[page]
    assert [n for n in PAGES[page] if room(n) in ("workshop", "tests")] == []


def test_every_module_is_used_by_a_page_a_command_or_a_test():
    commands = {
        name
        for name, path in FILES.items()
        if 'if __name__ == "__main__":' in path.read_text("utf-8")
        or name.startswith("workshop.recipes.")  # found by name
        or name.startswith("workshop.evaluate.")
    }
    tests = {name for name in FILES if room(name) == "tests"}
    todo = [*commands, *tests, *set().union(*PAGES.values())]
    used = set()
    while todo:
        name = todo.pop()
        if name not in used:
            used.add(name)
            todo += GRAPH[name]
            todo += [name.rpartition(".")[0]] if "." in name else []  # its face
    assert sorted(set(FILES) - used - {""}) == []


def test_every_folder_says_what_it_is_and_hands_on_what_it_names():
    for name, path in FILES.items():
        if path.name == "__init__.py" and room(name) not in ("tests", "workshop"):
            tree = ast.parse(path.read_text("utf-8"))
            assert ast.get_docstring(tree), f"{name} has no docstring"
            used = [n for n in tree.body if not isinstance(n, ast.ImportFrom)][1:]
            assert len(used) <= 1, f"{name}: its face holds more than names"


def test_every_command_can_be_named():
    recipes = [n for n in FILES if n.startswith("workshop.recipes.")]
    for name in recipes:
        text = FILES[name].read_text("utf-8")
        assert re.search(r"^(def train\(|train = )", text, re.M), name
        assert re.search(r'^FILE = "[\w-]+\.safetensors"$', text, re.M), name


def test_no_word_of_our_own_work_is_left_in_the_code():
    words = re.compile(r"\bissue \d|\bcapabilit|\(asked|\basked[:=]", re.I)
    for name, path in FILES.items():
        if room(name) != "tests":
            assert not words.findall(path.read_text("utf-8")), name


def test_nothing_is_defined_and_never_used():
    texts = [p.read_text("utf-8") for p in FILES.values()]
    texts += [code_of(p) for p in paths.ROOT.glob("notebooks/*.ipynb")]
    words = Counter(re.findall(r"\w+", "\n".join(texts)))
    kinds = (ast.FunctionDef, ast.ClassDef)
    for name, path in FILES.items():
        if room(name) != "tests":
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, kinds):
                    assert words[node.name] > 1, f"{name}.{node.name} is never used"


def test_every_text_file_says_its_encoding():
    # rclip#78 and its kind: a Persian name under the code page of Windows
    for name, path in FILES.items():
        if room(name) == "tests":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                said = ast.unparse(node)
                what = getattr(node.func, "attr", getattr(node.func, "id", ""))
                given = len(node.args) + len(node.keywords)
                if what in ("read_text", "write_text"):
                    assert given > (what == "write_text"), f"{name}: {said}"
                elif what == "open" and isinstance(node.func, ast.Name):
                    assert re.search("[rwax]\\+?b|utf-8", said), f"{name}: {said}"
