"""The list of pages, and all that is written from it.

``python -m helpers.workshop.pages`` writes it; ``publish`` and ``run_notebooks``, too.
From here come each page's title, its line "Runs on CPU in", its setup cell and its
navigation, the map on page 00, and in README the table and the address. Everything else
on a page, its stored outputs too, stays as it is. A new page is one line of ``PAGES``.
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat

from .. import paths

SECONDS = "helpers/workshop/seconds.json"  # run_notebooks: {"00_start_here": 29}
PUBLISHED = "helpers/workshop/published.json"  # publish: an Address
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
COLAB = "https://colab.research.google.com/github"


@dataclass(frozen=True)
class Page:
    """One page: its file without .ipynb, what it is called, what it does for you."""

    name: str
    title: str
    does: str  # "you will be able to" ...
    needs: str = "nothing"  # numbers of the pages that come before it

    @property
    def number(self) -> str:
        return self.name[:2]

    @property
    def full(self) -> str:
        return f"{self.number} · {self.title}"

    @property
    def link(self) -> str:
        """For other pages, which lie in the same folder."""
        return f"[{self.full}]({self.name}.ipynb)"


PAGES = (
    Page(
        "00_start_here",
        "Start here",
        "search pictures in words, English or Persian; check your machine",
    ),
    Page(
        "01_clip_from_scratch",
        "CLIP from scratch",
        "build both towers and the loss, train, see what it learnt and where it fails",
        "00",
    ),
    Page(
        "02_zero_shot_classification",
        "Zero-shot classification",
        "sort photographs into classes that you type; templates, calibration, "
        "linear probe",
        "01",
    ),
    Page(
        "03_text_to_image_search",
        "Text-to-image search",
        "search any folder with words, pictures, or both; approximate search measured",
        "01",
    ),
    Page(
        "04_vqgan_internals",
        "VQGAN from the inside",
        "turn pictures into codes and back, paint with codes, train one, let a "
        "transformer write them",
        "01",
    ),
    Page(
        "05_vqgan_clip_generation",
        "VQGAN+CLIP: pictures from words",
        "grow pictures from words, and measure with a judge what is picture and what "
        "is trick",
        "01, 04",
    ),
    Page(
        "06_pixray_drawers",
        "Pixray's drawers",
        "draw with pixels, strokes, waves; palettes, symmetry, tiles, films, posters",
        "05",
    ),
    Page(
        "07_dalle_one_stream",
        "DALL·E 1: words and pictures in one stream",
        "let a transformer write pictures behind captions, CLIP choose, halves be "
        "completed",
        "04",
    ),
    Page(
        "08_dalle2_unclip",
        "DALL·E 2: from CLIP's vectors back to pictures",
        "turn a caption into a picture's vector and that vector into a picture, by "
        "diffusion",
        "01",
    ),
    Page(
        "09_many_machines",
        "Many machines",
        "split a batch and a collection over machines; what a million and a billion "
        "pictures take",
        "01, 03",
    ),
)

SETUP = """\
# Setup: find the course folder and make its helpers importable
import os
import sys
from pathlib import Path

places = [Path.cwd(), *Path.cwd().parents, *Path.cwd().glob("*/"), *map(Path, sys.path)]
found = [p for p in places if os.path.isfile(p / "helpers" / "start.py")]
if not found:
    raise SystemExit("Clone this course first (in Colab: in a cell above this one).")
sys.path.insert(0, str(found[0].resolve()))
from helpers.start import start

start()"""
FETCH = """\
if not found and "google.colab" in sys.modules:
    clone = ["git", "clone", "-q", "--depth", "1", "--branch", TAG, URL, "course"]
    done = subprocess.run(clone, capture_output=True, errors="replace")
    if done.returncode:
        why = done.stderr.strip() or "git gives no reason"
        raise SystemExit(f"{URL} at {TAG} did not arrive; run this again. {why}")
    found = [Path("course")]
