"""Embed a large collection: ``python -m helpers.workshop.embed SOURCE --out INDEX``.

SOURCE is a folder of pictures, or of tar files as WebDataset writes them, or both. It
is cut into shards; each shard becomes a part (vectors and names) in the folder
INDEX.parts, and the parts become one index. A part that is there is not made again, so
the same command goes on where it was cut off, and after a few new pictures it embeds
only their shards. One machine does it alone. With ``--actors 4`` Ray shares it among
four processes on all machines of its cluster (``pip install ray``; each needs this
folder and sees SOURCE under the same path). ``--disk``: for what memory cannot hold.
"""

import argparse
import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .. import clip, paths
from ..pictures import plain
from ..search import ImageIndex, collect
from ..search import disk as on_disk
from ..search import parts as stored

CHUNK = 64  # pictures embedded at a time
SHARD = 1000  # pictures of a shard, where they lie in no tar file
TRIES = 3  # how often a shard may lose its worker before it counts as guilty
TARS = (".tar", ".tar.gz", ".tgz")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Shard:
    """Some picture files, or one tar file; ``key`` changes with them and the model."""

    key: str
    files: tuple[str, ...]

    def __iter__(self) -> Iterator[tuple[str, Path | bytes]]:
        """(name, picture) of each; what is no picture file is passed over.

        A tar file that ends too early raises OSError or tarfile.TarError there.
        """
        for file in self.files:
            if not file.lower().endswith(TARS):
                yield file, Path(file)
                continue
            with tarfile.open(file, "r|*") as tar:  # in order, nothing is unpacked
                for member in tar:
                    if member.isfile() and member.name.lower().endswith(PICTURES):
                        yield f"{file}/{member.name}", tar.extractfile(member).read()


def shards(source, mark: str, size: int = SHARD) -> tuple[list[Shard], list]:
    """The shards of a folder or of one tar file, and [(name, reason)] of what it lacks.

    ``mark``: of the model. Raises FileNotFoundError or ValueError with one sentence for
    a missing or empty source.
    """
    source, skipped = paths.given(source), []
    if size < 1:
        raise ValueError(f"A shard of {size} pictures is none; give 1 or more.")
    if source.is_file():
        if not source.name.lower().endswith(TARS):
            raise ValueError(f"{source} is no folder and no tar file.")
        tars, pictures = [source], []
    else:
        names, skipped = collect.walk(str(source))
        found = [Path(name) for name in names]
        tars = [p for p in found if p.name.lower().endswith(TARS)]
        pictures = [p for p in found if p.name.lower().endswith(PICTURES)]
    if not tars and not pictures:
        why = f" ({skipped[0][1]})" if skipped else ""
        raise ValueError(f"{source} holds no pictures and no tar files{why}.")
    groups = [pictures[at : at + size] for at in range(0, len(pictures), size)]
    return [shard(g, mark) for g in [*groups, *([t] for t in tars)]], skipped


def shard(files: list[Path], mark: str) -> Shard:
    """A shard that knows what its files and the model are."""
    rows = [mark]
    for file in files:
        try:
            facts = file.stat()
            rows.append(f"{file} {facts.st_size} {facts.st_mtime_ns}")
        except OSError:
            rows.append(f"{file} unreadable")
    key = hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape"))
    return Shard(key.hexdigest()[:24], tuple(map(str, files)))


def vectors_of(shard: Shard, model) -> tuple[list[str], Tensor, list]:
    """(names, (n, D) vectors, [(name, reason)] of what could not be read)."""
    names, vectors, skipped = [], [torch.empty(0, model.model.config.embed)], []
    rows = iter(shard)
    while True:
        chunk = []
        try:
            for row in islice(rows, CHUNK):
                chunk.append(row)
        except (tarfile.TarError, OSError, EOFError) as error:
            skipped.append((shard.files[0], f"cut short or damaged ({error})"))
        if not chunk:
            return names, torch.cat(vectors), skipped
        prepared = []
        for name, picture in chunk:
            try:
                prepared.append((255 * model.preprocess(picture)).round().byte())
                names.append(name)
            except (ValueError, TypeError, OSError) as error:
                skipped.append((name, str(error)))
        if prepared:
            vectors.append(model.embed_images(torch.stack(prepared)))


class Worker:
    """Holds the model and embeds shard after shard; Ray makes its actors of it.

    ``name`` and ``mark``: of the model. Raises ValueError if the machine has another.
    """

    def __init__(self, name: str, mark: str, device=None):
        self.model = clip.load(name, device)
        if self.model.fingerprint != mark:
            raise ValueError(f"The model {name} is another file on this machine.")

    def embed(self, shard: Shard) -> tuple:
        return shard, *vectors_of(shard, self.model)


def part_of(shard: Shard, folder: Path) -> Path:
    """The file of the part that a shard becomes."""
    return folder / f"{shard.key}{stored.ENDING}"


