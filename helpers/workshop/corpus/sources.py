"""Read every source of the corpus into one list of records, before any rendering.

A record is a dict: id, source, name, keywords, optional name_fa and keywords_fa,
concept, family, group, licence, author, and either ``svg`` (text) or ``raw`` (bytes).
Emoji sets are joined by code point (concepts.py).
"""

import json
import re
from pathlib import Path

from .concepts import LICENCES, Concepts, clean_persian, code, singular, slug
from .packages import fetch, read_qt_resources

HERE = Path(__file__).parent
STYLES = {
    "noto": "emoji",
    "notov1": "blob emoji",
    "twemoji": "flat emoji",
    "openmoji": "outline emoji",
    "emojione2": "cartoon emoji",
    "streamline": "outlined cartoon emoji",
    "fxemoji": "muted flat emoji",
    "fluentflat": "bold flat emoji",
    "fluent3d": "3-D emoji",
    "gameicons": "black silhouette icon",
    "openclipart": "clip art",
    "tuxpaint": "photo",
    "gcompris": "photo",
    "skimage": "photo",
}
OPENCLIPART_FOLDERS = set(
    """animals buildings containers decorations education electronics food office people
    plants recreation science tools transportation unsorted""".split()
)
FXEMOJI = {  # names that only a person could match, checked by eye
    "2hearts": "1f495",
    "angry": "1f620",
    "chilipepper": "1f336",
    "crying": "1f622",
    "hearteyes": "1f60d",
    "kisseyes": "1f619",
    "openmouth": "1f62e",
    "pensive": "1f614",
    "raincloud": "1f327",
    "running": "1f3c3",
    "sleeping": "1f634",
    "snowcloud": "1f328",
    "tennisball": "1f3be",
    "tie": "1f454",
    "walking": "1f6b6",
    "weary": "1f629",
}


def icon_svg(icons: dict, name: str) -> str:
    """The full SVG text of one Iconify icon."""
    icon = icons["icons"][name]
    w, h = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {w} {h}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}" '
        f'width="{w}" height="{h}">{icon["body"]}</svg>'
    )


def emoji_records(concepts: Concepts):
    names = dict(concepts.by_name)
    mit = set()
    for source in ("noto", "twemoji", "openmoji", "fluentflat"):
        folder = fetch(source) / "package"
        icons = json.loads((folder / "icons.json").read_text("utf-8"))
        for raw, name in json.loads((folder / "chars.json").read_text("utf-8")).items():
            key = code(raw)
            if source == "fluentflat":
                mit.add(key)
            if key in concepts.rows and name in icons["icons"]:
                names.setdefault(name, key)
                record = concepts.record(key, source)
                yield dict(record, svg=icon_svg(icons, name))
    for path in sorted((fetch("fluent3d") / "package/assets").glob("*.webp")):
        key = code(path.stem)
        if key in concepts.rows and key in mit:
            yield dict(concepts.record(key, "fluent3d"), raw=path.read_bytes())
    for source in ("notov1", "emojione2", "streamline", "fxemoji"):
        icons = json.loads((fetch(source) / "package/icons.json").read_text("utf-8"))
        aliases = {}
        for alias, row in icons.get("aliases", {}).items():
            aliases.setdefault(row["parent"], []).append(alias)
        taken = {}
        for name in sorted(icons["icons"]):
            if "skin-tone" in name:
                continue
            key = None
            for spelling in [name, *aliases.get(name, [])]:
                bare = re.sub(r"-\d$", "", spelling) if source == "streamline" else "?"
                key = key or names.get(spelling) or names.get(bare)
                if source == "fxemoji":
                    key = key or concepts.compact.get(spelling) or FXEMOJI.get(spelling)
            if key not in concepts.rows:
                continue
            count = taken[key] = taken.get(key, -1) + 1
            if count and source != "streamline":
                continue
            suffix = f".{count}" if count else ""
            yield dict(concepts.record(key, source, suffix), svg=icon_svg(icons, name))


def word_record(source, item, name, keywords, concepts, **more):
    """A record whose concept is its name (an emoji concept if one has that name)."""
    licence, author = LICENCES.get(source, ("", ""))
    key = concepts.by_name.get(slug(name))
    row = {"id": f"{source}:{item}", "source": source, "name": name}
    row |= {"keywords": keywords, "concept": key or f"w:{slug(name)}"}
    row |= {"family": concepts.rows[key]["family"] if key else f"w:{slug(name)}"}
    row |= {"group": concepts.rows[key]["group"] if key else source}
    row |= {"licence": licence, "author": author}
    if key:
        row["name_fa"] = concepts.rows[key]["name_fa"]
    return row | {k: v for k, v in more.items() if v}


def game_icon_records(concepts: Concepts):
    icons = json.loads((fetch("gameicons") / "package/icons.json").read_text("utf-8"))
    for name in sorted(icons["icons"]):
        svg = icon_svg(icons, name).replace("currentColor", "#000000")
        words = name.replace("-", " ")
        yield word_record("gameicons", name, words, [], concepts, svg=svg)


