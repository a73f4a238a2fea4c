"""The lab's picture book: seeded 32x32 drawings of one or two objects, each with an English caption that is
exactly true.

A `Spec` says what is in a picture; `caption`, `parse` and `draw` go from the one to the other. A drawing
varies only by a small shift of each object (at most `SHIFT` pixels) and a small change of its radius (at most
`STRETCH`), so the caption decides the picture up to that. Pictures are float32 arrays (N, 32, 32, 3) in 0..1.
Nothing here needs the host.
"""

import itertools
import random
import re
import zlib
from dataclasses import dataclass, replace

import numpy as np

SIDE = 32
SHIFT = 0.6
STRETCH = 0.04
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring")
RADII = {"small": 3.8, "large": 5.9}
COLOURS = {
    "red": (0.85, 0.15, 0.15),
    "orange": (0.93, 0.55, 0.12),
    "yellow": (0.93, 0.86, 0.20),
    "green": (0.18, 0.62, 0.25),
    "cyan": (0.20, 0.75, 0.85),
    "blue": (0.18, 0.30, 0.85),
    "purple": (0.55, 0.25, 0.75),
}
BACKGROUNDS = {
    "white": (0.93, 0.93, 0.93),
    "grey": (0.55, 0.55, 0.55),
    "black": (0.10, 0.10, 0.10),
    "pink": (0.92, 0.70, 0.76),
}
POSITIONS = {  # centre of an object in pixels, (x, y) from the top left corner
    "in the centre": (16.0, 16.0),
    "at the left": (8.7, 16.0),
    "at the right": (23.3, 16.0),
    "at the top": (16.0, 8.7),
    "at the bottom": (16.0, 23.3),
}
RELATIONS = {  # positions of the first and the second of two objects
    "left of": ("at the left", "at the right"),
    "right of": ("at the right", "at the left"),
    "above": ("at the top", "at the bottom"),
    "below": ("at the bottom", "at the top"),
}


@dataclass(frozen=True)
class Thing:
    """One object. A size of None means that the caption does not tell."""

    colour: str
    shape: str
    size: str | None = None


@dataclass(frozen=True)
class Spec:
    """One picture: one thing with a position, or two with a relation. None means that the caption does not
    tell.
    """

    things: tuple[Thing, ...]
    place: str | None = None
    background: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left open, so that the drawing is determined up to shift and stretch."""
        return self.place is not None and self.background is not None and all(t.size for t in self.things)


def caption(spec: Spec) -> str:
    """The sentence for a spec: "a large red circle left of a small blue square on a grey background"."""
    names = [" ".join(word for word in ("a", t.size, t.colour, t.shape) if word) for t in spec.things]
    if len(names) == 2:
        text = f"{names[0]} {spec.place} {names[1]}"
    else:
        text = f"{names[0]} {spec.place}" if spec.place else names[0]
    return f"{text} on a {spec.background} background" if spec.background else text


def _choice(name: str, words) -> str:
    return f"(?P<{name}>{'|'.join(sorted(words, key=len, reverse=True))})"


def _thing_pattern(i: int) -> str:
    size, colour, shape = (
        _choice(f"size{i}", RADII),
        _choice(f"colour{i}", COLOURS),
        _choice(f"shape{i}", SHAPES),
    )
    return f"an? (?:{size} )?{colour} {shape}"


_GROUND = f"(?: on an? {_choice('background', BACKGROUNDS)} background)?"
_ONE = re.compile(f"{_thing_pattern(0)}(?: {_choice('place', POSITIONS)})?{_GROUND}")
_TWO = re.compile(f"{_thing_pattern(0)} {_choice('place', RELATIONS)} {_thing_pattern(1)}{_GROUND}")


def parse(text: str) -> Spec:
    """The spec that a caption tells; the inverse of `caption`. Raises ValueError for a sentence of another
    form.
    """
    words = " ".join(text.lower().rstrip(". ").split())
    found = _TWO.fullmatch(words) or _ONE.fullmatch(words)
    if found is None:
        raise ValueError(f"not a caption of the lab's picture book: {text[:200]!r}")
    part = found.groupdict()
    things = tuple(
        Thing(part[f"colour{i}"], part[f"shape{i}"], part[f"size{i}"]) for i in range(2) if part.get(f"colour{i}")
    )
    return Spec(things, part["place"], part["background"])


def short(spec: Spec) -> Spec:
    """The same picture told with colour, shape and relation alone."""
    things = tuple(replace(t, size=None) for t in spec.things)
    return Spec(things, spec.place if len(things) == 2 else None, None)


def held_out(spec: Spec) -> bool:
    """Whether a complete spec is kept from training: one caption in ten, chosen by a checksum of its text."""
    return zlib.crc32(caption(spec).encode()) % 10 == 0


def _is_rare(thing: Thing) -> bool:
    return (list(COLOURS).index(thing.colour) + list(SHAPES).index(thing.shape)) % 7 == 0


def _random_thing(rng: random.Random) -> Thing:
    while True:
        thing = Thing(rng.choice(list(COLOURS)), rng.choice(SHAPES), rng.choice(list(RADII)))
        if not _is_rare(thing) or rng.random() < 0.25:
            return thing


def random_spec(rng: random.Random, pairs: float = 0.65) -> Spec:
    """A complete spec: two things with probability `pairs`; 6 of the 42 colours of shapes are rare."""
    background = rng.choice(list(BACKGROUNDS))
    first = _random_thing(rng)
    if rng.random() >= pairs:
        return Spec((first,), rng.choice(list(POSITIONS)), background)
    while True:
        second = _random_thing(rng)
        if (second.colour, second.shape) != (first.colour, first.shape):
            return Spec((first, second), rng.choice(list(RELATIONS)), background)


def random_specs(seed: int, count: int, held: bool, pairs: float = 0.65) -> list[Spec]:
    """`count` complete specs from the held-out part (`held`) or from the training part. The same seed gives
    the same specs.
    """
    rng = random.Random(seed)
    specs: list[Spec] = []
    while len(specs) < count:
        spec = random_spec(rng, pairs)
        if held_out(spec) == held:
            specs.append(spec)
    return specs


def all_specs() -> itertools.chain:
    """Every complete spec there is (about 113 thousand), singles first."""
    things = [Thing(c, s, z) for z in RADII for c in COLOURS for s in SHAPES]
    singles = (Spec((t,), p, b) for t in things for p in POSITIONS for b in BACKGROUNDS)
    pairs = (
        Spec((a, b), r, g)
        for a in things
        for b in things
        if (a.colour, a.shape) != (b.colour, b.shape)
        for r in RELATIONS
        for g in BACKGROUNDS
    )
    return itertools.chain(singles, pairs)


def coverage(shape: np.ndarray, radius: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much of each pixel an object covers, 0..1, (N, 32, 32), for index into SHAPES, radius and centre in
    pixels, each (N,).

    One minus the signed distance to the outline, clipped: an edge one pixel wide without any supersampling.
    """
    grid = np.arange(SIDE, dtype=np.float32) + 0.5
    dx = grid[None, None, :] - np.asarray(x, np.float32)[:, None, None]
    dy = grid[None, :, None] - np.asarray(y, np.float32)[:, None, None]
    r = np.asarray(radius, np.float32)[:, None, None]
    ax, ay, away = np.abs(dx), np.abs(dy), np.hypot(dx, dy)
    bar = 0.36 * r
    distance = np.stack(
        [
            away - r,
            np.maximum(ax, ay) - 0.87 * r,
            np.maximum(dy - 0.72 * r, 0.8660254 * ax - 0.5 * dy - 0.62 * r),
            (ax + ay - 1.25 * r) * 0.70710678,
            np.minimum(np.maximum(ax - bar, ay - 1.08 * r), np.maximum(ay - bar, ax - 1.08 * r)),
            np.maximum(away - 1.05 * r, 0.52 * r - away),
        ]
    )
    chosen = np.take_along_axis(distance, np.asarray(shape)[None, :, None, None], axis=0)[0]
    return np.clip(0.5 - chosen, 0.0, 1.0)


