"""House rules of the notebooks, and the solutions of their exercises."""

import base64
import io
import json
import re

import pytest
from PIL import Image

from helpers import paths
from helpers.course import checks
from helpers.workshop import pages
from helpers.workshop.run_notebooks import MADE

FILES = sorted((paths.ROOT / "notebooks").glob("*.ipynb"))
BOOKS = {p.stem: json.loads(p.read_text("utf-8"))["cells"] for p in FILES}
EVERY = pytest.mark.parametrize("name", BOOKS)


def source(cell):
    return "".join(cell["source"])


def kind(name, which):
    return [c for c in BOOKS[name] if c["cell_type"] == which]


def test_names_rise_and_are_in_the_list():
    numbers = [int(n[:2]) for n in BOOKS]
    assert numbers == sorted(set(numbers)) and numbers[:8] == list(range(8))
    assert [p.name for p in pages.there()] == list(BOOKS)


def test_top_level_is_exact():
    shown = {p.name for p in paths.ROOT.iterdir() if not p.name.startswith(".")}
    wanted = "notebooks helpers data requirements.txt README.md environment.yml LICENSE"
    assert shown - {"__pycache__"} == set(wanted.split())


@EVERY
def test_header_and_ending(name):
    first = source(BOOKS[name][0])
    assert re.match(rf"# {name[:2]} · .+", first)
    assert "By the end of this page you will have" in first
    assert re.search(r"Runs on CPU in ~\d+ s · GPU optional · downloads 0 MB", first)
    text = "\n".join(source(c) for c in kind(name, "markdown"))
    for heading in ("Recap", "Try it yourself", "Exercises", "Further reading"):
        assert re.search(rf"^## {heading}", text, re.M), heading


@EVERY
def test_cells_are_short_and_run_in_order(name):
    code = kind(name, "code")
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    assert len(kind(name, "markdown")) >= len(code) * 0.8
    for cell in code:
        lines = source(cell).splitlines()
        assert len(lines) <= 30 and max(map(len, lines)) <= 88
        assert not source(cell).rstrip().endswith(";")
        assert not any(o["output_type"] == "error" for o in cell["outputs"])


@EVERY
def test_no_printed_line_reads_in_two_directions(name):
    # newcomer.md 11: the browser scrambled lines of Persian beside English
    for cell in kind(name, "code"):
        for output in cell["outputs"]:
            said = output.get("text") or output.get("data", {}).get("text/plain", "")
            for line in "".join(said).splitlines():
                two = re.search("[\u0590-\u07ff\ufb1d-\ufefc]", line)
                assert not (two and re.search("[A-Za-z]", line)), (cell["id"], line)


def test_06_shows_its_film():
    # newcomer.md 3: the film was a GIF in a folder that was deleted
    shown = [
        o.get("data", {}) for c in BOOKS[FILES[6].stem] for o in c.get("outputs", [])
    ]
    [raw] = [data["image/gif"] for data in shown if "image/gif" in data]
    assert Image.open(io.BytesIO(base64.b64decode("".join(raw)))).n_frames >= 8


def test_the_readme_says_what_it_takes_and_how_to_take_less():
    # newcomer.md 13: 3 GB of an environment are of no use without an NVIDIA card
    readme = (paths.ROOT / "README.md").read_text("utf-8")
    lines = re.findall("^python3 -m venv .*$", readme, re.M)
    assert len(lines) > 1 and all("requirements.txt" in line for line in lines)
    assert "https://download.pytorch.org/whl/cpu" in lines[1]
    assert re.search(r"takes [\d.]+ to [\d.]+ GB", readme)


@EVERY
def test_no_widget_state_and_few_ignored_cells(name):
    raw = json.loads((paths.ROOT / f"notebooks/{name}.ipynb").read_text("utf-8"))
    assert "widgets" not in raw["metadata"]
    tagged = [c for c in BOOKS[name] if c["metadata"].get("tags")]
    assert len(tagged) <= max(1, len(BOOKS[name]) // 10)


@EVERY
def test_a_page_is_light_and_its_cells_have_names(name):
    assert (paths.ROOT / f"notebooks/{name}.ipynb").stat().st_size <= 1_500_000
    ids = [c["id"] for c in BOOKS[name]]
    assert len(set(ids)) == len(ids)
    for given in ids:
        assert given.startswith(f"{name[:2]}-") and not MADE.fullmatch(given), given


@EVERY
def test_links_exist(name):
    text = "\n".join(source(c) for c in kind(name, "markdown"))
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if not link.startswith(("http", "#")):
            assert (paths.ROOT / "notebooks" / link).exists(), link


def exercises():
    for name in BOOKS:
        for at, cell in enumerate(BOOKS[name]):
            called = re.search(r"^checks\.(\w+)\((\w+)\)$", source(cell), re.M)
            if called and "raise NotImplementedError" in source(cell):
                after = "\n".join(source(c) for c in BOOKS[name][at + 1 : at + 3])
                yield name, called.group(1), called.group(2), after


@pytest.mark.parametrize("name, check, function, after", list(exercises()))
def test_solutions_pass_and_stubs_do_not(name, check, function, after, capsys):
    body = re.search(r"<summary>Solution</summary>\s+```python\n(.*?)```", after, re.S)
    space: dict = {}
    exec("import torch\nimport torch.nn.functional as F\n", space)
    exec(body.group(1), space)
    getattr(checks, check)(space[function])
    assert "checks passed" in capsys.readouterr().out
    getattr(checks, check)(lambda *a: (_ for _ in ()).throw(NotImplementedError))
    assert "not attempted yet" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="received"):
        getattr(checks, check)(lambda *a: -1.0)


def test_enough_exercises():
    found = [row[0] for row in exercises()]
    for name in BOOKS:
        assert found.count(name) >= (1 if name.startswith("00") else 3), name
