"""What each of the host's guiders calls its weight, and which two predictions it contrasts.

A guider is recognised by its attributes. Its class would not do: the host loads its node files under names of its own,
so an `isinstance` check against an imported class would always fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class GuiderKind:
    """One row of the table.

    name        the guider's name, as users know it
    matches     tells whether a guider is of this kind
    weight      the guider's attribute that is the weight of the pair; None where it has no weight
    baseline    key in `guider.conds` of the conditioning that the positive is contrasted with
    steered     what the weight acts on, in a user's words; logged where this is not simply `cfg`
    contrasted  key in `guider.conds` of the other half of the pair, which can stand in for the baseline; None where the
                guider cannot use one for the other
    corrects    whether the host calls post-CFG functions at weight 1 too
    one_model   whether one model makes both predictions
    """

    name: str
    matches: Callable[[object], bool]
    weight: str | None
    baseline: str | None
    steered: str = ""
    contrasted: str | None = "positive"
    corrects: bool = True
    one_model: bool = True


GUIDERS = (
    GuiderKind(
        "Dual CFG Guider (nested)",
        lambda guider: hasattr(guider, "cfg2") and getattr(guider, "nested", False),
        weight="cfg1",
        baseline="middle",
        steered="cfg_conds (cond1 against cond2); cfg_cond2_negative stays as it is",
    ),
    GuiderKind(
        "Dual CFG Guider",
        lambda guider: hasattr(guider, "cfg2"),
        weight="cfg2",
        baseline="negative",
        steered="cfg_cond2_negative (cond2 against the negative); cfg_conds stays as it is",
        contrasted="middle",
    ),
    GuiderKind(
        "Perp-Neg Guider",
        lambda guider: hasattr(guider, "neg_scale"),
        weight="cfg",
        baseline="empty_negative_prompt",
        steered="cfg (positive against the empty prompt); a pass is saved at weight 1 only if neg_scale is 0",
        contrasted=None,
    ),
    GuiderKind(
        "Dual Model CFG Guider",
        lambda guider: hasattr(guider, "uncond_model_patcher"),
        weight="cfg",
        baseline="negative",
        steered="cfg; at weight 1 the host skips every post-CFG function together with the negative model",
        contrasted=None,
        corrects=False,
        one_model=False,
    ),
    GuiderKind(
        "Basic Guider",
        lambda guider: "negative" not in guider.original_conds,
        weight=None,
        baseline=None,
    ),
    GuiderKind("CFG Guider", lambda guider: True, weight="cfg", baseline="negative"),
)
BASIC, PLAIN = GUIDERS[-2:]


def kind_of(guider) -> GuiderKind:
    return next(kind for kind in GUIDERS if kind.matches(guider))


def negative_model(guider):
    """The loaded model that makes the negative pass. The Dual Model CFG Guider has a second model for it."""
    if hasattr(guider, "uncond_model_patcher"):
        return guider.uncond_inner
    return guider.inner_model


def wants_negative_pass(guider, kind: GuiderKind, scale: float, model_options: dict) -> bool:
    """Whether a step at this scale needs the baseline's prediction."""
    if scale != 1.0 or model_options.get("disable_cfg1_optimization", False):
        return True
    return getattr(guider, "neg_scale", 0.0) != 0.0 or kind.name.endswith("(nested)")


def keeper_of_the_pass(guider, kind: GuiderKind, model_options: dict) -> str | None:
    """Who wants the baseline's prediction even at weight 1, where the host would make no pass for it; None if nobody.

    The answer is a noun phrase for a log line.
    """
    if model_options.get("disable_cfg1_optimization", False):
        return "the sampler or another node"
    return f"the {kind.name}" if wants_negative_pass(guider, kind, 1.0, model_options) else None


def makes_negative_pass(guider, kind: GuiderKind, scale: float, model_options: dict) -> bool:
    """Whether the host will evaluate the baseline's conditioning at this scale."""
    return negative_model(guider) is not None and wants_negative_pass(guider, kind, scale, model_options)