def openclipart_records(concepts: Concepts):
    root = fetch("openclipart") / "usr/share/openclipart/svg"
    rows, titles = [], {}
    for path in sorted(root.rglob("*.svg")):
        item = path.relative_to(root).as_posix()
        if item.split("/")[0] not in OPENCLIPART_FOLDERS or path.is_symlink():
            continue
        text = path.read_text("utf-8", errors="replace")
        if "PublicDomain" not in text or "GPL" in text:
            continue
        title = re.search(r"<dc:title>([^<]+)</dc:title>", text)
        author = re.findall(r"<dc:title>([^<]+)</dc:title>", text)[1:2]
        words = [w.strip().lower() for w in re.findall(r"<rdf:li>([^<]+)<", text)]
        if {"lemon_theme_icon", "networksym", "flag", "card"} & set(words):
            continue
        words = [w for w in words if not re.match(r"hash|0x|unsorted|\W", w)]
        title = title.group(1).strip() if title else ""
        titles[title.lower()] = titles.get(title.lower(), 0) + 1
        rows.append((item, title, words, author, text))
    for item, title, words, author, text in rows:
        stem = re.sub(r"_(?:\d+|r)$", "", Path(item).stem.lower())
        by = author[0].strip() if author else ""
        if (
            "architett" in stem + by.lower() + " ".join(words) or not title.isascii()
        ):  # Italian titles
            continue
        if not title or titles[title.lower()] >= 3:
            title = re.sub(r"_[a-z]+_[a-z.]*_?\d*$", "", stem)
        name = re.sub(r"[_\-]+", " ", title.lower())
        name = re.sub(
            r"\s*#?\d+$|\s*\(.*\)|[.:;!]+$|\b(bw|cln|v\d)\b", "", name
        ).strip()
        if not (2 < len(name) < 40) or not re.search(r"[a-z]{3}", name):
            continue
        name = re.sub(r"\s+", " ", name)
        keywords = [w for w in dict.fromkeys(words) if w != name and w.isascii()][:6]
        more = {"svg": text, "author": by}
        yield word_record("openclipart", item, name, keywords, concepts, **more)


def photo_records(concepts: Concepts):
    """Real photographs: Tux Paint, GCompris and scikit-image (tests only)."""
    classes = json.loads((HERE / "photo_classes.json").read_text("utf-8"))
    root = fetch("tuxpaint") / "usr/share/tuxpaint/stamps"
    for identity in sorted(k for k in classes if k.startswith("tuxpaint:")):
        path = root / identity.split(":")[1]
        lines = path.with_suffix(".txt").read_text("utf-8", "replace").splitlines()
        name = re.sub(r"\(.*?\)", "", lines[0]).split(". ")[0].split(", ")[0]
        name = re.sub(r"^(an?|the|some|one)\s+", "", name.strip(" .!").lower())
        fa = [x[8:] for x in lines if x.startswith("fa.utf8=")]
        more = {"raw": path.read_bytes()}
        if fa:
            more["name_fa"] = clean_persian(fa[0])
        item = identity.split(":")[1]
        words = [singular(w) for w in item.split("/")[:-1]][:2]
        yield word_record("tuxpaint", item, name, words, concepts, **more)
    yield from gcompris_records(concepts, classes)
    facts = {
        "chelsea.png": ("cat", "CC0-1.0", "Stefan van der Walt"),
        "coffee.png": ("cup of coffee", "CC0-1.0", "Rachel Michetti"),
        "astronaut.png": ("astronaut", "public domain", "NASA"),
        "rocket.jpg": ("rocket launch", "CC0-1.0", "SpaceX"),
        "camera.png": ("photographer with a camera", "CC0-1.0", "Lav Varshney"),
        "coins.png": ("coins", "public domain", "Brooklyn Museum"),
        "brick.png": ("brick wall", "CC0-1.0", "CC0Textures"),
    }
    for item, (name, licence, author) in facts.items():
        raw = (fetch("skimage") / "skimage/data" / item).read_bytes()
        more = {"raw": raw, "licence": licence, "author": author}
        yield word_record("skimage", item, name, [], concepts, **more)


def gcompris_records(concepts: Concepts, classes: dict):
    bundles, credits = {}, {}
    root = fetch("gcompris") / "usr/share/gcompris-qt/rcc"
    wanted = sorted(k for k in classes if k.startswith("gcompris:"))
    for bundle in sorted({k.split(":")[1].split("/")[0] for k in wanted}):
        for path, body in read_qt_resources(root / f"{bundle}.rcc").items():
            short = path.split("/activities/")[-1].replace("/resource/", "/")
            bundles[short] = body
            if path.endswith("README"):
                credits |= read_credits(body.decode(), short.rsplit("/", 1)[0])
    for identity in wanted:
        item = identity.split(":")[1]
        stem = Path(item).name
        name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", stem).lower()
        name = re.sub(r"\s*\d+$", "", name)
        name = name.replace("of india", " of india").replace("  ", " ")
        author, licence, link = credits.get(f"{item}.webp", ("", "", ""))
        if not licence:
            continue  # one photograph (Aula Palatina) has none: not used
        more = {"raw": bundles[f"{item}.webp"], "licence": licence, "author": author}
        word = item.split("/")[-2] if "/images/" in item else ""
        keywords = [singular(word)] if word not in ("", "others") else []
        yield word_record(
            "gcompris", item, name.strip(), keywords, concepts, link=link, **more
        )


def read_credits(text: str, folder: str) -> dict:
    """Read a GCompris README: {file: (author, licence, source link)}."""
    found = {}
    for block in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(Copyright|License|Source):\s*(.+)$", block, re.M))
        files = re.findall(
            r"[\w./-]+\.webp", block.replace("screDriver", "screwDriver")
        )
        for file in files:
            found[f"{folder}/{file.removeprefix('./')}"] = (
                fields.get("Copyright", "").strip(),
                fields.get("License", "").strip(),
                fields.get("Source", "").strip(),
            )
    return found
