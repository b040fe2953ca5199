"""The names of what DALL-E 2 learnt: ``python -m helpers.workshop.corpus.names``."""

from ...dalle import drawings, unclip


def learnt() -> list[str]:
    """The names of all drawings by the hands that it learnt from, sorted."""
    _, shown, _ = drawings.load()
    return sorted({c["name"] for c in shown.cards if c["style"] in unclip.HANDS})


if __name__ == "__main__":
    drawings.NAMES.write_text("\n".join(learnt()), "utf-8", newline="\n")
    print(f"{drawings.NAMES}: {len(drawings.names())} names")
