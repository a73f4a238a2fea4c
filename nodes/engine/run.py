"""One sampling run: what is known when it opens, and what changes from step to step.

The host makes a copy of `model_options` for every run, and a `Run` lives in that copy: no state outlives the run.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

from torch import Tensor

from ...guidance import Memory, Parametrisation
from . import guiders, stages
from .account import Account
from .call import Call
from .samplers import Sampler
from .stages import Stage
from .steps import Course, Step, step_at

RUN = "azimuth_run"  # the key of a run in its `model_options`

# A weight this near to 1 counts as 1.
WEIGHT_TOLERANCE = 1e-6


@dataclass(eq=False)
class Run:
    """Everything that is known of one run while it is sampled.

    Known when it opens:

    stages         the stages that can act in this run, in the order in which they run
    sigmas         the levels of its steps: N + 1 numbers, falling, or rising when unsampling
    network        what the model's network puts out, and in which coordinates it is sampled
    guider_kind    the guider's row in the table of guiders (guiders.py)
    sampler        its sampler (samplers.py)
    latent_shapes  the shape of each latent; more than one where the host has packed several (a video and its sound)
    from_noise     whether the run begins at the model's largest sigma
    seed           the seed of its noise
    pair           its `Pair` stage; None if it has none, or one whose window has no step
    before         the weight that the guider came with; None where it has none, UNKNOWN where it is no number
    usual          the weight of a step before any stage changes it: `before`, or that of a sampler that sets its own;
                   UNKNOWN under a guider that nobody here knows
    cfg_function   the cfg function that the run began with; None without one
    neutral        whether no stage does anything at any step, so that the host's own results stand untouched

    Made for its stages when it opens:

    schedules      for each stage, its schedule for these sigmas
    strengths      for each stage whose rule has a share in the result, the schedule of that share
    branches       the further negatives
    terms          for each `Add` stage, the function that `open` returned
    seconds        the second models
    texts          for each `Attention` stage, its second text

    What changes:

    memories       for each stage, each part of a packed latent and each size, what the stage keeps from step to step
    settled        on the device: whether all samples had settled by the last guided call
    skipping       whether all samples had settled before this step began, so that negative passes are left out
    course         which step the next call belongs to (steps.py)
    calls          how many calls have been guided
    positive_alone whether the sampler wants nothing but the positive's prediction of the next call
    unshown        whether a call did not show its weight, so that no further negative is asked for
    watch          whether a cache answers for the network; None where none can (caches.py)
    sorted         the stages by kind, as they have been asked for
    account        what the run tells its user (account.py)
    call           the call at hand; between two calls, an empty one at the step of the last
    """

    stages: tuple[Stage, ...]
    sigmas: tuple[float, ...]
    network: Parametrisation
    guider_kind: guiders.GuiderKind
    sampler: Sampler
    latent_shapes: list
    from_noise: bool = False
    seed: int = 0
    pair: stages.Pair | None = None
    before: guiders.Weight | None = None
    usual: guiders.Weight | None = None
    cfg_function: object = None
    neutral: bool = False

    schedules: dict = field(default_factory=dict)
    strengths: dict = field(default_factory=dict)
    branches: list = field(default_factory=list)
    terms: dict = field(default_factory=dict)
    seconds: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)

    memories: dict = field(default_factory=dict)
    settled: Tensor | None = None
    skipping: bool = False
    calls: int = 0
    positive_alone: bool = False
    unshown: bool = False
    watch: object = None
    sorted: dict = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    course: Course = field(init=False)
    call: Call = field(init=False)

    def __post_init__(self):
        self.course = self.sampler.course(self.sigmas, self.kind)
        self.call = Call(step_at(self.sigmas, 0), over=True)

    @classmethod
    def open(
        cls, model_stages, sigmas, network, guider_kind: guiders.GuiderKind, sampler, latent_shapes, from_noise=False
    ) -> Run:
        """A run, with every stage fitted to its sigmas. Raises ValueError, naming node and input, if one cannot be."""
        run = cls(model_stages, sigmas, network, guider_kind, Sampler(sampler), latent_shapes, from_noise)
        run.pair = next((stage for stage in run.of(stages.Pair) if run.on(stage)), None)
        for stage in model_stages:
            run.schedules[stage] = run.fitted(stage.node, stage.input, stage.schedule)
        for stage in run.of(stages.Blended):
            run.strengths[stage] = run.fitted(stage.node, "strength", stage.strength)
        for stage in model_stages:
            if stage.check:
                stage.check(run)
        return run

    @property
    def kind(self) -> str:
        """The coordinates in which the model is sampled, "ve" or "flow"."""
        return self.network.kind

    def fitted(self, node: str, name: str, schedule):
        """The schedule at a node's input for this run. Raises ValueError, naming both, if it does not fit."""
        try:
            return schedule.for_run(self.sigmas, self.network.family)
        except ValueError as error:
            raise ValueError(f"{node}, input {name}: {error}") from error

    # ---- the stages

    def of(self, kind: type) -> list:
        if self.sorted.get(None) is not self.stages:  # a stage may be left out later
            self.sorted = {None: self.stages}
        if kind not in self.sorted:
            self.sorted[kind] = [stage for stage in self.stages if isinstance(stage, kind)]
        return self.sorted[kind]

    def value(self, stage: Stage, step: Step) -> float:
        """A stage's own number at a step."""
        return self.schedules[stage].weight(step.progress, step.sigma)

    def share(self, stage: Stage, step: Step) -> float:
        """The share of a stage in the result of a step: 0 outside its window, else its strength, or 1 without one."""
        if step.progress not in stage.window:
            return 0.0
        return self.strengths[stage].weight(step.progress, step.sigma) if stage in self.strengths else 1.0

    def on(self, stage: Stage) -> list[Step]:
        """The steps at which a stage has a share in the result."""
        return [step for step in self.steps if self.share(stage, step) > 0.0]

    def counts(self, stage: Stage, step: Step, scale: guiders.Weight | Tensor) -> bool:
        """Whether a stage does anything at a step whose weight is `scale`; never where it has no share."""
        return self.share(stage, step) > 0.0 and stage.counts(step, guiders.gauge(scale), self.value(stage, step))

    def counting(self, kind: type, scale: guiders.Weight | Tensor, step: Step | None = None) -> list:
        """The stages of a kind that do something at a step with this weight; by default the step of the call."""
        step = step or self.call.step
        return [stage for stage in self.of(kind) if self.counts(stage, step, scale)]

    def ever_counts(self, stage: Stage, before: guiders.Weight | None) -> bool:
        """Whether a stage does something at any step of the run; `before` is the sampler's own weight, if any."""
        return any(self.counts(stage, step, self.scale_at(step, before)) for step in self.steps)

    def most(self, node: str) -> float:
        """The largest value, times its share, that a node's stages have at any step; 0 if it has none here."""
        own = [stage for stage in self.stages if stage.node == node]
        return max((self.value(s, step) * self.share(s, step) for s in own for step in self.on(s)), default=0.0)

    @property
    def is_neutral(self) -> bool:
        """Whether no stage does anything at any step, so that the host's own results can stand untouched.

        Where the guider has no weight there is no negative, and only stages that need none act.
        """
        if self.before is None:
            kinds = (stages.Condition, stages.Attention, stages.Add, stages.Correct)
            return not any(self.ever_counts(stage, None) for kind in kinds for stage in self.of(kind))
        known = guiders.is_known(self.before)
        moved = known and any(scale != self.before for scale in self.scales(self.before))
        moved = moved or (self.sampler.sets_weight and bool(self.of(stages.Weight)))
        combines = any(self.counts(stage, step, math.inf) for stage in self.of(stages.Combine) for step in self.steps)
        return not (moved or combines or any(self.ever_counts(stage, self.usual) for stage in self.stages))

    # ---- the steps and their weights

    @functools.cached_property
    def sigmas_seen(self) -> tuple[float, ...]:
        """The levels of the steps as rules see them: those of a flow model in flow coordinates."""
        return tuple(map(self.network.sigma_seen, self.sigmas))

    @functools.cached_property
    def steps(self) -> list[Step]:
        return [step_at(self.sigmas, i) for i in range(len(self.sigmas) - 1)]

    @property
    def needs_step(self) -> bool:
        """Whether anything changes over the run, so that the step of a call must be known.

        If not, its sigma is not read: reading it means waiting for the device.
        """
        return not all(stage.constant for stage in self.stages) or any(
            found.timed for found in (*self.branches, *self.texts.values())
        )

    def makes_pair(self, step: Step | None = None) -> bool:
        """Whether the `Pair` stage makes a step's pair, by default that of the call; at weight 1 it takes one pass."""
        return self.pair is not None and (step or self.call.step).progress in self.pair.window

    def scale_at(self, step: Step, scale: guiders.Weight | None) -> guiders.Weight:
        """The weight of a step, after all weight stages.

        `scale` is the weight without any stage: the sampler's own, or one that another node has set for this step.
        None means that the guider has no weight; the result is then 1.

        In a run with a `Pair` stage the stage's value takes the place of the sampler's own weight. The result is 1 at
        steps outside its window, unless another node has set a weight.
        """
        if scale is None:
            return 1.0
        if isinstance(scale, tuple):
            return guiders.joined(tuple(self.scale_at(step, of_part) for of_part in scale))
        if self.pair:
            given = scale != self.before and not self.sampler.sets_weight
            if not self.makes_pair(step):
                return scale if given else 1.0
            scale = scale if given else self.value(self.pair, step)
        for stage in self.of(stages.Weight):
            scale = stage.rule(self, step, self.value(stage, step), scale)
        return 1.0 if math.isclose(scale, 1.0, rel_tol=WEIGHT_TOLERANCE) else scale

    def scales(self, scale: guiders.Weight) -> list[guiders.Weight]:
        return [self.scale_at(step, scale) for step in self.steps]

    # ---- while it is sampled

    def begin(self, step: Step, settled: bool = False, baseline_missing: bool = False) -> None:
        """Begin a call.

        `settled` says that all samples had settled by the last guided call. That takes effect from the next step on, so
        that all calls of one step are treated alike.
        """
        if settled and step.index != self.call.step.index:
            self.skipping, self.settled = True, None
        self.call = Call(step, baseline_missing)

    def end(self, outer: Call) -> None:
        """End a call: release its tensors, and keep the step that the run is at.

        `outer` was at hand when it began. That is a call too, and goes on, where another node's function has called the
        guider in the middle of it.
        """
        self.call = Call(self.call.step, over=True) if outer.over else outer

    def memory(self, stage: Stage | None, *of) -> Memory | None:
        """What a stage keeps from step to step; None if it keeps nothing.

        `of` tells memories of one stage apart: the part of a packed latent, and the size of the latent, which a sampler
        may change, or look at in another size within a step.
        """
        if stage is None or not stage.remembers:
            return None
        memory = self.memories.setdefault((stage, *of), Memory())
        memory.begin(self.call.step.index, trial=self.call.step.trial)
        return memory

    def say(self, sentence: str, *level: int) -> None:
        """Log a sentence, once a run; at the level INFO, or at another."""
        self.account.say(sentence, *level)

    def say_weight_of_another_node(self, replaced_by: list = ()) -> None:
        """Say what becomes of a weight that another node sets: the stages in `replaced_by` replace it, or it stands."""
        own = f"that of {self.pair.node}" if self.makes_pair() else "the sampler's"
        fate = "".join(f"{stage.node} replaces it" for stage in replaced_by) or f"it stands for {own} there"
        self.say(f"Azimuth: another node sets the weight of some steps; {fate}.")

    @property
    def batch(self) -> int:
        return self.latent_shapes[0][0]


def run_in(model_options: dict | None) -> Run | None:
    """The run that these options belong to; None outside a run with stages."""
    return (model_options or {}).get(RUN)