def done(shard: Shard, folder: Path) -> bool:
    """Is the part of a shard there, and whole?"""
    try:
        return stored.read(part_of(shard, folder))[0]["shard"] == shard.key
    except (ValueError, KeyError, FileNotFoundError):
        return False


def keep(folder: Path, shard: Shard, names, vectors, skipped) -> None:
    """Write the part of a shard, whole or not at all."""
    card = {"shard": shard.key, "names": names, "skipped": skipped}
    stored.write(part_of(shard, folder), card, vectors)


def by_ray(todo: list[Shard], worker, actors: int, gpus: float) -> Iterator[tuple]:
    """What ``worker`` (class, arguments) makes of each shard, by Ray's actors.

    An actor that dies is started again, elsewhere if its machine is gone, and its shard
    is given out again. Raises ValueError without Ray, RuntimeError for a shard that
    killed all its workers.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError:
        raise ValueError(
            "Ray is not installed: pip install ray, or leave out --actors."
        ) from None
    if not ray.is_initialized():
        ways = [str(paths.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(ways)  # local workers inherit it
        try:  # a cluster that was started before
            ray.init(address="auto", log_to_driver=False)
        except ConnectionError:  # none: this machine alone
            ray.init(num_cpus=actors, include_dashboard=False, log_to_driver=False)
    kind, arguments = worker
    kind = ray.remote(
        num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=TRIES
    )(kind)
    pool = ActorPool([kind.remote(*arguments) for _ in range(actors)])
    try:
        yield from pool.map_unordered(lambda actor, s: actor.embed.remote(s), todo)
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()[-1][:200]
        raise RuntimeError(
            f"Ray's workers gave up on a shard after {TRIES + 1} tries ({said}); what "
            "is done is kept, and the same command goes on from there."
        ) from None


def embed(
    source, out, model="pocket", size=SHARD, actors=0, gpus=0.0, device=None,
    disk=False, progress=True, kind=Worker,
):  # fmt: skip
    """Embed ``source`` into the index ``out``; returns the index.

    ``model``: a name or file for ``clip.load``; ``size``: pictures of a shard;
    ``actors``: Ray's processes (0: this one, without Ray), each with ``gpus``;
    ``disk``: a ``DiskIndex`` instead of an ``ImageIndex``. Raises ValueError,
    FileNotFoundError, PermissionError or RuntimeError with one sentence.
    """
    if actors < 0:
        raise ValueError(f"{actors} actors are none; give 0 (without Ray) or more.")
    out = paths.given(out)
    if not out.name:
        raise ValueError(f"{out} is a folder: name the index in it, {out}/index.")
    out = out.with_suffix("") if out.suffix == ".safetensors" else out
    ready = clip.load(str(model), device)
    every, skipped = shards(source, ready.fingerprint, size)
    folder = paths.folder(out.with_name(f"{out.name}.parts"))
    todo = [s for s in every if not done(s, folder)]
    if actors:
        worker = kind, (str(model), ready.fingerprint, device)
        results = by_ray(todo, worker, actors, gpus) if todo else ()
    else:
        results = ((s, *vectors_of(s, ready)) for s in todo)
    bar = tqdm(total=len(every), initial=len(every) - len(todo), unit=" shards",
               desc="embedding", disable=not progress)  # fmt: skip
    with bar:
        for shard, *rest in results:
            keep(folder, shard, *rest)
            bar.update()
    parts = [part_of(s, folder) for s in every]
    return (
        on_disk.build(parts, ready, out) if disk else merge(parts, ready, out, skipped)
    )


def merge(parts: list[Path], model, out: Path, skipped) -> ImageIndex:
    """One index of all parts, in their order; it is saved at ``out``."""
    rows = [stored.read(part) for part in parts]
    names = [name for card, _ in rows for name in card["names"]]
    skipped = [*skipped, *(tuple(s) for card, _ in rows for s in card["skipped"])]
    if not names:
        why = f"; the first reason: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"None of the pictures could be read{why}.")
    index = ImageIndex(model, names, torch.cat([v for _, v in rows]), skipped)
    index.save(out)
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--out", required=True)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--size", type=int, default=SHARD, help="pictures of a shard")
    parser.add_argument("--actors", type=int, default=0, help="of Ray; 0: without Ray")
    parser.add_argument("--gpus", type=float, default=0.0, help="of each actor")
    parser.add_argument("--device", help="cpu, cuda ...; a GPU if there is one")
    parser.add_argument("--disk", action="store_true", help="for more than memory")
    try:
        index = embed(**vars(parser.parse_args()))
    except (ValueError, OSError, RuntimeError) as error:
        parser.exit(1, f"{error}\n")
    print(f"{len(index):,} pictures")
    for name, reason in getattr(index, "skipped", [])[:20]:
        print(f"skipped {plain(name)}: {reason}")  # a name may be no text


if __name__ == "__main__":
    main()
