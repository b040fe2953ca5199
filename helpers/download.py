"""Fetch one file safely: mirrors, resume, a checked sha256, one sentence on failure.

Files of the hub come through ``hf_hub_download``; all others by plain HTTP, which can
go on where a download stopped. Several processes may ask for the same file at once.
"""

import errno
import hashlib
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib import error, parse, request

from filelock import FileLock
from tqdm.auto import tqdm

from . import paths

TRIES = 3  # per mirror; a server that is busy often answers the second time
PAUSE = 1.0  # seconds between tries
REACH = 2.5  # seconds in which a host must let itself be reached
STALL = 15.0  # seconds without a byte after which a mirror is given up
PIECE = 1 << 20  # bytes read at a time
HUB = re.compile(r"(https?://[^/]+)/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def sha256(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
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
        if found := HUB.fullmatch(self.url.split("?")[0]):
            return "--".join([*found[2].split("/"), found[4].split("/")[-1]])
        return self.url.split("?")[0].split("/")[-1]

    @property
    def host(self) -> str:
        return parse.urlsplit(self.url).netloc


class Refused(Exception):
    """Why one mirror did not give the file."""


def fetch(sources: list[Source], folder: Path | None = None) -> Path:
    """The path of a file, from the cache or from the first mirror that has it.

    A file is used only if its sha256 is right. Raises ConnectionError with one sentence
    that names the file, what each mirror answered, and what to do.
    """
    there = Path(folder) if folder else paths.kept()  # it may be read-only
    for source in sources:
        if path := cached(source, there):
            return path
    folder = there if folder else paths.cache()
    reasons, away = [], unreachable({s.url for s in sources})
    for source in sources:
        try:
            if source.url in away:
                raise Refused(away[source.url])
            return fetch_one(source, folder)
        except Refused as refusal:
            reasons.append(f"{source.host}: {refusal}")
    names = " or ".join(dict.fromkeys(s.file for s in sources))
    raise ConnectionError(
        f"Could not get {names} ({'; '.join(reasons)}). Check the network and try "
        f"again, or put the file into {folder} yourself."
    )


def cached(source: Source, folder: Path) -> Path | None:
    """A file that is here already, and whole; None if there is none."""
    path = folder / source.file
    if path.is_file():
        # without either, someone put it here by hand
        goal = source.sha256 or noted(path)
        return path if goal is None or sha256(path) == goal else None
    return hub(source, folder, local_files_only=True) if hubs(source) else None


def noted(path: Path) -> str | None:
    """What the note beside a file gives as its sha256; None without a note."""
    note = path.with_name(path.name + ".sha256")
    return note.read_text("utf-8", "replace").strip() if note.is_file() else None


def forget(path: Path) -> None:
    """Delete a fetched file, and what a link in the cache of the hub points at."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def fetch_one(source: Source, folder: Path) -> Path:
    """Fetch from one address, check, and move into place. Raises Refused.

    One process at a time fetches a file; who waited takes what the first one got.
    """
    locks = folder / ".locks"
    try:
        locks.mkdir(exist_ok=True)
    except OSError as problem:
        raise Refused(f"{locks} cannot be made ({problem.strerror})") from None
    with FileLock(locks / f"{source.file}.lock"):
        if path := cached(source, folder):
            return path
        reason = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE)
            try:
                return hub(source, folder) if hubs(source) else plain(source, folder)
            except Refused:  # the file itself is wrong: no second try makes it right
                raise
            except Exception as problem:  # the hub's errors change with its versions
                reason = explain(problem)
                if re.search("answered 4|disk", reason):
                    break
        raise Refused(reason)


# -- files of the hub -------------------------------------------------------------


def hubs(source: Source) -> bool:
    """Does the hub state the hash of this address?"""
    return source.sha256 is None and HUB.fullmatch(source.url) is not None


def hub(source: Source, folder: Path, local_files_only: bool = False) -> Path | None:
    """A file through ``hf_hub_download``, with its own lock and resume.

    The hub names large files by their sha256, so a file can be checked without a
    network. ``local_files_only``: only look; None if it is not here.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    endpoint, repository, revision, name = HUB.fullmatch(source.url).groups()
    try:
        path = hf_hub_download(
            repository,
            name,
            revision=revision,
            cache_dir=folder,
            endpoint=endpoint,
            etag_timeout=REACH,
            local_files_only=local_files_only,
        )
    except LocalEntryNotFoundError:
        if local_files_only:
            return None
        raise
    path = Path(path)
    stated = path.resolve().name  # the ETag
    if len(stated) == 64 and sha256(path) == stated:
        return path
    reason = describe(path) if len(stated) == 64 else "it states no sha256"
    forget(path)
    if local_files_only:
        return None
    raise Refused(reason)


# -- all other files --------------------------------------------------------------


def plain(source: Source, folder: Path) -> Path:
    """A file by HTTP, from where an earlier call stopped.

    A stopped download leaves a ``.part`` that the next call continues; one with a wrong
    sha256 leaves nothing.
    """
    path = folder / source.file
    part = path.with_name(path.name + ".part")
    receive(source.url, part)
    if (found := sha256(part)) != source.sha256:
        reason = describe(part)
        part.unlink()
        raise Refused(reason)
    part.replace(path)
    path.with_name(path.name + ".sha256").write_text(found + "\n", "utf-8")
    return path


def receive(url: str, part: Path) -> None:
    """Append the bytes of ``url`` that ``part`` does not hold yet."""
    at = part.stat().st_size if part.exists() else 0
    wanted = request.Request(url, headers={"User-Agent": "pictures-and-words"})
    if at:
        wanted.add_header("Range", f"bytes={at}-")
    try:
        answer = request.urlopen(wanted, timeout=STALL)
    except error.HTTPError as refusal:
        if refusal.code == 416:  # it is all here; the sha256 will say whether it is
            return
        raise
    with answer, open(part, "ab" if answer.status == 206 else "wb") as file:
        rest = int(answer.headers["Content-Length"] or 0)
        have = file.tell()
        bar = tqdm(
            desc=part.stem, initial=have, total=have + rest, unit="B", unit_scale=True,
            leave=False,
        )  # fmt: skip
        with bar:
            while piece := answer.read(PIECE):
                file.write(piece)
                bar.update(len(piece))
        if rest and file.tell() < have + rest:
            raise ConnectionError("the connection broke before the end")


def unreachable(urls: set[str]) -> dict[str, str]:
    """Which addresses cannot be reached at all, and why, known within ``REACH`` s.

    All hosts are called at once, or the proxy where there is one.
    """
    reasons = {url: "no answer (it did not let itself be reached)" for url in urls}

    def call(url: str) -> None:
        try:
            socket.create_connection(door(url), timeout=REACH).close()
            reasons.pop(url, None)
        except OSError as problem:
            reasons[url] = explain(problem)

    calls = [threading.Thread(target=call, args=(u,), daemon=True) for u in urls]
    for thread in calls:
        thread.start()
    end = time.monotonic() + REACH
    for thread in calls:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(reasons)


def door(url: str) -> tuple[str, int]:
    """Host and port that a request for ``url`` calls first."""
    to = parse.urlsplit(url)
    proxy = request.getproxies().get(to.scheme)
    if proxy and not request.proxy_bypass(to.netloc):
        to = parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return to.hostname, to.port or (443 if to.scheme == "https" else 80)


def describe(part: Path) -> str:
    """What a file with the wrong hash seems to be."""
    with open(part, "rb") as file:
        start = file.read(200).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it sent an HTML page instead of the file"
    size = part.stat().st_size
    return f"the sha256 of the {size / 1e6:.1f} MB it sent is wrong"


def explain(problem: Exception) -> str:
    """One short reason for a failed request."""
    chain = [problem]
    while after := chain[-1].__cause__ or getattr(chain[-1], "reason", None):
        if not isinstance(after, Exception):
            break
        chain.append(after)
    for one in chain:
        answer = getattr(one, "response", None)
        status = getattr(answer, "status_code", None) or getattr(one, "code", None)
        if isinstance(status, int):
            return f"it answered {status}"
        if getattr(one, "errno", None) == errno.ENOSPC:
            return "the disk is full"
    text = (str(chain[-1]) or type(chain[-1]).__name__).split("\n")[0]
    if "broke before" in text or "Consistency" in text:
        return "the connection broke before the end"
    text = "".join(c for c in text[:70] if c.isprintable())
    return f"no answer ({text})"
