"""One list of pages: what is written from it, into notebooks of any state."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat import v4

from helpers import paths
from helpers.workshop import pages, publish

FOLDER = "my courses درس‌ها"  # spaces and Persian, as on a desktop of Tehran


def test_what_is_stored_was_written_from_the_list(root):
    assert pages.write(root) == []


@pytest.fixture
def root(tmp_path):
    """A copy of all that the list is written into, beside helpers that do nothing."""
    to = tmp_path / FOLDER
    shutil.copytree(paths.ROOT / "notebooks", to / "notebooks")
    (to / "helpers" / "workshop").mkdir(parents=True)
    (to / "helpers" / "__init__.py").touch()
    (to / "helpers" / "start.py").write_text("def start(): pass\n", "utf-8")
    for name in ("README.md", pages.SECONDS, pages.PUBLISHED):
        shutil.copy(paths.ROOT / name, to / name)
    return to


def books(root) -> dict:
    files = sorted((root / "notebooks").glob("*.ipynb"))
    return {p.stem: json.loads(p.read_text("utf-8"))["cells"] for p in files}


def text(cell) -> str:
    return "".join(cell["source"])


def ours(cell) -> bool:
    return cell["id"][3:] in ("title", "setup", "navigation", "map")


def test_publishing_writes_the_address_everywhere_and_nothing_else(root):
    before = books(root)
    changed = publish.publish("ann/art.works", "v1.2", root)
    after = books(root)
    assert len(changed) == len(after) + 1
    for name, cells in after.items():
        there = f"github/ann/art.works/blob/v1.2/notebooks/{name}.ipynb"
        assert text(cells[0]).count(there) == 1
        setup = 'URL = "https://github.com/ann/art.works"\nTAG = "v1.2"\n'
        assert setup in text(cells[1])
        assert [c for c in cells if not ours(c)] == [
            c for c in before[name] if not ours(c)
        ]
        assert [c.get("execution_count") for c in cells] == [
            c.get("execution_count") for c in before[name]
        ]
    assert len({text(cells[1]) for cells in after.values()}) == 1
    readme = (root / "README.md").read_text("utf-8")
    assert "--branch v1.2 https://github.com/ann/art.works" in readme
    assert readme.count("/blob/v1.2/notebooks/") == len(after) + 1
    assert publish.publish("https://github.com/ann/art.works.git", "v1.2", root) == []


def test_another_address_leaves_nothing_of_the_first(root):
    unpublished = books(root)
    publish.publish("ann/art", "v1", root)
    publish.publish("bob/words", "v2", root)
    files = [root / "README.md", *(root / "notebooks").glob("*.ipynb")]
    assert not [f for f in files if "ann/art" in f.read_text("utf-8")]
    pages.store(pages.PUBLISHED, {"repository": "", "tag": ""}, root)
    pages.write(root)
    assert books(root) == unpublished


def test_published_pages_keep_the_house_style(root):
    publish.publish("some-long-owner-name/pictures-and-words", "v2026.11", root)
    shutil.copy(paths.ROOT / ".ruff.toml", root)
    ruff = [sys.executable, "-m", "ruff"]
    for step in (["check", "-q", "--ignore=I001"], ["format", "--check", "-q"]):
        done = subprocess.run(
            [*ruff, *step, "notebooks"], cwd=root, capture_output=True
        )
        assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize(
    "repository, tag, word",
    [
        ("ann", "v1", "OWNER/REPO"),
        ("ann/art/more", "v1", "OWNER/REPO"),
        ("https://gitlab.com/ann/art", "v1", "OWNER/REPO"),
        ("ann/my art", "v1", "OWNER/REPO"),
        ('ann/"+x+"', "v1", "OWNER/REPO"),
        ("", "v1", "OWNER/REPO"),
        ("ann/art", "", "tag"),
        ("ann/art", "-f", "tag"),
        ("ann/art", "v 1", "tag"),
        ("ann/art", "a..b", "tag"),
        ("ann/art", 'v1"', "tag"),
        ("ann/art", "v1/", "tag"),
    ],
)
def test_a_bad_address_is_one_sentence_and_changes_nothing(root, repository, tag, word):
    with pytest.raises(ValueError, match=word):
        publish.publish(repository, tag, root)
    assert pages.write(root) == []


# -- pages in any state -----------------------------------------------------------


def small_course(root, **pages_of_words) -> None:
    """Replace the notebooks by small ones: name to their list of cells."""
    for file in (root / "notebooks").glob("*.ipynb"):
        file.unlink()
    for name, cells in pages_of_words.items():
        nbformat.write(
            v4.new_notebook(cells=cells), root / "notebooks" / f"{name[1:]}.ipynb"
        )


def test_a_page_from_before_the_list(root):
    figure = v4.new_output("display_data", {"image/png": "AAAA"})
    cells = [
        v4.new_markdown_cell(
            "# 01 · Old title\nBy the end you will.\n\nMore.", id="c0"
        ),
        v4.new_code_cell("# Setup: old\nimport sys", id="c1", execution_count=1),
        v4.new_code_cell("show()", id="01-show", execution_count=2, outputs=[figure]),
        v4.new_markdown_cell(
            "## Further reading\n\n- a\n\nPrevious: [00 · Start](00.ipynb) · x\n",
            id="c3",
        ),
    ]
    small_course(root, _01_clip_from_scratch=cells)
    (root / pages.SECONDS).write_text("{}", "utf-8")
    pages.write(root)
    [title, setup, show, reading, ways] = books(root)["01_clip_from_scratch"]
    assert text(title) == (
        "# 01 · CLIP from scratch\n\nBy the end you will.\n\nMore.\n\n"
        "Runs on CPU · GPU optional · downloads 0 MB · needs 00"
    )
    assert text(setup) == pages.SETUP and setup["execution_count"] == 1
    assert show["outputs"][0]["data"] == {"image/png": "AAAA"}
    assert text(reading) == "## Further reading\n\n- a"
    assert ways["id"] == "01-navigation" and title["id"] == "01-title"
    assert pages.write(root) == []


def test_a_page_without_any_of_it_and_one_whose_parts_moved(root):
    first, second = "00_start_here", "06_pixray_drawers"
    moved = [
        v4.new_markdown_cell("old", id="06-navigation"),
        v4.new_markdown_cell("# 06 · X\n\nRuns on CPU in ~70 s · old", id="06-title"),
        v4.new_markdown_cell("Words.", id="06-words"),
    ]
    small_course(root, _00_start_here=[], _06_pixray_drawers=moved)
    (root / pages.SECONDS).write_text("{}", "utf-8")
    pages.write(root)
    after = books(root)
    assert [c["id"] for c in after[first]] == ["00-title", "00-setup", "00-navigation"]
    assert text(after[first][-1]) == f"Next: [06 · Pixray's drawers]({second}.ipynb)"
    assert sorted(c["id"] for c in after[second]) == [
        "06-navigation",
        "06-setup",
        "06-title",
        "06-words",
    ]
    assert text(after[second][-1]) == (
        "Previous: [00 · Start here](00_start_here.ipynb) · "
        "All pages: [the map](00_start_here.ipynb)"
    )
    assert "in ~70 s ·" in text(next(c for c in after[second] if c["id"] == "06-title"))
    assert pages.write(root) == []


def test_seconds_are_promised_in_round_numbers(root):
    pages.store(pages.SECONDS, {"00_start_here": 31, "01_clip_from_scratch": 120}, root)
    pages.write(root)
    after = books(root)
    assert "Runs on CPU in ~40 s ·" in text(after["00_start_here"][0])
    assert "Runs on CPU in ~120 s ·" in text(after["01_clip_from_scratch"][0])
    assert pages.write(root) == []


def test_what_is_not_in_the_list_is_said(root):
    nbformat.write(v4.new_notebook(), root / "notebooks" / "10_more.ipynb")
    with pytest.raises(ValueError, match="10_more.ipynb has no line in PAGES"):
        pages.write(root)


def test_a_damaged_file_is_one_sentence_and_nothing_is_written(root):
    file = root / "notebooks" / "06_pixray_drawers.ipynb"
    file.write_text("<<<<<<< HEAD\n{}", "utf-8")  # a merge that was not finished
    pages.store(pages.PUBLISHED, {"repository": "ann/art", "tag": "v1"}, root)
    with pytest.raises(ValueError, match="06_pixray_drawers.ipynb is no notebook"):
        pages.write(root)
    assert "ann/art" not in (root / "README.md").read_text("utf-8")
    (root / pages.SECONDS).write_text("{", "utf-8")
    with pytest.raises(ValueError, match="seconds.json cannot be read"):
        pages.write(root)


def test_a_readme_without_its_marks_is_said(root):
    (root / "README.md").write_text("# Mine\n", "utf-8")
    with pytest.raises(ValueError, match="<!-- pages -->"):
        pages.write(root)


# -- the setup cell, run ----------------------------------------------------------

RUN = """
import sys, types
if {colab}:
    sys.modules["google.colab"] = types.ModuleType("google.colab")
