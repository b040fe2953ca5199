"""The CLIPs that guide a dream, as they are passed in."""

from ..values import members


def ready_guides(guides) -> list | None:
    """Ready CLIPs, one or several, as a list; None for None.

    Raises TypeError with one sentence for what is none, ValueError for the judge.
    """
    if guides is None:
        return None
    one = hasattr(guides, "embed_texts")  # which can be unpacked, too
    found = [guides] if one else members(guides)
    for guide in [guides] if found is None else found:
        if not (hasattr(guide, "model") and hasattr(guide, "embed_texts")):
            raise TypeError(
                "A guide is what clip.load gives, not "
                f"{type(guide).__name__}: clip.load(NAME)."
            )
        if guide.name == "judge":
            raise ValueError("The judge never guides: it would judge its own work.")
    return found
