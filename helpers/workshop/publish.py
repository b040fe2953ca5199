"""Write the course's address everywhere: ``publish OWNER/REPO TAG``.

Into README, the badges and the setup cell of every page. In Colab a page fetches that
tag, so commit what this command wrote and give the commit the tag.
"""

import argparse
import re
import sys
from pathlib import Path

from .. import paths
from . import pages

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9_.-]+")
TAG = re.compile(r"(?!.*(\.\.|//|\.lock$|[./]$))[A-Za-z0-9_][A-Za-z0-9_./+-]*")


def publish(repository: str, tag: str, root: Path = paths.ROOT) -> list[str]:
    """Write the address into ``root``; returns the names of the files that changed.

    ``repository`` OWNER/REPO on GitHub or its address; ``tag`` a name that git takes.
    Raises ValueError with one sentence; then nothing is written.
    """
    name = repository.removeprefix("https://github.com/").rstrip("/")
    name = name.removesuffix(".git")
    if not REPOSITORY.fullmatch(name):
        raise ValueError(f'"{repository}" is no OWNER/REPO of GitHub, such as ann/art.')
    if not TAG.fullmatch(tag):
        raise ValueError(f'"{tag}" is no name for a tag; take one such as v1.')
    before = pages.stored(pages.PUBLISHED, root)
    pages.store(pages.PUBLISHED, {"repository": name, "tag": tag}, root)
    try:
        return pages.write(root)
    except ValueError:
        pages.store(pages.PUBLISHED, before, root)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="publish", description=__doc__.splitlines()[0]
    )
    parser.add_argument("repository", metavar="OWNER/REPO")
    parser.add_argument("tag", metavar="TAG", help="the release, such as v1")
    given = parser.parse_args()
    try:
        changed = publish(given.repository, given.tag)
    except (ValueError, OSError) as error:
        sys.exit(f"Not published: {error}")
    print(f"Written: {', '.join(changed) or 'nothing, all was there'}.")
    print(f"Now: git commit -am {given.tag} && git tag {given.tag}")
    print(f"and: git push origin HEAD {given.tag}")


if __name__ == "__main__":
    main()
