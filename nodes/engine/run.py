"""One sampling run: what is known of it when it opens, and what changes from step to step.

The host makes a copy of `model_options` for every run, and a `Run` lives in that copy: no state outlives the run.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

from torch import Tensor

from ...guidance import Memory
from . import guiders, stages
from .account import Account
from .call import Call
from .samplers import Sampler
from .stages import Stage
from .steps import Step, step_at

RUN = "azimuth_run"  # the key of a run in its `model_options`

# A weight as near to 1 as this is 1.
WEIGHT_TOLERANCE = 1e-6


@dataclass(eq=False)
class Run:
    """Everything that is known of one run while it is sampled.

    stages         those that can act in this run, in the order in which they run
    sigmas         of its steps: N + 1 numbers, falling, or rising when unsampling
    kind           "flow" or "ve", the family of the model
    guider_kind    the row of the table of guiders
    latent_shapes  the shape of each latent; more than one where the host has packed several (a video and its sound)
    from_noise     whether the run begins at the model's largest sigma
    pair           the stage that makes a pair of two passes, if there is one
    before         the weight that the guider came with; None where it has none
    usual          the weight of a step before any stage: `before`, or that of a sampler that sets its own
    neutral        no stage does anything at any step: the host's own results stand untouched

    schedules, branches, terms, seconds and texts are what its stages were opened to: the schedule of each for these
    sigmas, further negatives, what an added term calls, second models and second texts.

    memories       what stages keep from step to step, for each part of a packed latent
    settled        on the device: whether all samples had settled by the last guided call
    skipping       a step began with all samples settled, so that no negative pass is made any more
    calls          how many calls have been guided
    positive_alone the sampler wants nothing but the positive of the next call
    call           the call at hand; between two calls, an empty one at the step of the last
    """

    stages: tuple[Stage, ...]
    sigmas: tuple[float, ...]
    kind: str
    guider_kind: guiders.GuiderKind
    sampler: Sampler
    latent_shapes: list
    from_noise: bool = False
    seed: int = 0
    pair: stages.Pair | None = None
    before: float | None = None
    usual: float | None = None
    neutral: bool = False

    schedules: dict = field(default_factory=dict)
    branches: list = field(default_factory=list)
    terms: dict = field(default_factory=dict)
    seconds: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)

    memories: dict = field(default_factory=dict)
    settled: Tensor | None = None
    skipping: bool = False
    calls: int = 0
    positive_alone: bool = False
    account: Account = field(default_factory=Account)
    call: Call = field(init=False)

    def __post_init__(self):
        self.call = Call(step_at(self.sigmas, 0))

    @classmethod
    def open(
        cls, model_stages, sigmas, kind: str, guider_kind: guiders.GuiderKind, sampler, latent_shapes, from_noise=False
    ) -> Run:
        """Fit every stage to this run's sigmas. Raises ValueError, naming node and input, where one does not fit."""
        run = cls(model_stages, sigmas, kind, guider_kind, Sampler(sampler), latent_shapes, from_noise)
        run.pair = next(iter(run.of(stages.Pair)), None)
        for stage in model_stages:
            try:
                run.schedules[stage] = stage.schedule.for_run(sigmas, kind)
            except ValueError as error:
                raise ValueError(f"{stage.node}, input {stage.input}: {error}") from error
        for stage in model_stages:
            if stage.check:
                stage.check(run)
        return run

    # ---- the stages

    def of(self, kind: type) -> list:
        return [stage for stage in self.stages if isinstance(stage, kind)]

    def value(self, stage: Stage, step: Step) -> float:
        """A stage's own number at a step."""
        return self.schedules[stage].weight(step.progress, step.sigma)

    def counts(self, stage: Stage, step: Step, scale: float) -> bool:
        """Whether a stage does anything at a step whose weight is `scale`."""
        return stage.counts(step, scale, self.value(stage, step))

    def counting(self, kind: type, scale: float, step: Step | None = None) -> list:
        """The stages of a kind that do something at a step of this weight, by default the step of the call."""
        step = step or self.call.step
        return [stage for stage in self.of(kind) if self.counts(stage, step, scale)]

    def ever_counts(self, stage: Stage, before: float | None) -> bool:
        """Whether a stage does something at any step of the run; `before` is the sampler's own weight, if any."""
        return any(self.counts(stage, step, self.scale_at(step, before)) for step in self.steps)

    def most(self, node: str) -> float:
        """The largest number that the stages of a node take at any step of the run."""
        return max((self.value(s, step) for s in self.stages if s.node == node for step in self.steps), default=0.0)

    def is_neutral(self, before: float | None) -> bool:
        """Whether no stage does anything at any step, so that the host's own results can stand untouched.

        Without a weight there is no negative, and only what needs none can act.
        """
        if before is None:
            kinds = (stages.Condition, stages.Attention, stages.Add, stages.Correct)
            alone = [stage for kind in kinds for stage in self.of(kind)]
            return not any(self.ever_counts(stage, before) for stage in alone)
        unchanged = not self.sampler.sets_weight and all(scale == before for scale in self.scales(before))
        return unchanged and not any(self.ever_counts(stage, before) for stage in self.stages)

    # ---- the steps and their weights

    @functools.cached_property
    def steps(self) -> list[Step]:
        return [step_at(self.sigmas, i) for i in range(len(self.sigmas) - 1)]

    @property
    def needs_step(self) -> bool:
        """Whether anything changes over the run. To read the sigma of a call is to wait for the device."""
        return not all(stage.constant for stage in self.stages) or any(
            found.timed for found in (*self.branches, *self.texts.values())
        )

    def makes_pair(self, step: Step | None = None) -> bool:
        """Whether a step's pair is made of two passes of the positive; at weight 1 one of them is saved."""
        return self.pair is not None and (step or self.call.step).progress in self.pair.window

    def scale_at(self, step: Step, scale: float | None) -> float:
        """The weight of a step, after all weight stages.

        `scale` is the weight that the step would have without them: the sampler's own, or that of another node. A pair
        of two passes has a weight of its own in place of the sampler's. Without a weight, or where a run's pair is not
        made, it is 1.
        """
        if scale is None:
            return 1.0
        if self.pair:
            given = scale != self.before and not self.sampler.sets_weight
            if not self.makes_pair(step):
                return scale if given else 1.0
            scale = scale if given else self.value(self.pair, step)
        for stage in self.of(stages.Weight):
            scale = stage.rule(self, step, self.value(stage, step), scale)
        return 1.0 if math.isclose(scale, 1.0, rel_tol=WEIGHT_TOLERANCE) else scale

    def scales(self, scale: float) -> list[float]:
        return [self.scale_at(step, scale) for step in self.steps]

    # ---- while it is sampled

    def begin(self, step: Step, settled: bool = False, baseline_missing: bool = False) -> None:
        """Begin a call. What settled within a step, whatever its number of calls, counts from the next step on."""
        if settled and step.index != self.call.step.index:
            self.skipping, self.settled = True, None
        self.call = Call(step, baseline_missing)

    def end(self) -> None:
        """End a call, and let go of the tensors that it held; the run is still at its step."""
        self.call = Call(self.call.step)

    def memory(self, stage: Stage | None, part: int) -> Memory | None:
        """What a stage kept of earlier steps, for one part of a packed latent; None for a stage that keeps nothing."""
        if stage is None or not stage.remembers:
            return None
        memory = self.memories.setdefault((stage, part), Memory())
        memory.begin(self.call.step.index)
        return memory

    def say(self, sentence: str, *level: int) -> None:
        """Log a sentence, once a run; at the level INFO, or at another."""
        self.account.say(sentence, *level)

    def say_weight_of_another_node(self, replaced_by: list = ()) -> None:
        """Say what becomes of a weight that is neither the sampler's nor ours."""
        own = f"that of {self.pair.node}" if self.makes_pair() else "the sampler's"
        fate = "".join(f"{stage.node} replaces it" for stage in replaced_by) or f"it stands for {own} there"
        self.say(f"Azimuth: another node sets the weight of some steps; {fate}.")

    @property
    def batch(self) -> int:
        return self.latent_shapes[0][0]


def run_in(model_options: dict | None) -> Run | None:
    """The run that these options belong to; None outside one of ours."""
    return (model_options or {}).get(RUN)