exec(open({cell!r}, encoding="utf-8").read())
import helpers
print(helpers.__file__)
"""


def run_setup(cell, at, colab: bool, **env):
    """Run a setup cell in a process of its own, in the folder ``at``."""
    file = at.parent / "setup cell.py"
    file.write_text(text(cell), "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(colab=colab, cell=str(file))],
        cwd=at,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        | {"PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
        | env,
        capture_output=True,
        encoding="utf-8",
    )
    return done.stdout.strip(), done.stderr.strip()


@pytest.fixture
def released(root, tmp_path):
    """ann/art with the tag v1: (its pages, the environment in which git finds it)."""
    publish.publish("ann/art", "v1", root)
    bare = tmp_path / "on the server سرور.git"
    me = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    for step in (
        ["init", "-q"],
        ["add", "."],
        [*me, "commit", "-q", "-m", "one"],
        [*me, "commit", "-q", "-m", "two", "--allow-empty"],
        ["tag", "v1"],
        ["clone", "-q", "--bare", ".", str(bare)],
    ):
        subprocess.run(["git", *step], cwd=root, check=True)
    env = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{bare}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/ann/art",
    }
    return books(root), env


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_in_colab_a_page_fetches_its_tag(released, tmp_path):
    cells, env = released
    content = tmp_path / "content محتوا"
    content.mkdir()
    cell = cells["03_text_to_image_search"][1]
    out, err = run_setup(cell, content, colab=True, **env)
    assert out == str(content / "course" / "helpers" / "__init__.py"), err
    log = ["git", "-C", content / "course", "rev-list", "--count", "HEAD"]
    assert subprocess.check_output(log).strip() == b"1"  # no history
    env["GIT_CONFIG_VALUE_0"] = "https://example.org/not-this-one"
    env["GIT_CONFIG_COUNT"] = "1"
    assert run_setup(cell, content, colab=True, **env)[0] == out  # no second time
    inside = content / "course" / "notebooks"
    assert run_setup(cell, inside, colab=True, **env)[0] == out


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_tag_that_is_not_there_is_one_sentence(released, tmp_path):
    cells, env = released
    lost = dict(cells["00_start_here"][1])
    lost["source"] = text(lost).replace('"v1"', '"v9"')
    content = tmp_path / "content"
    content.mkdir()
    out, err = run_setup(lost, content, colab=True, **env)
    assert out == "" and "Traceback" not in err
    assert "https://github.com/ann/art at v9 did not arrive" in err and "v9" in err
    assert list(content.iterdir()) == []


@pytest.mark.parametrize("colab", [False, True])
def test_an_unpublished_page_says_what_to_do(root, tmp_path, colab):
    empty = tmp_path / "empty"
    empty.mkdir()
    out, err = run_setup(books(root)["00_start_here"][1], empty, colab)
    assert out == "" and err.splitlines() == [
        "Clone this course first (in Colab: in a cell above this one)."
    ]


def test_a_published_page_alone_on_a_laptop_says_what_to_clone(root, tmp_path):
    publish.publish("ann/art", "v1", root)
    empty = tmp_path / "empty"
    empty.mkdir()
    out, err = run_setup(books(root)["00_start_here"][1], empty, False)
    assert out == "" and err.splitlines() == [
        "Clone https://github.com/ann/art first, then open the page from the clone."
    ]


@pytest.mark.parametrize("at", ["notebooks", ".", "helpers/workshop", ".."])
def test_a_clone_is_found_from_where_pages_are_opened(root, at):
    before = {p for p in root.rglob("*") if "__pycache__" not in p.parts}
    cell = books(root)["00_start_here"][1]
    for folder in sorted(before, key=lambda p: -len(p.parts)):
        folder.chmod(0o555 if folder.is_dir() else 0o444)  # a read-only checkout
    root.chmod(0o555)
    try:
        out, err = run_setup(cell, (root / at).resolve(), False, PYTHONSAFEPATH="1")
    finally:
        root.chmod(0o755)
        for folder in sorted(before):
            folder.chmod(0o755)
    assert out == str(root / "helpers" / "__init__.py"), err
