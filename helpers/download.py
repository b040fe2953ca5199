"""Fetch one file safely: progress, resume, mirrors, and a checked sha256.

The bytes come through huggingface_hub; what this adds is the order of mirrors, the
check before use, and one clear sentence when nothing worked.
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from . import paths

TRIES = 3  # per mirror; a server that is busy often answers the second time
PAUSE = 1.0  # seconds between tries


def sha256(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """One address of a file; ``sha256`` None means: the hash that the hub states."""

    url: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        """A file name that is unique to this address' folder and file."""
        parts = self.url.split("?")[0].split("/")
        if "huggingface.co" in parts or "resolve" in parts:
            at = parts.index("resolve")
            return "--".join([*parts[at - 2 : at], parts[-1]])
        return parts[-1]

    @property
    def host(self) -> str:
        return self.url.split("/")[2]


def fetch(sources: list[Source], folder: Path | None = None) -> Path:
    """The path of a file, from the cache or from the first mirror that has it.

    A file is used only if its sha256 is right. Raises ConnectionError with one sentence
    that names the file, what each mirror answered, and what to do.
    """
    folder = Path(folder) if folder else paths.cache()
    for source in sources:
        path = folder / source.file
        if path.is_file() and sha256(path) == (source.sha256 or noted(path)):
            return path
    reasons = []
    for source in sources:
        try:
            return fetch_one(source, folder / source.file)
        except Refused as error:
            reasons.append(f"{source.host}: {error}")
    names = " or ".join(dict.fromkeys(s.file for s in sources))
    raise ConnectionError(
        f"Could not get {names} ({'; '.join(reasons)}). Check the network and try "
        f"again, or put the file into {folder} yourself."
    )


class Refused(Exception):
    """Why one mirror did not give the file."""


def noted(path: Path) -> str | None:
    """The sha256 written beside a file when it was fetched."""
    note = path.with_name(path.name + ".sha256")
    return note.read_text().strip() if note.is_file() else None


def fetch_one(source: Source, path: Path) -> Path:
    """Fetch from one address, check, and move into place. Raises Refused.

    A stopped download (Ctrl-C) leaves a ``.part`` that the next call continues; a
    failed one leaves nothing.
    """
    part = path.with_name(path.name + ".part")
    reason = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE)
        try:
            goal = source.sha256 or stated(source)
            receive(source.url, part)
        except Exception as error:  # the hub's errors change names between versions
            reason = explain(error)
            if "404" in reason:
                break
            continue
        if (found := sha256(part)) == goal:
            part.replace(path)
            path.with_name(path.name + ".sha256").write_text(found + "\n")
            return path
        reason = describe(part)
        part.unlink()
    part.unlink(missing_ok=True)
    raise Refused(reason)


def receive(url: str, part: Path) -> None:
    """Write the file at ``url`` to ``part``, from where an earlier call stopped."""
    from huggingface_hub.file_download import http_get

    with open(part, "ab") as file:
        at = file.tell()
        http_get(url, file, resume_size=at)


def stated(source: Source) -> str:
    """The sha256 that the hub states for a file (the ETag of a large file)."""
    from huggingface_hub import get_hf_file_metadata

    tag = get_hf_file_metadata(source.url).etag or ""
    if len(tag) != 64:
        raise OSError("it states no sha256")
    return tag


def describe(part: Path) -> str:
    """What a file with the wrong hash seems to be."""
    with open(part, "rb") as file:
        start = file.read(200).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it sent an HTML page instead of the file"
    size = part.stat().st_size
    return f"the sha256 of the {size / 1e6:.1f} MB it sent is wrong"


def explain(error: Exception) -> str:
    """One short reason for a failed request."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status:
        return f"it answered {status}"
    text = (str(error) or type(error).__name__).split("\n")[0]
    if "Consistency" in text:
        return "the connection broke before the end"
    return f"no answer ({text[:70]})"
