"""What the passes of a step are conditioned with: copies of the host's processed conditionings, for that step alone.

The copies take the place of `guider.conds` before the host batches them. ControlNets, context windows and the passes of
other nodes therefore use what the model is given.
"""

from __future__ import annotations

import uuid

import torch

from .run import Run
from .stages import Condition

NEGATIVE = ("negative", "empty_negative_prompt")  # the guiders' names of what a positive is contrasted with
BRANCH = "azimuth_negative"  # how the names of the lists of further negatives begin


def of_step(guider, run: Run) -> dict[str, list]:
    """The guider's conditionings, changed by this step's `Condition` stages; the guider's own if there are none."""
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
    """A copy of a processed conditioning in which `tensor` replaces the entry `name`."""
    found = cond["model_conds"][name]
    return {**cond, "model_conds": {**cond["model_conds"], name: type(found)(tensor)}}


# ---- the guidance embedding


def with_guidance(cond: dict, value: float) -> dict:
    """A copy with `value` as the number of the guidance embedding; `cond` itself if it carries no such number."""
    if "guidance" not in cond["model_conds"]:
        return cond
    return with_tensor(cond, "guidance", torch.full_like(cond["model_conds"]["guidance"].cond, value))


def heard_as(cond: dict, other: dict) -> dict:
    """A copy with the guidance number that `other` carries; `cond` itself if either carries none."""
    found = other["model_conds"].get("guidance")
    if found is None or "guidance" not in cond["model_conds"]:
        return cond
    return with_tensor(cond, "guidance", found.cond)


def as_another(cond: dict, name: str = "azimuth") -> dict:
    """A copy with an id of its own. Caches know a conditioning by its id, and so cannot take it for the original."""
    return {**cond, "uuid": uuid.uuid5(cond["uuid"], name)}


def told_apart(positive: list[dict], conds: list[dict]) -> list[dict]:
    """`conds`, in which each conditioning that has the id of one of the positive's is copied under an id of its own.

    The host makes such doubles: it copies areas from one list to the others, id and all.
    """
    ids = {cond["uuid"] for cond in positive}
    return [as_another(cond) if cond["uuid"] in ids else cond for cond in conds]


def no_guidance_embedding(model, positive: list[dict]) -> str:
    """Why another number for the guidance embedding would do nothing, as `Condition.obstacle` says it.

    The model's configuration tells. A number in the conditioning does not: Chroma reads one too, with another meaning.
    """
    if not model.model_config.unet_config.get("guidance_embed", False):
        return "on this model, which has no guidance embedding; guide it with cfg and a negative prompt"
    if positive and all(cond.get("guidance", 0.0) is None for cond in positive):
        return "on a positive prompt whose guidance is disabled; bypass the node that disables it"
    return ""
