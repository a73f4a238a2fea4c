"""A scene: everything that one run is made of, and other scenes like it."""

from __future__ import annotations

import dataclasses
import functools
import random
from dataclasses import dataclass

import torch
from azimuth import guidance
from azimuth.nodes.engine import pipeline, stages
from columns import FAMILY, Family, joined
from methods import ELSEWHERE, METHODS
from rows import Method
from tiny import sigmas_of, tensor

from .foreign import FOREIGN, Foreign, resting
from .samplers import OWN

BY_NAME = {method.name: method for method in METHODS + ELSEWHERE}


@dataclass(frozen=True)
class Ours:
    """A node of ours: a specimen's setting, with these inputs changed. off: the change that switches it off, if so."""

    name: str
    text: int
    changes: tuple = ()
    off: tuple | None = None

    @property
    def method(self) -> Method:
        return BY_NAME[self.name]

    @property
    def node(self) -> str:
        return display_name(self.method.node)

    def inputs(self, family: Family) -> dict:
        """Those that differ from the setting's."""
        own = {"negative": family.text(self.text)} if "negative" in self.method.acting else {}
        if self.method.acting.get("blocks", "auto") != "auto":
            own["blocks"] = family.blocks
        return {**own, **dict(self.changes), **dict(self.off or ())}

    def on(self, patched, family: Family, ledger: dict):
        return self.method.on(patched, **self.inputs(family))

    def __str__(self) -> str:
        shown = {**self.method.acting, **dict(self.changes), **dict(self.off or ())}
        shown |= {"negative": f"text {self.text}"} if "negative" in shown else {}
        return f"{self.node} [{self.name}]: " + ", ".join(f"{key} {value}" for key, value in shown.items())


@dataclass(frozen=True)
class Theirs:
    """A node of others. rests: a step at which its cfg function is left out."""

    name: str
    rests: int | None = None

    @property
    def foreign(self) -> Foreign:
        return FOREIGN[self.name]

    def on(self, patched, family: Family, ledger: dict):
        patched = self.foreign.put(patched, ledger)
        return patched if self.rests is None else resting(patched, self.rests)

    def __str__(self) -> str:
        return f"(theirs) {self.name}"


@dataclass(frozen=True)
class Idle:
    """A node of ours that is on and leaves every result as it is, so that we do what we do beside any of ours."""

    def on(self, patched, family: Family, ledger: dict):
        stage = stages.Correct("Azimuth idle", guidance.Constant(1.0), "", rule=lambda moment: moment.guided)
        return pipeline.add_stage(patched, stage)


@functools.cache
def display_name(node: type) -> str:
    return node.define_schema().display_name


