"""Build data/corpus from packages: ``python -m helpers.workshop.corpus.build``.

Reads the sources (sources.py), renders every drawing to 128 x 128 RGBA, drops what the
drop list names, takes near-duplicates between splits out of ``train``, and writes
WebDataset shards (KEY.webp + KEY.json) that are the same bytes every time.

Needs resvg-py and scikit-image besides requirements.txt.
"""

import argparse
import gzip
import hashlib
import io
import json
import random
import re
import tarfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ... import paths
from . import sources
from .concepts import Concepts, slug
from .packages import PACKAGES
from .readme import write_readme

SEED = 20_26
SIZE = 128  # pixels a side
SHARD = 4_000  # pictures a shard
NEAR = 0.03  # two pictures are near-duplicates below this RMS, 16 x 16 on white
TRAIN = set(
    """noto notov1 twemoji emojione2 streamline fxemoji fluentflat fluent3d openclipart
    gameicons""".split()
)
PHOTOS = {"tuxpaint", "gcompris", "skimage"}
LOSSY = {"fluent3d": 85, "openclipart": 78, "tuxpaint": 90, "gcompris": 90}
LOSSY |= {"skimage": 90}
MOST_PER_NAME = 12  # clip art repeats some words dozens of times
LARGE = {  # shown in the notebooks at full size, credited in data/README.md
    "skimage:chelsea.png": "cat",
    "gcompris:explore_farm_animals/animals/dog": "dog",
    "skimage:astronaut.png": "human",
    "skimage:coffee.png": "coffee",
    "skimage:rocket.jpg": "rocket",
    "skimage:camera.png": "photographer",
    "gcompris:explore_farm_animals/animals/horse": "horse",
    "gcompris:explore_farm_animals/animals/cow": "cow",
    "gcompris:categorization/images/renewable/windmill5": "windmill",
    "gcompris:categorization/images/monuments/tajMahal": "taj_mahal",
    "gcompris:categorization/images/monuments/eiffelTower": "eiffel_tower",
    "gcompris:explore_world_animals/animals/panda": "panda",
}


