"""Write data/README.md: what is in data/, from where, under which licence."""

from pathlib import Path

from .packages import PACKAGES

WORDS = {
    "noto": "Copyright 2013 Google, Inc. All Rights Reserved. Apache License 2.0 "
    "(licences/Apache-2.0.txt). Rasterised.",
    "notov1": "Copyright 2013 Google, Inc. All Rights Reserved. Apache License 2.0 "
    "(licences/Apache-2.0.txt). Rasterised.",
    "twemoji": "Twemoji, (c) Twitter, Inc and other contributors, CC BY 4.0, "
    "https://github.com/jdecked/twemoji. Rasterised.",
    "openmoji": "All emojis designed by OpenMoji, the open-source emoji and icon "
    "project. CC BY-SA 4.0, https://openmoji.org. Rasterised; in shards of their own.",
    "emojione2": "EmojiOne 2.3 / EmojiTwo, CC BY 4.0, "
    "https://github.com/EmojiTwo/emojitwo. Rasterised.",
    "streamline": "Streamline Emojis by Streamline (Webalys), CC BY 4.0, "
    "https://github.com/webalys-hq/streamline-vectors. Rasterised.",
    "fxemoji": "(c) 2015 Mozilla Foundation, FxEmojis visual design, CC BY 4.0 (only "
    "its code is Apache-2.0). Rasterised.",
    "fluentflat": "Copyright (c) Microsoft Corporation, MIT (licences/MIT.txt). "
    "Rasterised.",
    "fluent3d": "Copyright (c) Microsoft Corporation, MIT (licences/MIT.txt), packaged "
    "by LobeHub (MIT); only code points of Microsoft's own release. Resized.",
    "gameicons": "Icons made by Lorc, Delapouite, John Colburn, Felbrigg, John Redman, "
    "Carl Olsen, Sbed, PriorBlue, Willdabeast, Viscious Speed, Lord Berandas, "
    "Irongamer, HeavenlyDog and contributors, https://game-icons.net, CC BY 3.0. "
    "Rasterised.",
    "openclipart": "Open Clip Art Library, Creative Commons Public Domain Dedication; "
    "the author of each picture stands in its KEY.json. Rasterised.",
    "tuxpaint": "Copyright 2002-2022 Bill Kendrick and contributors, Tux Paint stamps, "
    "GPL-2.0-or-later (licences/GPL-2.txt). Originals: the Debian source package "
    "tuxpaint-stamps. Resized; in the photos shard only.",
    "gcompris": "GCompris photographs, each with its own licence: listed below. "
    "Cropped and resized.",
    "skimage": "scikit-image sample pictures, CC0 or public domain: listed below. "
    "Cropped and resized.",
}
HEAD = """# What is in `data/`

Written by `python -m helpers.workshop.corpus.build`; do not edit by hand.

- `corpus/`: pictures with captions, 128 px, as WebDataset shards (`KEY.webp` +
  `KEY.json`, gzipped tar). `train` holds permissive licences only; share-alike and GPL
  sources stay in evaluation shards of their own.
- `models/`: the small models that we trained on `train` (their cards are inside), and
  the merges of OpenAI's tokenizer.
- `vectors/`: what our two CLIPs say of the pictures that no training saw, kept to save
  you the wait (`python -m helpers.workshop.vectors` makes them again).
- `photos/`: a few larger photographs for the notebooks, credited at the end.
- `prompts/`: the 80 and the 7 sentence templates of OpenAI's CLIP (MIT), and the names
  of all that DALL-E 2 learnt to draw (`python -m helpers.workshop.corpus.names`).
- `readme/`: the figures of the course's README, drawn by the models here
  (`python -m helpers.workshop.readme_pictures`).
- `licences/`: the licence texts that must travel with the files.

Captions: Unicode CLDR 48.2.0 annotations, English and Persian. UNICODE LICENSE V3,
Copyright (c) 2004-2026 Unicode, Inc. (licences/Unicode-3.0.txt). Groups: emojibase-data
17.0.0, MIT, (c) 2017-2019 Miles Johnson.
"""
MODELS = "\n" + Path(__file__).with_name("models.md").read_text("utf-8")


def write_readme(out: Path, manifest: dict, photos: list[dict], large: dict) -> None:
    """Write ``out/README.md`` from the manifest and the credits of the photographs."""
    pictures = manifest["pictures"]
    lines = [HEAD, "## Pictures", ""]
    lines += ["| source | package | train | artist | concept | photos | licence |"]
    lines += ["|---|---|---:|---:|---:|---:|---|"]
    splits = ("train", "unseen_artist", "unseen_concept", "photos")
    for source, words in WORDS.items():
        counts = " | ".join(str(pictures[s].get(source, "")) for s in splits)
        package = PACKAGES[source].label
        lines.append(f"| {source} | {package} | {counts} | {words} |")
    totals = " | ".join(f"{sum(pictures[s].values()):,}" for s in splits)
    lines.append(f"| **all** | | {totals} | |")
    lines += ["", "What was left out, and why:", ""]
    lines += [f"- {why}: {n}" for why, n in manifest["dropped"].items()]
    lines += [MODELS, "## Larger photographs (`photos/`)", ""]
    for name, r in sorted(large.items()):
        link = f", <{r['link']}>" if r.get("link") else ""
        lines.append(f"- `{name}.jpg`: {r['author']}, {r['licence']}{link}")
    lines += ["", "## Photographs with a credit of their own (`photos` shard)", ""]
    for r in sorted(photos, key=lambda r: r["id"]):
        if r["source"] != "tuxpaint":
            link = f", <{r['link']}>" if r.get("link") else ""
            lines.append(f"- {r['id']}: {r['author']}, {r['licence']}{link}")
    (out / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