def positions(spec: Spec) -> tuple[str, ...]:
    """The position of each thing of a spec that tells its place."""
    return RELATIONS[spec.place] if len(spec.things) == 2 else (spec.place,)


def draw(specs: list[Spec], seed: int | None = None) -> np.ndarray:
    """The pictures (N, 32, 32, 3) in 0..1 of complete specs; with a seed every thing is shifted and stretched
    a little.
    """
    wobble = np.zeros((len(specs), 2, 3))
    if seed is not None:
        wobble = np.random.default_rng(seed).uniform(-1.0, 1.0, wobble.shape) * np.array([SHIFT, SHIFT, STRETCH])
    return paint(specs, wobble)


def paint(specs: list[Spec], wobble: np.ndarray) -> np.ndarray:
    """The pictures (N, 32, 32, 3) of complete specs; wobble (N, 2, 3) holds each thing's shift in x and y and
    its stretch.
    """
    picture = np.array([BACKGROUNDS[s.background] for s in specs], np.float32)[:, None, None, :]
    picture = np.broadcast_to(picture, (len(specs), SIDE, SIDE, 3)).copy()
    for layer in range(2):
        rows = [i for i, s in enumerate(specs) if len(s.things) > layer]
        if not rows:
            continue
        things = [specs[i].things[layer] for i in rows]
        middle = np.array([POSITIONS[positions(specs[i])[layer]] for i in rows])
        move = wobble[rows, layer]
        cover = coverage(
            np.array([SHAPES.index(t.shape) for t in things]),
            np.array([RADII[t.size] for t in things]) * (1.0 + move[:, 2]),
            middle[:, 0] + move[:, 0],
            middle[:, 1] + move[:, 1],
        )[..., None]
        colour = np.array([COLOURS[t.colour] for t in things], np.float32)[:, None, None, :]
        picture[rows] = picture[rows] * (1.0 - cover) + colour * cover
    return picture.astype(np.float32)


def words() -> list[str]:
    """Every word that a caption can hold."""
    texts = ["a on background", *SHAPES, *RADII, *COLOURS, *BACKGROUNDS, *POSITIONS, *RELATIONS]
    return sorted({word for text in texts for word in text.split()})