def fit(image: Image.Image, size: int, trim: bool, crop: bool) -> Image.Image:
    """Bring a picture to size x size RGBA: trim empty borders, crop or pad, resize."""
    image = image.convert("RGBA")
    if trim and image.getchannel("A").getbbox():
        image = image.crop(image.getchannel("A").getbbox())
    w, h = image.size
    if crop:
        side = min(w, h)
        left, top = (w - side) // 2, (h - side) // 2
        image = image.crop((left, top, left + side, top + side))
    scale = size / max(image.size)
    to = tuple(max(1, round(s * scale)) for s in image.size)
    if to != image.size:  # premultiplied, so that hidden colours do not leak
        image = image.convert("RGBa").resize(to, Image.LANCZOS).convert("RGBA")
    if to != (size, size):
        canvas = Image.new("RGBA", (size, size), (255, 255, 255, 0))
        canvas.paste(image, ((size - to[0]) // 2, (size - to[1]) // 2))
        image = canvas
    return image


def render(record: dict) -> tuple[bytes, np.ndarray] | None:
    """One record -> (WebP bytes, 16 x 16 x 3 thumbnail on white), None if blank."""
    source = record["source"]
    if "svg" in record:
        import resvg_py

        text = re.sub(r"<!DOCTYPE[^>\[]*(\[.*?\])?\s*>", "", record["svg"], flags=re.S)
        entities = dict(re.findall(r'<!ENTITY\s+(\w+)\s+"([^"]*)"', record["svg"]))
        for name, value in entities.items():
            text = text.replace(f"&{name};", value)
        width = 2 * SIZE if source == "openclipart" else SIZE
        try:
            raw = resvg_py.svg_to_bytes(
                svg_string=text, width=width, dpi=90, skip_system_fonts=True
            )
        except ValueError:
            return None
        image = Image.open(io.BytesIO(raw))
    else:
        image = Image.open(io.BytesIO(record["raw"]))
    trim = source in ("openclipart", "tuxpaint")
    image = fit(image, SIZE, trim, crop=source in ("gcompris", "skimage"))
    alpha = np.asarray(image.getchannel("A"))
    if (alpha > 25).mean() < 0.004:
        return None
    if alpha.min() == 255:
        image = image.convert("RGB")
    out = io.BytesIO()
    if source in LOSSY:
        image.save(out, "WEBP", quality=LOSSY[source], method=6, alpha_quality=90)
    else:
        image.save(out, "WEBP", lossless=True, quality=80, method=4)
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    small = white.convert("RGB").resize((16, 16), Image.BOX)
    return out.getvalue(), np.asarray(small, dtype=np.float32) / 255


def collect() -> tuple[list[dict], Counter]:
    """All records that the drop list leaves, and a count of what it took."""
    concepts = Concepts()
    records = [
        *sources.emoji_records(concepts),
        *sources.game_icon_records(concepts),
        *sources.openclipart_records(concepts),
        *sources.photo_records(concepts),
    ]
    path = Path(__file__).with_name("drop_list.json")
    drop = {
        i: why for why, ids in json.loads(path.read_text("utf-8")).items() for i in ids
    }
    gone = Counter(drop[r["id"]] for r in records if r["id"] in drop)
    return [r for r in records if r["id"] not in drop], gone


def draw_unseen(records: list[dict]) -> set[str]:
    """A tenth of the emoji concepts, whole families at a time, by a seeded shuffle."""
    noto = {r["concept"]: r["family"] for r in records if r["source"] == "noto"}
    families = sorted(set(noto.values()))
    random.Random(SEED).shuffle(families)
    chosen, count = set(), 0
    for family in families:
        if count >= len(noto) / 10:
            break
        chosen.add(family)
        count += sum(f == family for f in noto.values())
    return chosen


def near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """For each row of a (N, D): is any row of b (M, D) closer than NEAR (RMS)?"""
    hit = np.zeros(len(a), bool)
    bb = (b**2).sum(1)
    for at in range(0, len(a), 2048):
        part = a[at : at + 2048]
        d2 = (part**2).sum(1)[:, None] + bb[None] - 2 * part @ b.T
        hit[at : at + 2048] = (d2 / a.shape[1]).min(1) < NEAR**2
    return hit


def split_records(records: list[dict], thumbs: np.ndarray):
    """Give every record its split; near-duplicates of test pictures leave train."""
    unseen = draw_unseen(records)
    words = {slug(r["name"]) for r in records if r["family"] in unseen}
    gone = Counter()
    for r in records:
        hidden = r["family"] in unseen or slug(r["name"]) in words
        if r["source"] in PHOTOS:
            r["split"] = "photos"
        elif r["source"] == "openmoji":
            r["split"] = "unseen_artist"
        elif hidden and r["source"] in ("gameicons", "openclipart"):
            r["split"] = None
            gone["names an unseen concept"] += 1
        else:
            r["split"] = "unseen_concept" if hidden else "train"
    flat = thumbs.reshape(len(thumbs), -1)
    train = np.array([r["split"] == "train" for r in records])
    test = np.array([r["split"] not in ("train", None) for r in records])
    where = np.flatnonzero(train)
    for i in where[near(flat[where], flat[test])]:
        records[i]["split"] = None
        gone["near-duplicate of a test picture"] += 1
    return gone


def write_shards(records: list[dict], folder: Path) -> dict:
    """Write one group of shards per split; return {file: [count, bytes, sha256]}."""
    files = {}
    for old in folder.glob("*.tar.gz"):
        old.unlink()
    for split in ("train", "unseen_artist", "unseen_concept", "photos"):
        rows = [r for r in records if r["split"] == split]
        rows.sort(key=lambda r: r["id"])
        random.Random(SEED).shuffle(rows)
        for number, at in enumerate(range(0, len(rows), SHARD)):
            raw = io.BytesIO()
            with tarfile.open(
                fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT
            ) as tar:
                for r in rows[at : at + SHARD]:
                    key = re.sub(r"[^a-z0-9]+", "-", r["id"].lower()).strip("-")
                    text = json.dumps(card(r), ensure_ascii=False, sort_keys=True)
                    for ending, body in (("webp", r["webp"]), ("json", text.encode())):
                        info = tarfile.TarInfo(f"{key}.{ending}")
                        info.size = len(body)
                        tar.addfile(info, io.BytesIO(body))
            path = folder / f"{split}-{number:04d}.tar.gz"
            path.write_bytes(gzip.compress(raw.getvalue(), 9, mtime=0))
            body = path.read_bytes()
            digest = hashlib.sha256(body).hexdigest()
            files[path.name] = [len(rows[at : at + SHARD]), len(body), digest]
    return files


def card(r: dict) -> dict:
    """What KEY.json holds: the record without its pixels and without empty fields."""
    keep = """id concept family name keywords name_fa keywords_fa source group licence
    author link fine coarse""".split()
    row = {k: r[k] for k in keep if r.get(k)}
    # a lone gender sign has nothing left once its gender is taken off
    row["family"] = r["family"] or r["concept"]
    return row | {"style": sources.STYLES[r["source"]]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=paths.DATA)
    try:
        out = paths.given(parser.parse_args().out)
        for name in ("corpus", "photos"):
            paths.folder(out / name)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    records, gone = collect()
    with ProcessPoolExecutor() as pool:
        work = pool.map(render, records, chunksize=64)
        shown = list(tqdm(work, total=len(records), desc="drawing", unit="picture"))
    kept, thumbs, seen, names = [], [], set(), Counter()
    for r, drawn in zip(records, shown, strict=True):
        if drawn is None:
            gone["blank or unreadable"] += 1
            continue
        r["webp"] = drawn[0]
        key = (r["source"] in PHOTOS, hashlib.sha256(drawn[1].tobytes()).hexdigest())
        if r["source"] in ("openclipart", "gameicons"):
            names[r["source"], r["name"]] += 1
            if key in seen:
                gone["exact copy"] += 1
                continue
            if names[r["source"], r["name"]] > MOST_PER_NAME:
                gone[f"over {MOST_PER_NAME} of one name"] += 1
                continue
        seen.add(key)
        kept.append(r)
        thumbs.append(drawn[1])
    gone += split_records(kept, np.stack(thumbs))
    classes = json.loads(
        Path(__file__).with_name("photo_classes.json").read_text("utf-8")
    )
    for r in kept:
        r["fine"], r["coarse"] = classes.get(r["id"], (None, None))
    files = write_shards(kept, out / "corpus")
    for r in kept:
        if r["id"] in LARGE:
            image = Image.open(io.BytesIO(r["raw"])).convert("RGB")
            image.thumbnail((512, 512), Image.LANCZOS)
            image.save(out / "photos" / f"{LARGE[r['id']]}.jpg", quality=90)
    manifest = {
        "seed": SEED,
        "size": SIZE,
        "packages": {k: [p.label, p.sha256] for k, p in sorted(PACKAGES.items())},
        "dropped": dict(sorted(gone.items())),
        "shards": files,
        "pictures": {
            split: dict(
                sorted(
                    Counter(r["source"] for r in kept if r["split"] == split).items()
                )
            )
            for split in ("train", "unseen_artist", "unseen_concept", "photos")
        },
    }
    path = out / "corpus" / "manifest.json"
    path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
    large = {LARGE[r["id"]]: r for r in kept if r["id"] in LARGE}
    write_readme(out, manifest, [r for r in kept if r["split"] == "photos"], large)
    for split, table in manifest["pictures"].items():
        print(f"{split:16s} {sum(table.values()):6,d} pictures")
    total = sum(size for _, size, _ in files.values())
    print(f"{len(files)} shards, {total / 1e6:.1f} MB; dropped: {dict(gone)}")


if __name__ == "__main__":
    main()