@dataclass(frozen=True)
class Scene:
    """stack: the nodes that the MODEL goes through, in the order of the wires. first: the place of the first sample in
    the batch that the noise was drawn for. skipped: steps that a run after another sampler leaves out at its start.
    repeats: calls in which the sampler repeats what the prediction before has changed.
    """

    seed: int
    family: str
    size: tuple[int, int]
    batch: int
    stack: tuple[Ours | Theirs | Idle, ...]
    guider: str
    cfg: float
    sampler: str
    scheduler: str
    steps: int
    negatives: str = "plain"
    skipped: int = 0
    first: int = 0
    nudge: float = 0.0
    repeats: tuple[int, ...] = ()

    # ---- what it is made of

    @property
    def made_of(self) -> Family:
        return FAMILY[self.family]

    @property
    def shapes(self) -> tuple:
        (shape, *others) = self.made_of.shapes
        return ((shape[0], *self.size), *others) if is_picture(self.family) else (shape, *others)

    def noise(self, seed: int = 50):
        rows, more = range(self.first, self.first + self.batch), 1.0 + self.nudge
        return joined(
            [more * torch.stack([tensor(seed + 7 * i + k, *s) for i in rows]) for k, s in enumerate(self.shapes)]
        )

    def latent(self):
        if self.skipped:
            return self.noise(90)
        return joined([torch.zeros(self.batch, *shape) for shape in self.shapes])

    def text(self, seed: int, **how) -> list:
        return self.made_of.text(seed, **how)

    def positive(self) -> list:
        return self.text(1)

    def negative(self) -> list:
        half = torch.zeros(1, 8, 8)
        half[:, :, :4] = 1.0
        how = {"longer": {"tokens": 8}, "ends": {"start_percent": 0.0, "end_percent": 0.4}, "masked": {"mask": half}}
        return self.text(2, **how.get(self.negatives, {}))

    def sigmas(self, patched):
        return sigmas_of(patched, self.steps + self.skipped, self.scheduler)[self.skipped :]

    # ---- other scenes like it

    def with_stack(self, stack) -> Scene:
        return dataclasses.replace(self, stack=tuple(stack))

    def without(self, *indices: int) -> Scene:
        """Without some nodes. Where our first is among them our next takes its place: the place of our first node among
        those of others counts, as all our stages run there.
        """
        stack = dict(enumerate(self.stack))
        left = [i for i in self.ours if i not in indices]
        if left and left[0] != self.ours[0]:
            stack[self.ours[0]] = stack.pop(left[0])
            indices = set(indices) - {self.ours[0]}
        return self.with_stack(part for i, part in sorted(stack.items()) if i not in indices)

    def but(self, index: int, part) -> Scene:
        return self.with_stack([*self.stack[:index], part, *self.stack[index + 1 :]])

    def alone(self, sample: int) -> Scene:
        return dataclasses.replace(self, batch=1, first=sample)

    # ---- its nodes

    @property
    def ours(self) -> list[int]:
        return [i for i, part in enumerate(self.stack) if isinstance(part, Ours)]

    @property
    def theirs(self) -> list[int]:
        return [i for i, part in enumerate(self.stack) if isinstance(part, Theirs)]

    def does(self, *what: str) -> bool:
        """Whether a node of others does any of these things."""
        return any(set(what) & self.stack[i].foreign.does for i in self.theirs)

    def bare(self) -> Scene:
        return self.without(*self.ours)

    def __str__(self) -> str:
        words = (
            f"{self.family} {' + '.join(map(str, self.shapes))}, batch {self.batch}, {self.guider}, cfg {self.cfg:g}, "
        )
        words += f"{self.sampler}, {self.scheduler}, {self.steps} steps"
        words += f", negative: {self.negatives}" if self.negatives != "plain" else ""
        words += f", from step {self.skipped} of {self.skipped + self.steps}" if self.skipped else ""
        return "\n".join([words, *(f"  {i + 1}. {part}" for i, part in enumerate(self.stack))])


def is_picture(family: str) -> bool:
    return len(FAMILY[family].shapes[0]) == 3 and len(FAMILY[family].shapes) == 1


# ---- variations


def ways_off(part: Ours, scene: Scene) -> list[tuple]:
    """The changes that each switch a node off in this scene.

    Not those that are lists of one number a step, which fit one number of steps only; nor a limit that no result
    reaches, or a weaker MODEL that is the MODEL as it is at this place in the wiring; nor those that depend on the cfg
    where a guider, sampler or other node of ours sets weights of its own, or where they hold for a part of the run.
    """
    own_weights = scene.guider.startswith("unknown") or scene.sampler in OWN or "start" in dict(part.changes)
    own_weights = own_weights or any(isinstance(stage_of(other, scene), stages.Weight) for other in others(scene, part))
    ways = []
    for change, other in zip(part.method.neutral(scene.cfg), part.method.neutral(scene.cfg + 1.0), strict=True):
        lists = any(isinstance(value, guidance.Steps) for value in change.values())
        if (
            not lists
            and not {"limit", "weak_model"} & change.keys()
            and not (own_weights and repr(change) != repr(other))
        ):
            ways.append(tuple(change.items()))
    return ways


def others(scene: Scene, part: Ours) -> list[Ours]:
    return [scene.stack[i] for i in scene.ours if scene.stack[i].name != part.name]


def stage_of(part: Ours, scene: Scene) -> stages.Stage:
    (stage,) = stages.of(part.on(scene.made_of.build(), scene.made_of, {}))
    return stage


def rewired(scene: Scene) -> Scene:
    """The scene with our nodes in another order, but those of one kind: these run in the order of the wires."""
    chance = random.Random(scene.seed + 1)
    slots = scene.ours
    parts = [scene.stack[i] for i in slots]
    groups = [group_of(part, scene) for part in parts]
    shuffled = groups[:]
    chance.shuffle(shuffled)
    if shuffled == groups:
        shuffled.reverse()
    waiting = {group: [p for p, g in zip(parts, groups, strict=True) if g == group] for group in groups}
    stack = list(scene.stack)
    for slot, group in zip(slots, shuffled, strict=True):
        stack[slot] = waiting[group].pop(0)
    return scene.with_stack(stack)


def group_of(part: Ours, scene: Scene) -> tuple:
    stage = stage_of(part, scene)
    return type(stage).__name__, getattr(stage, "phase", 0)