"""


# -- where the course lives -------------------------------------------------------


@dataclass(frozen=True)
class Address:
    """Where the course is published; both are "" until it is."""

    repository: str = ""  # OWNER/REPO on GitHub
    tag: str = ""

    @property
    def url(self) -> str:
        return f"https://github.com/{self.repository}" if self.repository else ""

    def colab(self, page: Page) -> str:
        """The address that opens a page in Colab."""
        return f"{COLAB}/{self.repository}/blob/{self.tag}/notebooks/{page.name}.ipynb"

    def badge(self, page: Page) -> str:
        return f"[![Open in Colab]({BADGE})]({self.colab(page)})"


def stored(name: str, root: Path = paths.ROOT) -> dict:
    """One of the two JSON files. Raises ValueError with one sentence."""
    try:
        return json.loads((root / name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{name} cannot be read ({error}); bring it back with git checkout."
        ) from None


def store(name: str, what: dict, root: Path = paths.ROOT) -> None:
    """Write one of the two JSON files."""
    (root / name).write_text(json.dumps(what, indent=2) + "\n", "utf-8")


# -- cells ------------------------------------------------------------------------


def setup(at: Address) -> str:
    """The first code cell, the same on every page."""
    if not at.repository:
        return SETUP
    text = SETUP.replace("import os\n", "import os\nimport subprocess\n")
    text = text.replace("folder and make", "(in Colab: fetch it) and make")
    text = text.replace("places =", f'URL = "{at.url}"\nTAG = "{at.tag}"\nplaces =')
    text = text.replace("if not found:", f"{FETCH}if not found:")
    return text.replace(
        '"Clone this course first (in Colab: in a cell above this one)."',
        'f"Clone {URL} first, then open the page from the clone."',
    )


def header(text: str, page: Page, at: Address, seconds: int | None) -> str:
    """The first cell of a page; without ``seconds`` its own number stays."""
    body, promised = [], -(-seconds // 10) * 10 if seconds else None
    for n, line in enumerate(text.strip().splitlines()):
        if found := re.match(r"Runs on CPU(?: in ~(\d+) s)?", line):
            promised = promised or found[1]
        elif BADGE not in line and not (n == 0 and line.startswith("# ")):
            body.append(line)
    middle = re.sub(r"\n{3,}", "\n\n", "\n".join(body).strip())
    runs = f"Runs on CPU in ~{promised} s" if promised else "Runs on CPU"
    last = f"{runs} · GPU optional · downloads 0 MB · needs {page.needs}"
    badge = at.badge(page) if at.repository else ""
    return "\n\n".join(b for b in (f"# {page.full}", badge, middle, last) if b)


def navigation(page: Page, pages: list[Page], at: Address) -> str:
    """The last cell of a page: previous, next, map."""
    n = pages.index(page)
    ways = {"Previous": pages[n - 1 : n] if n else [], "Next": pages[n + 1 : n + 2]}
    here = [f"{word}: {p.link}" for word, found in ways.items() for p in found]
    there = [
        f"[{word.lower()}]({at.colab(p)})"
        for word, found in ways.items()
        for p in found
    ]
    if n:
        here.append(f"All pages: [the map]({pages[0].name}.ipynb)")
        there.append(f"[the map]({at.colab(pages[0])})")
    lines = [" · ".join(here)]
    if at.repository and there:
        lines.append("In Colab: " + " · ".join(there))
    return "\n\n".join(lines)


def table(pages: list[Page], folder: str, at: Address) -> str:
    """All pages as a Markdown table; ``folder`` stands before each file's name."""
    shown = bool(at.repository)
    rows = ["| | page | what you will be able to do |" + " |" * shown]
    rows.append("|---|---|---|" + "---|" * shown)
    for p in pages:
        row = f"| {p.number} | [{p.title}]({folder}{p.name}.ipynb) | {p.does} |"
        rows.append(row + f" [Colab]({at.colab(p)}) |" * shown)
    return "\n".join(rows)


def with_table(text: str, new: str) -> str:
    """A text whose first Markdown table is ``new``."""
    return re.sub(r"(?:^\|.*\n?)+", lambda _: new + "\n", text, count=1, flags=re.M)


# -- whole pages ------------------------------------------------------------------

WAYS = re.compile(r"\n*^(Previous|Next|Back to):? \[.*\s*\Z", re.M)


