"""Checks for exercises and for "our helper is the same thing".

An exercise check prints one line: "not attempted yet", or how many checks passed; a
wrong answer raises AssertionError that says what came, what was expected and why.
"""

import torch
import torch.nn.functional as F


def same(mine, helper, tolerance: float = 1e-5) -> None:
    """Assert that two results are equal (tensors within ``tolerance``); print it."""
    if isinstance(mine, torch.Tensor):
        torch.testing.assert_close(mine, helper, atol=tolerance, rtol=tolerance)
    else:
        assert mine == helper, f"mine gives {mine!r}, the helper {helper!r}"
    print("same as the helper")


def exercise(function, cases: list, explain: str) -> None:
    """Run ``function`` on each (args, expected, hint); print one line.

    expected may be a tensor, a number, a list or any value that compares.
    """
    done = 0
    for args, expected, hint in cases:
        try:
            got = function(*args)
        except NotImplementedError:
            print("not attempted yet")
            return
        if isinstance(expected, torch.Tensor):
            fits = (
                isinstance(got, torch.Tensor)
                and got.shape == expected.shape
                and torch.allclose(got.to(expected.dtype), expected, atol=1e-4)
            )
            shown = (
                f"shape {tuple(got.shape)}, starting {got.flatten()[:3].tolist()}"
                if isinstance(got, torch.Tensor)
                else repr(got)
            )
            wanted = (
                f"shape {tuple(expected.shape)}, "
                f"starting {expected.flatten()[:3].tolist()}"
            )
        elif isinstance(expected, float):
            fits = got is not None and abs(float(got) - expected) < 1e-4
            shown, wanted = repr(got), repr(expected)
        else:
            fits, shown, wanted = got == expected, repr(got), repr(expected)
        assert fits, f"received {shown}, expected {wanted}; {hint}. {explain}"
        done += 1
    print(f"{done} checks passed")


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine_matrix(function) -> None:
    """01, exercise 1: rows of a against rows of b."""
    cases = []
    for n, m, d in ((1, 1, 4), (3, 5, 8), (7, 2, 16)):
        a, b = seeded(n, d, seed=n), 3 * seeded(m, d, seed=m + 9)
        want = F.cosine_similarity(a[:, None], b[None], dim=-1)
        hint = "divide every row by its length, then multiply"
        cases.append(((a, b), want, hint))
    exercise(function, cases, "Rows of a go down, rows of b across.")


def retrieval(function) -> None:
    """01, exercise 2: recall at k of a square score matrix."""
    cases = []
    for n, k in ((1, 1), (6, 1), (6, 3), (20, 5)):
        scores = seeded(n, n, seed=n + k)
        order = scores.argsort(1, descending=True)[:, :k]
        want = (order == torch.arange(n)[:, None]).any(1).float().mean().item()
        hint = "count the rows whose own column is among the k largest"
        cases.append(((scores, k), want, hint))
    exercise(function, cases, "Row i belongs to column i.")


def many_positives(function) -> None:
    """01, exercise 3: the picture half of the loss, several right captions."""
    cases = []
    for ids in ([0], [0, 1, 2], [0, 0, 1], [2, 1, 2, 1, 2]):
        n = len(ids)
        logits = 3 * seeded(n, n, seed=n)
        ids = torch.tensor(ids)
        target = (ids[:, None] == ids[None]).float()
        target = target / target.sum(1, keepdim=True)
        want = F.cross_entropy(logits, target).item()
        hint = "share the target evenly over the captions of the same concept"
        cases.append(((logits, ids), want, hint))
    exercise(function, cases, "Average over the pictures.")


def hit_rate(function) -> None:
    """00, exercise 1: share of places at which two lists agree."""
    cases = [
        (([3], [3]), 1.0, "one query, one hit"),
        (([3], [4]), 0.0, "one query, no hit"),
        (([1, 2, 3, 4], [1, 0, 3, 0]), 0.5, "two of four agree"),
    ]
    exercise(function, cases, "Return a share between 0 and 1.")


def ensemble(function) -> None:
    """02, exercise 1: one weight per class from the vectors of several templates."""
    cases = []
    for c, k, d in ((1, 1, 4), (3, 2, 8), (5, 7, 16)):
        vectors = 3 * seeded(c, k, d, seed=c + k)
        unit = vectors / vectors.norm(dim=2, keepdim=True)
        mean = unit.sum(1)
        want = mean / mean.norm(dim=1, keepdim=True)
        hint = "bring to length 1, take the mean over the templates, again to length 1"
        cases.append(((vectors,), want, hint))
    exercise(function, cases, "vectors has shape (C, K, D); return (C, D).")


