"""What each of the host's guiders calls its weight, and which two predictions it contrasts.

A guider is known by the class that makes its predictions, by its name: the host loads its node files under names of its
own, so an `isinstance` check against an imported class would always fail. Of any other guider nothing is assumed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass

import comfy.samplers
from torch import Tensor

# A weight that nobody here knows. Every comparison with it is false.
UNKNOWN = math.nan

# A weight: one number, or one for each part of a packed latent (a video and its sound).
Weight = float | tuple[float, ...]


@dataclass(frozen=True)
class GuiderKind:
    """One row of the table.

    name        the guider's name, as users know it
    matches     tells whether a guider is of this kind
    weights     the guider's attributes that are the weight of the pair: one, or one for each part of a packed latent;
                none where it has no weight
    baseline    key in `guider.conds` of the conditioning that the positive is contrasted with
    steered     what the weight acts on, in a user's words; logged where this is not simply `cfg`
    contrasted  key in `guider.conds` of the other half of the pair, which can stand in for the baseline; None where the
                guider cannot use one for the other
    corrects    whether the host calls post-CFG functions at weight 1 too
    one_model   whether one model makes both predictions
    follows     whether it is known to guide with its weights. Of a guider that nobody here knows, only the arguments of
                post-CFG functions show what it did
    """

    name: str
    matches: Callable[[object], bool]
    weights: tuple[str, ...]
    baseline: str | None
    steered: str = ""
    contrasted: str | None = "positive"
    corrects: bool = True
    one_model: bool = True
    follows: bool = True


def maker(guider) -> str:
    """The name of the class that makes a guider's predictions; "" if its own object does."""
    if "predict_noise" in vars(guider):
        return ""
    made_by = next(c for c in type(guider).__mro__ if "predict_noise" in vars(c))
    return "" if made_by.__name__ == "CFGGuider" and made_by is not comfy.samplers.CFGGuider else made_by.__name__


GUIDERS = (
    GuiderKind(
        "Dual CFG Guider (nested)",
        lambda guider: maker(guider) == "Guider_DualCFG" and guider.nested,
        weights=("cfg1",),
        baseline="middle",
        steered="cfg_conds (cond1 against cond2); cfg_cond2_negative stays as it is",
    ),
    GuiderKind(
        "Dual CFG Guider",
        lambda guider: maker(guider) == "Guider_DualCFG",
        weights=("cfg2",),
        baseline="negative",
        steered="cfg_cond2_negative (cond2 against the negative); cfg_conds stays as it is",
        contrasted="middle",
    ),
    GuiderKind(
        "Perp-Neg Guider",
        lambda guider: maker(guider) == "Guider_PerpNeg",
        weights=("cfg",),
        baseline="empty_negative_prompt",
        steered="cfg (positive against the empty prompt); a pass is saved at weight 1 only if neg_scale is 0",
        contrasted=None,
    ),
    GuiderKind(
        "Dual Model CFG Guider",
        lambda guider: maker(guider) == "Guider_DualModel",
        weights=("cfg",),
        baseline="negative",
        steered="cfg; at weight 1 the host skips every post-CFG function together with the negative model",
        contrasted=None,
        corrects=False,
        one_model=False,
    ),
    GuiderKind(
        "LTXV Dual CFG Guider",
        lambda guider: maker(guider) == "Guider_LTXAVDualCFG",
        weights=("video_cfg", "audio_cfg"),
        baseline="negative",
        steered="video_cfg and audio_cfg alike",
    ),
    GuiderKind(
        "Basic Guider",
        lambda guider: maker(guider) == "CFGGuider" and "negative" not in guider.original_conds,
        weights=(),
        baseline=None,
    ),
    GuiderKind("CFG Guider", lambda guider: maker(guider) == "CFGGuider", weights=("cfg",), baseline="negative"),
    GuiderKind(
        "guider of another node",
        lambda guider: True,
        weights=("cfg",),
        baseline="negative",
        follows=False,
    ),
)
BASIC, PLAIN, _ = GUIDERS[-3:]