def refresh(book, page: Page, pages: list[Page], at: Address, seconds=None) -> None:
    """Write header, setup cell, navigation and map of one notebook in place.

    They are known by their ids: NN-title, NN-setup, NN-navigation, 00-map. A page that
    has none of these yet gets them.
    """
    head = part(book, page, "title", "markdown", r"# ", 0)
    head.source = header(head.source, page, at, seconds)
    part(book, page, "setup", "code", r"# Setup", 1).source = setup(at)
    for cell in [c for c in book.cells if c.cell_type == "markdown"]:
        if WAYS.search(cell.source) and cell.id != f"{page.number}-navigation":
            cell.source = WAYS.sub("", cell.source)  # from before this list
            if not cell.source.strip():
                book.cells.remove(cell)
        if cell.id == "00-map":
            cell.source = with_table(cell.source, table(pages, "", at)).rstrip()
    foot = part(book, page, "navigation", "markdown", None, len(book.cells))
    foot.source = navigation(page, pages, at)
    book.cells.remove(foot)
    book.cells.append(foot)


def part(book, page: Page, name: str, kind: str, begins: str | None, place: int):
    """The cell NN-name; else the first of its kind, if it begins so; else a new one."""
    name = f"{page.number}-{name}"
    found = [c for c in book.cells if c.get("id") == name]
    if not found and begins:
        found = [c for c in book.cells if c.cell_type == kind][:1]
        found = [c for c in found if re.match(begins, c.source)]
    if not found:
        found = [getattr(nbformat.v4, f"new_{kind}_cell")()]
        book.cells.insert(place, found[0])
    found[0].id = name
    return found[0]


def there(root: Path = paths.ROOT) -> list[Page]:
    """The pages of the list whose notebooks exist.

    Raises ValueError with one sentence for a notebook that has no line in the list.
    """
    files = {p.stem for p in (root / "notebooks").glob("*.ipynb")}
    if unknown := sorted(files - {p.name for p in PAGES}):
        raise ValueError(
            f"notebooks/{unknown[0]}.ipynb has no line in PAGES; add one to "
            "helpers/workshop/pages.py."
        )
    return [p for p in PAGES if p.name in files]


UNPUBLISHED = """\
In Colab: clone the repository in a first cell, then run the page
(`python -m helpers.workshop.publish OWNER/REPO TAG` writes the address, and then pages
fetch the rest by themselves)."""


def readme(text: str, pages: list[Page], at: Address) -> str:
    """README with its table and its address, each between a pair of comments."""
    where = f"--branch {at.tag} {at.url}" if at.repository else "ADDRESS"
    blocks = {
        "pages": table(pages, "notebooks/", at),
        "clone": f"```bash\ngit clone --depth 1 {where} pictures-and-words\n"
        "cd pictures-and-words\n```",
        "colab": UNPUBLISHED,
    }
    if at.repository:
        blocks["colab"] = (
            f"In Colab: {at.badge(pages[0])} (each page fetches the rest)."
        )
    for name, new in blocks.items():
        marks = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        text, count = re.subn(
            marks, lambda m, new=new: m[1] + new + m[2], text, flags=re.S
        )
        if count != 1:
            raise ValueError(
                f"README.md needs one <!-- {name} --> with an <!-- end --> below it."
            )
    return text


def write(root: Path = paths.ROOT) -> list[str]:
    """Write all of it into ``root``; returns the names of the files that changed.

    Raises ValueError with one sentence for a page that is not in the list, a notebook
    that is none, or a README without its marks.
    """
    at, measured = Address(**stored(PUBLISHED, root)), stored(SECONDS, root)
    pages = there(root)
    new: dict[Path, str] = {}
    for page in pages:
        path = root / "notebooks" / f"{page.name}.ipynb"
        try:
            book = nbformat.read(path, as_version=4)
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is no notebook ({error}).") from None
        refresh(book, page, pages, at, measured.get(page.name))
        new[path] = nbformat.writes(book) + "\n"
    path = root / "README.md"
    new[path] = readme(path.read_text("utf-8"), pages, at)
    changed = [p for p, text in new.items() if p.read_text("utf-8") != text]
    for p in changed:
        p.write_text(new[p], "utf-8")
    return [p.relative_to(root).as_posix() for p in changed]


def main() -> None:
    try:
        for name in write():
            print(f"{name} written")
    except (ValueError, OSError) as error:
        sys.exit(f"Not written: {error}")


if __name__ == "__main__":
    main()