def top_five(function) -> None:
    """02, exercise 2: is the right class among the five best?"""
    cases = []
    for n, c in ((1, 6), (8, 6), (30, 40)):
        scores = seeded(n, c, seed=n + c)
        labels = torch.randint(c, (n,), generator=torch.Generator().manual_seed(n))
        place = (scores > scores.gather(1, labels[:, None])).sum(1)
        want = (place < 5).float().mean().item()
        hint = "a picture counts if fewer than five classes score higher"
        cases.append(((scores, labels), want, hint))
    exercise(function, cases, "scores is (N, C), labels (N,); return a share.")


def best_scale(function) -> None:
    """02, exercise 3: the temperature that makes the true classes most likely."""
    cases = []
    for n, c in ((12, 3), (40, 5)):
        cosines = 0.2 * seeded(n, c, seed=n).tanh()
        labels = (cosines + 0.05 * seeded(n, c, seed=n + 1)).argmax(1)
        scales = [1.0, 10.0, 30.0, 100.0, 1000.0]
        losses = [F.cross_entropy(s * cosines, labels).item() for s in scales]
        want = scales[losses.index(min(losses))]
        hint = "take the scale with the smallest mean of -log(chance of the true class)"
        cases.append(((cosines, labels, scales), want, hint))
    exercise(function, cases, "Return one of the scales.")


def mixed_query(function) -> None:
    """03, exercise 1: words and a picture in one query."""
    cases = []
    for d, weight in ((4, 0.0), (8, 0.3), (16, 1.0)):
        words = F.normalize(seeded(d, seed=d), dim=0)
        picture = F.normalize(seeded(d, seed=d + 1), dim=0)
        mixed = (1 - weight) * words + weight * picture
        hint = "mix with the weight, then bring the result back to length 1"
        cases.append(((words, picture, weight), mixed / mixed.norm(), hint))
    exercise(function, cases, "weight is the share of the picture.")


def mean_rank(function) -> None:
    """03, exercise 2: the mean place of the right picture."""
    cases = []
    for n in (1, 5, 20):
        scores = seeded(n, n, seed=n)
        place = (scores > scores.diagonal()[:, None]).sum(1) + 1
        hint = "place 1 is the best: count what scores higher, and add one"
        cases.append(((scores,), place.float().mean().item(), hint))
    exercise(function, cases, "Row i belongs to column i.")


def lists_to_read(function) -> None:
    """03, exercise 3: search only the nearest lists (an IVF index by hand)."""
    cases = []
    for n, c, probes in ((6, 2, 1), (60, 6, 2), (60, 6, 6)):
        x = F.normalize(seeded(n, 8, seed=n), dim=1)
        centres = F.normalize(seeded(c, 8, seed=c), dim=1)
        query = F.normalize(seeded(8, seed=n + c), dim=0)
        lists = (x @ centres.T).argmax(1)
        near = (centres @ query).topk(probes).indices
        inside = torch.isin(lists, near)
        scores = (x @ query).masked_fill(~inside, -9.0)
        hint = "keep the rows whose list is among the nearest, then take the best"
        want = int(scores.argmax()) if inside.any() else -1
        cases.append(((x, lists, centres, query, probes), want, hint))
    exercise(function, cases, "Return the index of the best row, or -1 if none.")


def nearest_code(function) -> None:
    """04, exercise 1: the nearest row of a codebook."""
    cases = []
    for n, k, d in ((1, 3, 2), (6, 5, 4), (40, 16, 8)):
        z, book = seeded(n, d, seed=n), 2 * seeded(k, d, seed=k + 50)
        want = torch.cdist(z, book).argmin(1)
        hint = "the smallest distance, not the largest product"
        cases.append(((z, book), want, hint))
    exercise(function, cases, "z is (N, D), book (K, D); return (N,) whole numbers.")


def perplexity(function) -> None:
    """04, exercise 2: how many codes are really in use."""
    cases = []
    for codes in ([0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 3, 3, 3]):
        codes = torch.tensor(codes)
        share = codes.bincount(minlength=4).float() / len(codes)
        want = torch.distributions.Categorical(share).entropy().exp().item()
        hint = "exp of the entropy of the shares; a share of 0 adds nothing"
        cases.append(((codes, 4), want, hint))
    exercise(function, cases, "Four codes used equally have perplexity 4.")


