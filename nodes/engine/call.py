"""One model call of a run. Every call begins with a new `Call`, so that nothing of the one before is left in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from .steps import Step


@dataclass(eq=False)
class Call:
    """What holds for one call of the guider, from the host's PREDICT_NOISE to the guided prediction.

    step              the step of the run that it belongs to
    baseline_missing  the main negative's time range leaves this step out, so that the host hands over zeros for it
    scale             the weight that the guider was given; None where the guider has none
    keeps_pass        somebody wants the negative's prediction at weight 1 too
    active            the further negatives that count here: pairs of a branch and its weight
    swapped           the branch that the host evaluates in the main negative's place
    predictions       what the model predicted of the active branches, in their order
    first_pass        of a pair of two passes, the first: its conditionings and its prediction
    reusing           what is predicted of negatives is made from an earlier step
    weakened          beside a reused pair, this call's own prediction of what added terms weaken
    """

    step: Step
    baseline_missing: bool = False
    scale: float | None = None
    keeps_pass: bool = False
    active: list[tuple] = field(default_factory=list)
    swapped: object = None
    predictions: list[Tensor] = field(default_factory=list)
    first_pass: tuple[list, Tensor] | None = None
    reusing: bool = False
    weakened: Tensor | None = None
