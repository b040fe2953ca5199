"""Draw the README's pictures: ``python -m helpers.workshop.readme_pictures [NAMES]``.

NAMES: search, classify, dream, dalle1, unclip; without any, all of them.
"""

import argparse
import io

import torch
from PIL import Image

from .. import clip, corpus, paths, vqgan
from ..course import plots
from ..dalle import dalle1, unclip
from ..dream import Dream, Settings, files
from ..pictures import array, read_picture
from ..search import rank

QUERIES = ("a hammer", "a car", "a clock", "ماهی")
WIDE = 8
PROMPTS = ("a sunflower", "a guitar", "a castle", "a tropical fish")
CAPTIONS = (  # of every kind, drawn up before anything was seen
    "a red apple", "a green apple", "a blue heart", "a sunflower", "a tree", "a star",
    "a house", "a car", "emoji of a cat face", "3-D emoji of a cat face", "a dog",
    "an elephant", "a fish", "a butterfly", "a bird", "a smiling face", "a crying face",
    "a slice of pizza", "a cup of coffee", "a rocket", "a book", "a moon",
    "flat emoji of an orange", "a snowman",
)  # fmt: skip


def grown(model: clip.Embedder, out) -> None:
    """Four prompts with seed 0, and how the first of them grew."""
    codes, frames = vqgan.load("pocket"), {}
    guides = [model, clip.load("scratch")]
    for prompt in PROMPTS:
        run = Dream(Settings(prompt=prompt), guides, codes)
        frames[prompt] = [f for f in run.steps() if f.score is not None], run.best
        if prompt == PROMPTS[0]:  # the studio opens with it
            files.save(out / "sunflower.png", run.best, run.settings)
    figure = plots.plt.figure(figsize=(9.6, 4.1))
    above, below = figure.subfigures(2, 1, height_ratios=[2.1, 1])
    for ax, (prompt, (_, best)) in zip(
        above.subplots(1, 4), frames.items(), strict=True
    ):
        ax.imshow(array(best.picture))
        ax.set_title(f'"{prompt}"', fontsize=11)
        ax.axis("off")
    steps = frames[PROMPTS[0]][0]
    chosen = [steps[round(i * (len(steps) - 1) / 7)] for i in range(8)]
    for ax, frame in zip(below.subplots(1, 8), chosen, strict=True):
        ax.imshow(array(frame.picture))
        ax.set_title(f"step {frame.step + 1}", fontsize=9)
        ax.axis("off")
    keep(figure, out / "dream.jpg")


def keep(figure, path) -> None:
    """Save a figure in few bytes: a JPEG by its name, or a PNG of 256 colours."""
    image = Image.open(io.BytesIO(plots.png(figure))).convert("RGB")
    if path.suffix == ".jpg":
        image.save(path, quality=92)
    else:
        image.quantize(256).save(path, optimize=True)


def sheet(pictures, path) -> None:
    """A picture for each of the twenty-four captions."""
    figure, axes = plots.plt.subplots(3, 8, figsize=(9.6, 4.2))
    for ax, caption, picture in zip(axes.flat, CAPTIONS, pictures, strict=True):
        ax.imshow(array(picture))
        ax.set_title(caption.replace(" of ", "\nof "), fontsize=8)
        ax.axis("off")
    keep(figure, path)


def written(model: clip.Embedder, out) -> None:
    """Twenty-four captions by DALL-E 1, the best of 256 by two CLIPs, seed 0."""
    dalle, eyes = dalle1.load(), [model, clip.load("scratch")]
    sheet([dalle.best_of(c, 256, eyes)[0][0] for c in CAPTIONS], out / "dalle1.png")


def decoded(model: clip.Embedder, out) -> None:
    """Twenty-four captions by DALL-E 2, one sample each, seed 0: nothing is chosen."""
    sheet(unclip.load().draw(list(CAPTIONS)), out / "unclip.png")


def searched(model: clip.Embedder, out) -> None:
    """Four queries, the best eight pictures of each."""
    splits = [corpus.load(s, progress=False) for s in ("unseen_artist", "photos")]
    pictures = torch.cat([s.pictures() for s in splits])
    vectors = model.embed_images(pictures)
    figure, axes = plots.plt.subplots(len(QUERIES), WIDE, figsize=(9.6, 5.2))
    for row, query in zip(axes, QUERIES, strict=True):
        best, _ = rank(model, vectors, query, WIDE)
        for ax, i in zip(row, best, strict=True):
            ax.imshow(array(pictures[i]))
            ax.axis("off")
        row[0].set_title(f'"{query}"', loc="left", fontsize=11, pad=4)
    keep(figure, out / "search.png")


def classified(model: clip.Embedder, out) -> None:
    """Three photographs and the probability of each class."""
    names = ["cat", "dog", "human"]
    photos = [paths.PHOTOS / f"{n}.jpg" for n in names]
    texts = model.embed_texts([f"a picture of a {n}" for n in names])
    found = model.probabilities(model.embed_images(photos), texts)
    figure, axes = plots.plt.subplots(1, 6, figsize=(9.6, 1.9))
    for at, photo in enumerate(photos):
        axes[2 * at].imshow(array(read_picture(photo, 300)))
        axes[2 * at].axis("off")
        plots.probability_bars(
            axes[2 * at + 1], dict(zip(names, found[at].tolist(), strict=True))
        )
    keep(figure, out / "classify.png")


PICTURES = {
    "search": searched,
    "classify": classified,
    "dream": grown,
    "dalle1": written,
    "unclip": decoded,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=", ".join(PICTURES))
    names = parser.parse_args().names or list(PICTURES)
    if unknown := [n for n in names if n not in PICTURES]:
        parser.error(f'no picture is called "{unknown[0]}"')
    model, out = clip.load("pocket"), paths.DATA / "readme"
    out.mkdir(exist_ok=True)
    plots.style()
    for name in names:
        PICTURES[name](model, out)


if __name__ == "__main__":
    main()
