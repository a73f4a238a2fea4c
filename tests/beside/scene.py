"""A scene: everything that one run is made of, drawn from a seed."""

from __future__ import annotations

import dataclasses
import functools
import logging
import random
from dataclasses import dataclass

import features
import torch
from azimuth import guidance
from azimuth.nodes.engine import stages
from columns import FAMILY, Family, joined
from methods import ELSEWHERE, METHODS
from places import places
from rows import Method
from tiny import sigmas_of, tensor

from .foreign import CACHES, FOREIGN, Foreign
from .guiders import GUIDERS
from .samplers import GROWING, NOISY, OWN, PEEKING, STEADY, takes_lambda

BY_NAME = {method.name: method for method in METHODS + ELSEWHERE}
FAMILIES = 4 * ["SD 1.5", "SD3"] + 2 * ["SD 2", "EDM", "Flux dev", "Wan", "LTX-AV"]
FAMILIES += ["SDXL", "Flux dev, cfg 5", "Chroma", "Lumina 2", "Qwen Image", "Stable Audio"]
UNETS = ("SD 1.5", "SD 2", "EDM", "SDXL")
SIZES = ((8, 8), (8, 8), (8, 8), (8, 12), (12, 8))
WINDOWS = ((0.0, 0.6), (0.4, 1.0), (0.25, 0.8))
SCHEDULERS = ("simple", "simple", "karras", "normal", "sgm_uniform", "beta", "exponential", "ddim_uniform")
BOUNDS = ("start", "end", "tau1", "tau2", "t_min", "t_max")  # of a part of the run, which shall have a step in it
NEGATIVES = 4 * ["plain"] + ["longer", "ends", "masked"]
FIRST_TEXT = 10  # further negatives have texts from here on; those before belong to the guiders


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
    """A node of others."""

    name: str

    @property
    def foreign(self) -> Foreign:
        return FOREIGN[self.name]

    def on(self, patched, family: Family, ledger: dict):
        return self.foreign.put(patched, ledger)

    def __str__(self) -> str:
        return f"(theirs) {self.name}"


@functools.cache
def display_name(node: type) -> str:
    return node.define_schema().display_name


@dataclass(frozen=True)
class Scene:
    """stack: the nodes that the MODEL goes through, in the order of the wires. first: the place of the first sample in
    the batch that the noise was drawn for. skipped: steps that a run after another sampler leaves out at its start.
    """

    seed: int
    family: str
    size: tuple[int, int]
    batch: int
    stack: tuple[Ours | Theirs, ...]
    guider: str
    cfg: float
    sampler: str
    scheduler: str
    steps: int
    negatives: str = "plain"
    skipped: int = 0
    first: int = 0
    nudge: float = 0.0

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


# ---- drawn


def draw(seed: int) -> Scene:
    chance = random.Random(seed)
    family = chance.choice(FAMILIES)
    size = chance.choice(SIZES)
    sampler = chance.choice(chance.choice((STEADY, STEADY, STEADY, NOISY, OWN)))
    if is_picture(family) and chance.random() < 0.15:
        sampler = chance.choice((PEEKING, GROWING))
    guider = chance.choice(list(GUIDERS)) if chance.random() < 0.7 else "CFG Guider"
    cfg = chance.choice((1.0, 1.5, 3.5, 5.0, 7.5))
    if takes_lambda(sampler):
        cfg = chance.choice((0.4, 0.7, 1.0))
    elif family == "Flux dev":
        cfg = chance.choice((1.0, 1.0, 3.5))
    scene = Scene(
        seed=seed,
        family=family,
        size=size,
        batch=chance.choice((1, 1, 1, 2)),
        stack=(),
        guider=guider,
        cfg=cfg,
        sampler=sampler,
        scheduler=chance.choice(SCHEDULERS),
        steps=chance.choice((3, 3, 3, 4)),
        negatives=draw_negative(chance, family, sampler),
        skipped=chance.choice((0, 0, 0, 1)),
    )
    scene = scene.with_stack(draw_stack(chance, scene))
    return dataclasses.replace(scene, steps=5) if scene.does(CACHES) else scene  # or a cache would have none to serve


