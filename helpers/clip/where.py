"""Where in the picture does a text find what it means? Cover a place and look.

Dims: M texts, K covers, D embedding, G cells a side, S pixels a side.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..values import ready, whole
from .tokenizer import check_texts


def covers(cells: int, window: int) -> Tensor:
    """All places of a square of ``window`` cells on a grid: (K, G, G), 1 is covered."""
    out = []
    for y in range(cells - window + 1):
        for x in range(cells - window + 1):
            cover = torch.zeros(cells, cells)
            cover[y : y + window, x : x + window] = 1
            out.append(cover)
    return torch.stack(out)


@torch.no_grad()
def where(model, picture, texts, cells: int = 6, window: int = 2) -> Tensor:
    """How much each place matters for each text: (M, G, G), in units of the cosine.

    picture: any one picture that ``model.preprocess`` takes, prepared as it prepares
    it; the model sees its centre square. A grey window of ``window`` x ``window`` cells
    (of ``cells`` a side) covers one place after the other. A cell's value is the mean
    fall of the cosine under the windows that cover it: positive where the text finds
    something, negative where the place speaks against it. It asks only for vectors, so
    it works for every image tower (Zeiler and Fergus 2014, §2.1), and all texts share
    the (G - window + 1)^2 + 1 pictures. Raises ValueError or TypeError with one
    sentence.
    """
    texts = check_texts(texts)
    if not texts:
        raise ValueError("There is no text to look for: give at least one.")
    cells = whole("cells", cells, 2, 32)
    if not 1 <= whole("window", window, 0, 32) < cells:
        raise ValueError(
            f"A window of {window} cells does not fit a grid of {cells} a side: choose "
            f"cells from 2 and a window from 1 to cells - 1."
        )
    x = ready(model).preprocess(picture)
    side = x.shape[-1]
    K = covers(cells, window)
    hidden = F.interpolate(K[:, None], (side, side), mode="nearest")  # (K, 1, S, S)
    grey = x.mean((1, 2), keepdim=True)
    views = torch.cat([x[None], x * (1 - hidden) + grey * hidden])
    seen = model.embed_images((255 * views).round().to(torch.uint8))
    cosines = seen @ model.embed_texts(texts).T  # (K + 1, M)
    falls = cosines[:1] - cosines[1:]
    return torch.einsum("km,kyx->myx", falls, K) / K.sum(0)