def keep_top_k(function) -> None:
    """04, exercise 3: forbid all but the k likeliest tokens."""
    cases = []
    for b, v, k in ((1, 5, 1), (3, 8, 3), (2, 6, 6)):
        logits = seeded(b, v, seed=v)
        order = logits.argsort(-1, descending=True).argsort(-1)
        want = logits.masked_fill(order >= k, -1e9).softmax(-1)
        hint = "set the others to -inf before the softmax"
        cases.append(((logits, k), want, hint))
    exercise(function, cases, "logits is (B, V); return chances (B, V).")


def great_circle(function) -> None:
    """05, exercise 1: half the squared angle."""
    cases = []
    for n, d in ((1, 3), (5, 8)):
        a, b = (F.normalize(seeded(n, d, seed=s), dim=-1) for s in (n, n + 70))
        want = (a * b).sum(-1).clamp(-1, 1).arccos().square() / 2
        hint = "arccos of the product of unit vectors is the angle"
        cases.append(((a, b), want, hint))
    exercise(function, cases, "a and b are (N, D) of length 1; return (N,).")


def prompt_loss(function) -> None:
    """05, exercise 2: several prompts with weights."""
    cases = []
    for n, k, d in ((1, 1, 4), (4, 3, 8)):
        cuts = F.normalize(seeded(n, d, seed=n), dim=-1)
        goals = F.normalize(seeded(k, d, seed=k + 9), dim=-1)
        weights = seeded(k, seed=k)
        angles = (cuts @ goals.T).clamp(-1, 1).arccos().square() / 2  # (N, K)
        want = (angles.mean(0) * weights).sum().item()
        hint = "mean over the cuts, then the weighted sum over the prompts"
        cases.append(((cuts, goals, weights), want, hint))
    exercise(function, cases, "cuts (N, D), goals (K, D), weights (K,); a number.")


def random_crops(function) -> None:
    """05, exercise 3: crops of a picture at given corners."""
    cases = []
    for n, size in ((1, 4), (5, 3)):
        picture = seeded(3, 8, 9, seed=n)
        g = torch.Generator().manual_seed(n)
        top = torch.randint(8 - size + 1, (n,), generator=g)
        left = torch.randint(9 - size + 1, (n,), generator=g)
        where = zip(top.tolist(), left.tolist(), strict=True)
        want = torch.stack([picture[:, t : t + size, s : s + size] for t, s in where])
        hint = "rows top .. top + size, columns left .. left + size"
        cases.append(((picture, top, left, size), want, hint))
    exercise(function, cases, "picture (3, H, W), top and left (N,); (N, 3, S, S).")


def mirror_loss(function) -> None:
    """06, exercise 1: how far a picture is from its mirror image."""
    cases = []
    for shape in ((1, 3, 4, 4), (1, 3, 5, 8)):
        picture = seeded(*shape, seed=shape[-1]).sigmoid()
        want = (picture - picture.flip(-1)).square().mean().item()
        hint = "flip left and right, not up and down"
        cases.append(((picture,), want, hint))
    exercise(function, cases, "picture is (1, 3, H, W); return a number.")


def blocks(function) -> None:
    """06, exercise 2: a picture of large pixels."""
    cases = []
    for h, w, k in ((2, 3, 1), (2, 3, 4), (1, 1, 5)):
        colours = seeded(1, 3, h, w, seed=h + w + k)
        want = colours.repeat_interleave(k, 2).repeat_interleave(k, 3)
        hint = "every colour becomes a square of size x size"
        cases.append(((colours, k), want, hint))
    exercise(function, cases, "colours (1, 3, h, w); return (1, 3, h size, w size).")


def palette_distance(function) -> None:
    """06, exercise 3: each pixel's distance to its nearest colour."""
    cases = []
    for h, w, k in ((1, 1, 2), (3, 5, 4)):
        picture = seeded(1, 3, h, w, seed=h).sigmoid()
        colours = seeded(k, 3, seed=k).sigmoid()
        far = (picture[:, None] - colours[None, :, :, None, None]).square().sum(2)
        hint = "squared distance to each colour, the smallest one, then the mean"
        cases.append(((picture, colours), far.amin(1).mean().item(), hint))
    exercise(function, cases, "picture (1, 3, H, W), colours (K, 3); a number.")