def draw_negative(chance: random.Random, family: str, sampler: str) -> str:
    """The host cannot fit a mask to a latent that changes its size."""
    negative = chance.choice(NEGATIVES) if is_picture(family) else "plain"
    return "plain" if negative == "masked" and sampler in (PEEKING, GROWING) else negative


def draw_stack(chance: random.Random, scene: Scene) -> list:
    """One to four nodes of ours that may stand together, and none to two of others, in any order."""
    ours, theirs = [], []
    for text in range(FIRST_TEXT, FIRST_TEXT + chance.choice((1, 2, 2, 3, 4))):
        part = draw_ours(chance, scene, text)
        once = part.name not in [other.name for other in ours]  # some do nothing a second time
        if once and may_stand(scene, [*ours, part]):
            ours.append(part)
    fitting = [name for name, foreign in FOREIGN.items() if fits(foreign, scene)]
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2))):
        theirs.append(Theirs(chance.choice(fitting)))
    theirs = list(dict.fromkeys(theirs))
    stack = ours + theirs
    chance.shuffle(stack)
    return stack


def fits(foreign: Foreign, scene: Scene) -> bool:
    """Whether a node of others can do its work here. Half the size of half the size is too small for a UNet."""
    picture = is_picture(scene.family) and scene.sampler != PEEKING
    where = {"unet": scene.family in UNETS, "dit": scene.family == "SD3", "picture": picture, "": True}
    return where[foreign.on]


def may_stand(scene: Scene, parts: list) -> bool:
    """Whether these nodes of ours can be wired together. A node that cannot says so by a ValueError."""
    patched = scene.made_of.build()
    try:
        for part in parts:
            patched = part.on(patched, scene.made_of, {})
    except ValueError as error:
        logging.getLogger(__name__).debug("%s", error)
        return False
    return True


def draw_ours(chance: random.Random, scene: Scene, text: int) -> Ours:
    home = [method for method in METHODS + (ELSEWHERE if scene.family.startswith("Flux dev") else [])]
    methods = [method for method in home if all(map(features.due, method.needs))]
    if not is_picture(scene.family):
        methods = [method for method in methods if not method.pictures]
    method = chance.choice(methods)
    changes = {**draw_window(chance, method), **draw_numbers(chance, method)}
    part = Ours(method.name, text, tuple(changes.items()))
    offs = ways_off(part, scene)
    return dataclasses.replace(part, off=chance.choice(offs)) if offs and chance.random() < 0.1 else part


def ways_off(part: Ours, scene: Scene) -> list[tuple]:
    """The changes that each switch a node off in this scene. A list of one number a step fits one number of steps only,
    and no constant weight is that of an unknown guider."""
    unknown = scene.guider.startswith("unknown")
    ways = []
    for change in part.method.neutral(scene.cfg):
        lists = any(isinstance(value, guidance.Steps) for value in change.values())
        if not lists and not (unknown and part.name == "scheduled_cfg" and "start" not in change):
            ways.append(tuple(change.items()))
    return ways


def draw_window(chance: random.Random, method: Method) -> dict:
    ids = {given.id for given in method.node.define_schema().inputs}
    if method.group or not {"start", "end"} <= ids or chance.random() < 0.6:
        return {}
    return dict(zip(("start", "end"), chance.choice(WINDOWS), strict=True))


def draw_numbers(chance: random.Random, method: Method) -> dict:
    """Some numbers moved within their range, some made into schedules."""
    found = {}
    for place in places(method):
        value = method.acting.get(place.name)
        if place.group or type(value) is not float or place.name in BOUNDS:
            continue
        low, high = place.range
        near = max(low, 0.5 * value), min(high, 1.5 * value)
        if chance.random() < 0.2:
            found[place.name] = round(chance.uniform(*near), 3)
        elif "GUIDANCE_SCHEDULE" in place.types and chance.random() < 0.2:
            found[place.name] = guidance.Linear(*(round(chance.uniform(*near), 3) for _ in range(2)))
    return found


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
    (stage,) = stages.of(part.on(scene.made_of.build(), scene.made_of, {}))
    return type(stage).__name__, getattr(stage, "phase", 0)
