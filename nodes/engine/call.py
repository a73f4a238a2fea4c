"""One model call of a run. Every call begins with a new `Call`, so that nothing of the one before is left in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from .steps import Step


@dataclass(eq=False)
class Call:
    """What holds for one call of the guider, from the host's PREDICT_NOISE to the guided prediction.

    step              the step of the run that the call belongs to
    baseline_missing  the time range of the sampler's negative leaves this step out, so that the host hands over zeros
                      for its prediction
    scale             the weight that the guider was given; None where it has none, or none that could be set
    keeps_pass        the sampler, its guider or another node wants the negative's prediction even at weight 1
    active            (branch, its weight) for each branch that counts here
    swapped           the branch that the host evaluates in the place of the sampler's negative
    predictions       the model's predictions for the active branches, in their order
    first_pass        (conditionings, prediction) of the first of the two passes of a `Pair` stage
    reusing           a `Reuse` stage makes the predictions for the negatives of this call from those of an earlier step
    weakened          where the pair's cond is reused: what this call itself predicts for it, for added terms
    due               the `Skip` stage for which a negative pass was due, or would have been; None if there is none
    contrasted        whether the positive was contrasted with anything; None until a post-CFG function is called
    over              the call has ended, and nothing of it is left but its step
    """

    step: Step
    baseline_missing: bool = False
    scale: float | tuple[float, ...] | None = None
    keeps_pass: bool = False
    active: list[tuple] = field(default_factory=list)
    swapped: object = None
    predictions: list[Tensor] = field(default_factory=list)
    first_pass: tuple[list, Tensor] | None = None
    reusing: bool = False
    weakened: Tensor | None = None
    due: object = None
    contrasted: bool | None = None
    over: bool = False
