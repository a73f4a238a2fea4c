"""The smallest scene in which a truth fails: what is left when nothing more can be taken away or made plainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from .scene import Ours, Scene
from .trial import Trial

PLAIN = (
    {"negatives": "plain"},
    {"skipped": 0},
    {"batch": 1},
    {"guider": "CFG Guider"},
    {"sampler": "euler"},
    {"scheduler": "simple"},
    {"family": "SD 1.5", "size": (8, 8)},
    {"family": "SD3", "size": (8, 8)},
    {"size": (8, 8)},
    {"cfg": 5.0},
    {"cfg": 1.0},
    {"steps": 3},
    {"steps": 4},
)


def smallest(scene: Scene, truth: Callable[[Trial], str]) -> Scene:
    """Greedy: takes the first smaller scene that fails too, until none does."""
    while (smaller := next((s for s in plainer(scene) if truth(Trial(s))), None)) is not None:
        scene = smaller
    return scene


def plainer(scene: Scene) -> Iterator[Scene]:
    """Scenes with less in them, the largest steps first."""
    for i in range(len(scene.stack)):
        yield scene.without(i)
    for changes in PLAIN:
        if simpler(scene, changes):
            yield dataclasses.replace(scene, **changes)
    for i in scene.ours:
        part = scene.stack[i]
        if part.off:
            yield scene.but(i, dataclasses.replace(part, off=None))
        for change in part.changes:
            yield scene.but(i, Ours(part.name, part.text, tuple(c for c in part.changes if c != change), part.off))


def simpler(scene: Scene, changes: dict) -> bool:
    """Whether a change leads on: the order of PLAIN is that of plainness."""
    (key, value), *_ = changes.items()
    ranks = [next(iter(c.values())) for c in PLAIN if next(iter(c)) == key]
    current = getattr(scene, key)
    return current != value and (current not in ranks or ranks.index(value) < ranks.index(current))
