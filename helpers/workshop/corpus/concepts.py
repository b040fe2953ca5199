"""The words of every concept: names and keywords, English and Persian, from CLDR.

Emoji are keyed by code point, never by chat short code (short codes put a ribbon under
"person bowing").
"""

import json
import re
import unicodedata

from .packages import fetch

LICENCES = {
    "noto": ("Apache-2.0", "Google"),
    "notov1": ("Apache-2.0", "Google"),
    "twemoji": ("CC-BY-4.0", "Twitter and contributors"),
    "openmoji": ("CC-BY-SA-4.0", "OpenMoji"),
    "emojione2": ("CC-BY-4.0", "EmojiOne 2.3 / EmojiTwo"),
    "streamline": ("CC-BY-4.0", "Streamline (Webalys)"),
    "fxemoji": ("CC-BY-4.0", "Mozilla Foundation"),
    "fluentflat": ("MIT", "Microsoft"),
    "fluent3d": ("MIT", "Microsoft"),
    "gameicons": ("CC-BY-3.0", "game-icons.net authors"),
    "openclipart": ("public domain", "Open Clip Art Library"),
    "tuxpaint": ("GPL-2.0-or-later", "Bill Kendrick and Tux Paint contributors"),
}
SLANG = set(
    """af ayy bae based bestie billionaire bff boo brb bro bruh btw cringe dead dope
    fam fml fosho fr fyi gay gg goat goals gtfo hater homie hubba hunny ily imo irl k
    lesbian lgbt lgbtq lit lmao lmfao lol lolz mwah noob obvs omg omw playa pff pfft
    queer rad rofl roflmao sassy savage sexy sic slay smooch ship thirsty tho
    transgender tfw ugh wtf xoxo yas yeet yikes yolo ya yassss stan swag swole sus woke
    zaddy""".split()
)
GENDER = {"2640", "2642"}
PEOPLE = {"1f468": "1f9d1", "1f469": "1f9d1", "1f466": "1f9d2", "1f467": "1f9d2"}
PEOPLE |= {"1f474": "1f9d3", "1f475": "1f9d3"}


def slug(text: str) -> str:
    """Lower-case ASCII words joined by "-": the spelling icon packages use."""
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("’", "")).strip("-")


def code(text: str) -> str:
    """A code-point key: lower-case hex joined by "-", without variation selectors."""
    parts = [p.lstrip("0") or "0" for p in text.lower().split("-")]
    return "-".join(p for p in parts if p != "fe0f")


def family(hex_code: str) -> str:
    """One key for the man / woman / person and left / right versions of a concept."""
    parts = [p for p in hex_code.split("-") if p not in GENDER]
    parts = [PEOPLE.get(p, p) for p in parts]
    text = "-".join(parts).replace("200d-27a1", "").replace("200d-200d", "200d")
    return re.sub(r"(-200d)+-?$", "", text).strip("-")


def clean_persian(text: str) -> str:
    """Arabic kaf and yeh become the Persian letters; stray full stops go."""
    text = text.replace("ك", "ک").replace("ي", "ی").replace("ى", "ی")
    return text.strip(" .\u200c\n")


def singular(word: str) -> str:
    """The singular of a folder name: "fishes" -> "fish", "hobbies" -> "hobby"."""
    if word in ("christmas", "clothes"):
        return word
    word = re.sub(r"ies$", "y", word)
    return re.sub(r"(?<=sh)es$|(?<!s)s$", "", word)


class Concepts:
    """Names and keywords of every emoji concept, English and Persian, from CLDR."""

    def __init__(self):
        cldr = {"en": {}, "fa": {}}
        for package, part in (
            ("cldr", "annotations"),
            ("cldr-derived", "annotationsDerived"),
        ):
            for lang, table in cldr.items():
                path = fetch(package) / f"package/{part}/{lang}/annotations.json"
                found = json.loads(path.read_text("utf-8"))
                for text, row in found[part]["annotations"].items():
                    key = code("-".join(f"{ord(c):x}" for c in text))
                    table[key] = (row.get("tts", [""])[0], row.get("default", []))
        base = fetch("emojibase") / "package"
        meta = json.loads((base / "meta/groups.json").read_text("utf-8"))
        self.rows = {}
        for row in json.loads((base / "en/data.json").read_text("utf-8")):
            group = meta["groups"].get(str(row.get("group")), "component")
            sub = meta["subgroups"].get(str(row.get("subgroup")), "")
            key = code(row["hexcode"])
            if group in ("component", "flags") or key not in cldr["en"]:
                continue
            if sub in ("alphanum", "keycap", "skin-tone") or "20e3" in key:
                continue
            if (sub == "family" and len(key.split("-")) > 1) or "family" in row[
                "label"
            ]:
                continue
            name, keywords = cldr["en"][key]
            fa_name, fa_keywords = cldr["fa"].get(key, ("", []))
            self.rows[key] = {
                "name": name,
                "keywords": [
                    k for k in keywords if k.lower() not in SLANG and k != name
                ][:8],
                "name_fa": clean_persian(fa_name),
                "keywords_fa": [clean_persian(k) for k in fa_keywords][:6],
                "group": group,
                "family": family(key),
            }
        self.by_name = {}
        for key, row in self.rows.items():
            for name in (row["name"], row["name"].replace(":", "")):
                self.by_name.setdefault(slug(name), key)
        for key in self.rows:  # the older Unicode names, for the older sets
            if "-" not in key:
                old = unicodedata.name(chr(int(key, 16)), "")
                self.by_name.setdefault(slug(old), key)
        self.compact = {k.replace("-", ""): v for k, v in self.by_name.items()}

    def record(self, key: str, source: str, suffix: str = "") -> dict:
        licence, author = LICENCES[source]
        row = dict(self.rows[key], concept=key, licence=licence, author=author)
        return dict(row, id=f"{source}:{key}{suffix}", source=source)
