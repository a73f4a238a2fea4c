"""What the passes of a step are conditioned with: copies of the host's processed conditionings, for that step alone.

They are changed where the host batches them from, so that ControlNets, context windows and the passes that other nodes
make see what the model sees.
"""

from __future__ import annotations

import uuid

import torch

from .run import Run
from .stages import Condition

NEGATIVE = ("negative", "empty_negative_prompt")  # the guiders' names of what a positive is contrasted with
BRANCH = "azimuth_negative"


def of_step(guider, run: Run) -> dict[str, list]:
    """The guider's conditionings, as this step's condition stages make them; the guider's own if there are none."""
    if not run.of(Condition):
        return guider.conds
    return {key: changed(run, key, conds) for key, conds in guider.conds.items()}


def changed(run: Run, key: str, conds: list[dict]) -> list[dict]:
    for stage in run.counting(Condition, 1.0):
        value = run.value(stage, run.call.step)
        conds = [stage.rule(run, (key, i), cond, value) for i, cond in enumerate(conds)]
    return conds


def is_negative(key: str) -> bool:
    return key in NEGATIVE or key.startswith(BRANCH)


def with_tensor(cond: dict, name: str, tensor: torch.Tensor) -> dict:
    """A copy of a processed conditioning with another tensor under one of its names."""
    found = cond["model_conds"][name]
    return {**cond, "model_conds": {**cond["model_conds"], name: type(found)(tensor)}}


# ---- the guidance embedding


def with_guidance(cond: dict, value: float) -> dict:
    """A copy with another number for the guidance embedding; itself where it carries none."""
    if "guidance" not in cond["model_conds"]:
        return cond
    return with_tensor(cond, "guidance", torch.full_like(cond["model_conds"]["guidance"].cond, value))


def heard_as(cond: dict, other: dict) -> dict:
    """A copy with the number that another conditioning carries; itself where either carries none."""
    found = other["model_conds"].get("guidance")
    if found is None or "guidance" not in cond["model_conds"]:
        return cond
    return with_tensor(cond, "guidance", found.cond)


def as_another(cond: dict) -> dict:
    """A copy that caches cannot take for the original: they know a conditioning by its id."""
    return {**cond, "uuid": uuid.uuid5(cond["uuid"], "azimuth")}


def told_apart(positive: list[dict], conds: list[dict]) -> list[dict]:
    """The host copies areas from one list to the others, id and all: these, with ids that none of the positive has."""
    ids = {cond["uuid"] for cond in positive}
    return [as_another(cond) if cond["uuid"] in ids else cond for cond in conds]


def no_guidance_embedding(model, positive: list[dict]) -> str:
    """Why another number for the guidance embedding would do nothing; empty if it does something.

    Chroma reads the same number with another meaning, and has no such embedding.
    """
    if not model.model_config.unet_config.get("guidance_embed", False):
        return "on this model, which has no guidance embedding; guide it with cfg and a negative prompt"
    if positive and all(cond.get("guidance", 0.0) is None for cond in positive):
        return "on a positive prompt whose guidance is disabled; bypass the node that disables it"
    return ""