def kind_of(guider) -> GuiderKind:
    found = next(kind for kind in GUIDERS if kind.matches(guider))
    return found if found.follows else dataclasses.replace(found, name=f"guider {type(guider).__name__}")


# ---- its weight


def as_number(value) -> float:
    """A weight as a float; UNKNOWN if it is no number: a list, a tensor with a value for each sample, nothing."""
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    return float(value) if isinstance(value, Tensor) and value.ndim == 0 else UNKNOWN


def is_known(weight: Weight | Tensor) -> bool:
    """Whether a weight is known, though it be on the device: a tensor is."""
    return isinstance(weight, Tensor) or not any(map(math.isnan, numbers_of(weight)))


def numbers_of(weight: Weight) -> tuple[float, ...]:
    return weight if isinstance(weight, tuple) else (weight,)


def joined(weights: tuple[float, ...]) -> Weight:
    """One number, if the weight is the same for all parts of a latent."""
    return weights[0] if len(set(weights)) == 1 else weights


def gauge(weight) -> float:
    """One number that stands for a weight where it is asked whether a stage does anything.

    1 if the weight is 1 everywhere, else the largest that is not. UNKNOWN for a tensor, whose values are on the device.
    """
    if isinstance(weight, tuple):
        return max((scale for scale in weight if scale != 1.0), default=1.0)
    return weight if isinstance(weight, float) else UNKNOWN


def weight_of(guider, kind: GuiderKind, parts: int) -> Weight | None:
    """The guider's weight in a run over so many latents; None where it has none, UNKNOWN where it is no number."""
    if not kind.weights:
        return None
    found = tuple(as_number(getattr(guider, name, None)) for name in kind.weights)
    if any(map(math.isnan, found)):
        return UNKNOWN
    return joined(found) if parts > 1 else found[0]


def set_weight(guider, kind: GuiderKind, weight: Weight) -> None:
    """Give the guider this weight. `cfg` is the largest, as the host's guider with several weights has it."""
    values = weight if isinstance(weight, tuple) else (weight,) * len(kind.weights)
    for name, value in zip(kind.weights, values, strict=True):
        setattr(guider, name, value)
    if len(values) > 1:
        guider.cfg = max(values)


@contextlib.contextmanager
def kept(guider, kind: GuiderKind):
    """Restores all weights of the guider afterwards, whatever they are."""
    before = {name: getattr(guider, name) for name in {*kind.weights, "cfg"} if kind.weights and hasattr(guider, name)}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(guider, name, value)


# ---- its passes


def negative_model(guider):
    """The loaded model that makes the negative pass. The Dual Model CFG Guider has a second model for it."""
    if hasattr(guider, "uncond_model_patcher"):
        return guider.uncond_inner
    return guider.inner_model


def wants_negative_pass(guider, kind: GuiderKind, scale: Weight, model_options: dict) -> bool:
    """Whether a step at this scale needs the baseline's prediction. Of a foreign guider nobody knows: it may."""
    if scale != 1.0 or not kind.follows or model_options.get("disable_cfg1_optimization", False):
        return True
    return getattr(guider, "neg_scale", 0.0) != 0.0 or kind.name.endswith("(nested)")


def keeper_of_the_pass(guider, kind: GuiderKind, model_options: dict) -> str | None:
    """Who wants the baseline's prediction even at weight 1, where the host would make no pass for it; None if nobody.

    The answer is a noun phrase for a log line.
    """
    if model_options.get("disable_cfg1_optimization", False):
        return "the sampler or another node"
    return f"the {kind.name}" if kind.follows and wants_negative_pass(guider, kind, 1.0, model_options) else None


def makes_negative_pass(guider, kind: GuiderKind, scale: Weight, model_options: dict) -> bool:
    """Whether the host will evaluate the baseline's conditioning at this scale."""
    return negative_model(guider) is not None and wants_negative_pass(guider, kind, scale, model_options)
