"""Reads a picture back into words: an exact judge for the lab's drawings.

Every arrangement that the picture book knows (five places for one thing, two axes for two) is tried with
every shape and size on a grid of small shifts; colour is fitted by least squares, so a wrong hue does not
hide a right shape. The arrangement with the smallest squared error is what the picture shows. No caption is
looked at, and nothing is trained. No host is needed.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..models import data

OFFSETS = (-1.0, 0.0, 1.0)
SINGLES = len(data.POSITIONS)


@dataclass(frozen=True)
class Verdict:
    """What a sample got right of its caption: every thing's colour and shape, and everything that the caption
    tells.
    """

    colour_and_shape: bool
    everything: bool


@lru_cache(maxsize=1)
def slots() -> tuple[list[tuple[float, float]], np.ndarray]:
    """The centres where a thing can stand, and for each the part of the picture (9, 1024) that it has to
    explain.

    First the five places of one thing, each explaining the whole picture, then left, right, above and below,
    each explaining its half.
    """
    x, y = np.meshgrid(np.arange(data.SIDE), np.arange(data.SIDE))
    half = data.SIDE / 2
    halves = [x < half, x >= half, y < half, y >= half]
    parts = np.array([np.ones_like(x, bool)] * SINGLES + halves)
    pairs = [data.POSITIONS[p] for r in ("left of", "above") for p in data.RELATIONS[r]]
    return [*data.POSITIONS.values(), *pairs], parts.reshape(len(parts), -1).astype(np.float32)


@lru_cache(maxsize=1)
def templates() -> tuple[list[tuple[str, str]], np.ndarray]:
    """(shape, size) names and their coverage (9, K, 9, 1024) at every slot, each at nine shifts."""
    names = [(shape, size) for shape in data.SHAPES for size in data.RADII]
    stamps = []
    for cx, cy in slots()[0]:
        for shape, size in names:
            x, y = (a.ravel() for a in np.meshgrid(cx + np.array(OFFSETS), cy + np.array(OFFSETS)))
            stamps.append(data.coverage(np.full(9, data.SHAPES.index(shape)), np.full(9, data.RADII[size]), x, y))
    return names, np.stack(stamps).reshape(len(slots()[0]), len(names), 9, -1)


def nearest(colour: np.ndarray, palette: dict[str, tuple[float, float, float]]) -> str:
    """The name of the palette's colour that is nearest to an RGB colour."""
    names = list(palette)
    return names[int(np.argmin([np.square(colour - np.array(palette[n])).sum() for n in names]))]


def ground(picture: np.ndarray) -> np.ndarray:
    """The background's colour (3,): the median over the picture's outermost ring of pixels."""
    rim = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    return np.median(rim, axis=0)


def read(picture: np.ndarray) -> data.Spec:
    """What a picture (32, 32, 3) in 0..1 shows, as a complete spec; a pair is "left of" or "above"."""
    names, covers = templates()
    parts = slots()[1]
    behind = ground(picture)
    rest = (picture - behind).reshape(-1, 3).astype(np.float32)
    energy = parts @ np.square(rest).sum(1)
    inside = covers * parts[:, None, None, :]
    weight = np.square(inside).sum(-1)
    colour = inside @ rest / weight[..., None]
    error = energy[:, None, None] - np.square(colour).sum(-1) * weight

    flat = error.reshape(len(error), -1)
    best, least = flat.argmin(1), flat.min(1)
    seen = [_thing(names, k, colour[i].reshape(-1, 3)[k] + behind, behind) for i, k in enumerate(best)]
    single = int(np.argmin(least[:SINGLES]))
    found = [(least[single], (seen[single],), list(data.POSITIONS)[single])]
    for first, relation in ((SINGLES, "left of"), (SINGLES + 2, "above")):
        if seen[first] and seen[first + 1]:
            found.append((least[first] + least[first + 1], (seen[first], seen[first + 1]), relation))
    _, things, place = min((f for f in found if all(f[1])), key=lambda f: f[0], default=found[0])
    return data.Spec(tuple(t for t in things if t), place, nearest(behind, data.BACKGROUNDS))


def _thing(names: list[tuple[str, str]], index: int, colour: np.ndarray, behind: np.ndarray) -> data.Thing | None:
    """The thing of a template's index, or None when its colour is nearer to what is behind it than to any
    paint.
    """
    paint = nearest(colour, data.COLOURS)
    if np.square(colour - behind).sum() < np.square(colour - np.array(data.COLOURS[paint])).sum():
        return None
    shape, size = names[index // 9]
    return data.Thing(paint, shape, size)


def judge(picture: np.ndarray, wanted: data.Spec) -> Verdict:
    """Whether a picture (32, 32, 3) shows what a spec wants. Fields of the spec that are None are not looked
    at.
    """
    shown = read(picture)
    if len(shown.things) != len(wanted.things):
        return Verdict(False, False)
    asked = sorted((t.colour, t.shape) for t in wanted.things)
    if asked != sorted((t.colour, t.shape) for t in shown.things):
        return Verdict(False, False)
    things, place = wanted.things, wanted.place
    if place in ("right of", "below"):
        things, place = things[::-1], {"right of": "left of", "below": "above"}[place]
    same = all(
        (a.colour, a.shape) == (b.colour, b.shape) and a.size in (None, b.size)
        for a, b in zip(things, shown.things, strict=True)
    )
    return Verdict(True, same and place in (None, shown.place) and wanted.background in (None, shown.background))


def adherence(pictures: np.ndarray, wanted: list[data.Spec]) -> tuple[float, float]:
    """The share of pictures (N, 32, 32, 3) with right colours and shapes, and the share with everything
    right.
    """
    verdicts = [judge(p, s) for p, s in zip(pictures, wanted, strict=True)]
    return (
        float(np.mean([v.colour_and_shape for v in verdicts])),
        float(np.mean([v.everything for v in verdicts])),
    )
