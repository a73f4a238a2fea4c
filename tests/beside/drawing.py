"""Scenes, drawn from seeds: a random stack of our nodes and those of others, under a random guider and sampler."""

from __future__ import annotations

import dataclasses
import logging
import random

import features
from azimuth import guidance
from methods import ELSEWHERE, METHODS
from places import places
from rows import Method

from .foreign import CACHES, FOREIGN, Foreign
from .guiders import GUIDERS
from .samplers import GROWING, NOISY, OBJECTS, PEEKING, RESIZING, STEADY, takes_lambda
from .scene import Ours, Scene, Theirs, is_picture, ways_off

FAMILIES = 4 * ["SD 1.5", "SD3"] + 2 * ["SD 2", "EDM", "Flux dev", "Wan", "LTX-AV"]
FAMILIES += ["SDXL", "Flux dev, cfg 5", "Chroma", "Lumina 2", "Qwen Image", "Stable Audio"]
UNETS = ("SD 1.5", "SD 2", "EDM", "SDXL")
SIZES = ((8, 8), (8, 8), (8, 8), (8, 12), (12, 8))
WINDOWS = ((0.0, 0.6), (0.4, 1.0), (0.25, 0.8))
SCHEDULERS = ("simple", "simple", "karras", "normal", "sgm_uniform", "beta", "exponential", "ddim_uniform")
BOUNDS = ("start", "end", "tau1", "tau2", "t_min", "t_max")  # of a part of the run, which shall have a step in it
NEGATIVES = 4 * ["plain"] + ["longer", "ends", "masked"]
FIRST_TEXT = 10  # further negatives have texts from here on; those before belong to the guiders


def draw(seed: int) -> Scene:
    chance = random.Random(seed)
    family = chance.choice(FAMILIES)
    size = chance.choice(SIZES)
    sampler = chance.choice(chance.choice((STEADY, STEADY, STEADY, NOISY, OBJECTS)))
    if is_picture(family) and chance.random() < 0.15:
        sampler = chance.choice((PEEKING, GROWING))
    elif not is_picture(family) and sampler in RESIZING:
        sampler = "euler"
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
    return "plain" if negative == "masked" and sampler in RESIZING else negative


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
    """Whether a node of others can do its work here: not twice half the size, nor a cache where the size changes."""
    resized = scene.sampler in RESIZING
    if CACHES in foreign.does and resized:
        return False
    picture = is_picture(scene.family) and not resized
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
