"""One sampling run: its sigmas, the step it is at, and what it has already said.

A `Run` is made when the host opens a run and lives in that run's own copy of `model_options`, so no state outlives it.
"""

from __future__ import annotations

import functools
import logging
import math
from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor

from ...guidance import Memory
from . import guiders, stages

logger = logging.getLogger(__name__)

OPTION = "azimuth_run"

# A second evaluation of a step comes back with a rounded sigma; the host itself compares with 1e-4.
SIGMA_TOLERANCE = 1e-5

# A weight as near to 1 as this is 1.
WEIGHT_TOLERANCE = 1e-6

# How the names of samplers begin that reuse the predictions of earlier steps. The host's uni_pc calls itself unipc.
MULTISTEP = (
    "deis",
    "dpmpp_2m",
    "dpmpp_3m",
    "er_sde",
    "gradient_estimation",
    "ipndm",
    "lms",
    "res_multistep",
    "sa_solver",
    "uni_pc",
    "unipc",
)


# Of the samplers of this pack, those whose steps are made of calls at weights of their own.
SETS_WEIGHT = ("rectified_cfgpp",)


@dataclass(frozen=True)
class Step:
    """The scheduled step of a model call. `called_at` is the sigma of the call, which a corrector or a midpoint takes
    between `sigma` and `sigma_next`."""

    index: int
    progress: float
    sigma: float
    sigma_next: float
    called_at: float


def find_step(sigmas: tuple[float, ...], called_at: float) -> Step:
    """The step of a run with these sigmas (descending, or ascending when unsampling) that a call at a sigma belongs to.

    A call between two scheduled sigmas belongs to the step that contains it; outside the list it is clamped.
    """
    steps = len(sigmas) - 1
    if sigmas[-1] > sigmas[0]:
        reached = [sigma <= called_at * (1 + SIGMA_TOLERANCE) for sigma in sigmas[:steps]]
    else:
        reached = [sigma * (1 + SIGMA_TOLERANCE) >= called_at for sigma in sigmas[:steps]]
    index = max((i for i, is_reached in enumerate(reached) if is_reached), default=0)
    return step_at(sigmas, index, called_at)


def step_at(sigmas: tuple[float, ...], index: int, called_at: float | None = None) -> Step:
    """A step by its index, called at its own sigma or at another."""
    sigma = sigmas[index]
    progress = index / max(len(sigmas) - 2, 1)
    return Step(index, progress, sigma, sigmas[index + 1], sigma if called_at is None else called_at)


@dataclass(eq=False)
class Run:
    """Everything that changes while one run is sampled."""

    stages: tuple[stages.Stage, ...]
    sigmas: tuple[float, ...]
    kind: str
    guider: guiders.GuiderKind
    sampler: object
    latent_shapes: list
    from_noise: bool = False  # whether it begins at the model's largest sigma
    pair: stages.Pair | None = None  # where it can act in this run
    seed: int = 0
    active: list = field(default_factory=list)
    schedules: dict = field(default_factory=dict)
    memories: dict = field(default_factory=dict)
    branches: list = field(default_factory=list)
    predictions: list = field(default_factory=list)
    terms: dict = field(default_factory=dict)
    seconds: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)
    offered: set = field(default_factory=set)  # attention stages that a step handed to the model
    met: set = field(default_factory=set)  # those of them that came to bear there
    calls: int = 0
    step: Step | None = None
    before: float | None = None  # the weight that the guider came with
    usual: float | None = None  # the weight of a step before any stage: that, or the sampler's own
    scale: float | None = None  # the weight that the guider was given for this call
    neutral: bool = False
    baseline_missing: bool = False
    settled: Tensor | None = None  # on the device: whether all samples had settled by the last guided call
    skipping: bool = False  # since a step that began with all samples settled
    positive_alone: bool = False  # the sampler wants nothing else of this call
    keeps_pass: bool = False  # somebody wants the negative's prediction at weight 1 too
    first_pass: tuple[list, Tensor] | None = None  # of this call's pair: its conditionings, and what was predicted
    reusing: bool = False  # whether what this call predicts of negatives is made from an earlier step
    weakened: Tensor | None = None  # this call's prediction of what terms weaken, where the pair has a reused one
    swapped: object = None  # the branch that the host evaluates in the main negative's place at this step
    due: Counter = field(default_factory=Counter)  # negative passes, for each stage that may leave them out
    left_out: Counter = field(default_factory=Counter)
    non_finite: list = field(default_factory=list)
    said: set = field(default_factory=set)

    @classmethod
    def open(
        cls, model_stages, sigmas, kind: str, guider: guiders.GuiderKind, sampler, latent_shapes=(), from_noise=False
    ) -> Run:
        """Fit every stage to this run's sigmas. Raises ValueError, naming node and input, where one does not fit."""
        run = cls(model_stages, sigmas, kind, guider, sampler, latent_shapes, from_noise)
        run.pair = next(iter(run.of(stages.Pair)), None)
        for stage in model_stages:
            try:
                run.schedules[stage] = stage.schedule.for_run(sigmas, kind)
            except ValueError as error:
                raise ValueError(f"{stage.node}, input {stage.input}: {error}") from error
        for stage in model_stages:
            if stage.check:
                stage.check(run)
        run.step = step_at(sigmas, 0)
        return run

    def memory(self, stage: stages.Stage | None, part: int) -> Memory | None:
        """What a stage kept of earlier steps, for one part of a packed latent; None for a stage that keeps nothing."""
        if stage is None or not stage.remembers:
            return None
        memory = self.memories.setdefault((stage, part), Memory())
        memory.begin(self.step.index)
        return memory

    def enter(self, step: Step, settled: bool) -> None:
        """Go to the step of a call; what settled in a step, whatever its number of calls, counts from the next one."""
        if settled and step.index != self.step.index:
            self.skipping, self.settled = True, None
        self.step = step

    def count(self, stage: stages.Stage, due: int, left_out: int) -> None:
        """Note negative passes that a call was due to make, and how many of them a stage left out."""
        self.due[stage] += due
        self.left_out[stage] += left_out

    def of(self, kind: type) -> list:
        return [stage for stage in self.stages if isinstance(stage, kind)]

    @property
    def needs_step(self) -> bool:
        """Reading the sigma of a call waits for the device, so it is done only where a stage changes over the run."""
        return not all(stage.constant for stage in self.stages) or any(
            found.timed for found in (*self.branches, *self.texts.values())
        )

    def counting(self, kind: type, step: Step, scale: float) -> list:
        """The stages of a kind that do something at a step, of which `scale` is the weight."""
        return [stage for stage in self.of(kind) if stage.counts(self, step, scale)]

    @functools.cached_property
    def steps(self) -> list[Step]:
        return [step_at(self.sigmas, i) for i in range(len(self.sigmas) - 1)]

    def most(self, node: str) -> float:
        """The largest number that the stages of a node take at any step of the run."""
        return max((s.value(self, step) for s in self.stages if s.node == node for step in self.steps), default=0.0)

    def ever_counts(self, stage: stages.Stage, before: float | None) -> bool:
        """Whether a stage does something at any step of the run; `before` is the sampler's own weight, if any."""
        return any(stage.counts(self, step, self.scale_at(step, before)) for step in self.steps)

    def is_neutral(self, before: float | None) -> bool:
        """Whether no stage does anything at any step, so that the host's own results can stand untouched.

        Without a weight there is no negative, and only what needs none can act.
        """
        if before is None:
            kinds = (stages.Condition, stages.Attention, stages.Add, stages.Correct)
            alone = [stage for kind in kinds for stage in self.of(kind)]
            return not any(self.ever_counts(stage, before) for stage in alone)
        unchanged = not self.sets_weight and all(scale == before for scale in self.scales(before))
        return unchanged and not any(self.ever_counts(stage, before) for stage in self.stages)

    def makes_pair(self, step: Step) -> bool:
        """Whether a step's pair is made of two passes of the positive; at weight 1 one of them is saved."""
        return self.pair is not None and self.pair.counts(self, step, 1.0)

    def scale_at(self, step: Step, scale: float | None) -> float:
        """The weight of a step, from the sampler's own, from that of the pair or from the one that another node gave
        the step in place of these; 1 without one, and where a run's pair is not made."""
        if scale is None:
            return 1.0
        if self.pair:
            given = scale != self.before and not self.sets_weight
            if not self.makes_pair(step):
                return scale if given else 1.0
            scale = scale if given else self.pair.value(self, step)
        for stage in self.of(stages.Weight):
            scale = stage.rule(self, step, stage.value(self, step), scale)
        return 1.0 if math.isclose(scale, 1.0, rel_tol=WEIGHT_TOLERANCE) else scale

    def scales(self, scale: float) -> list[float]:
        return [self.scale_at(step, scale) for step in self.steps]

    def say(self, sentence: str, level: int = logging.INFO) -> None:
        """Log a sentence, once a run."""
        if sentence not in self.said:
            self.said.add(sentence)
            logger.log(level, sentence)

    def say_weight_of_another_node(self, replaced_by: list = ()) -> None:
        """Say what becomes of a weight that is neither the sampler's nor ours."""
        own = f"that of {self.pair.node}" if self.makes_pair(self.step) else "the sampler's"
        fate = "".join(f"{stage.node} replaces it" for stage in replaced_by) or f"it stands for {own} there"
        self.say(f"Azimuth: another node sets the weight of some steps; {fate}.")

    @property
    def batch(self) -> int:
        return self.latent_shapes[0][0]

    @property
    def sampler_name(self) -> str:
        """The host's name of the sampler: `euler`, `dpmpp_2m`, ..."""
        function = getattr(self.sampler, "sampler_function", None)
        return getattr(function, "__name__", type(self.sampler).__name__).removeprefix("sample_")

    @property
    def is_cfgpp(self) -> bool:
        """Whether the sampler is a CFG++ one, of the host's or of ours."""
        return self.sampler_name.endswith("_cfg_pp")

    @property
    def sets_weight(self) -> bool:
        """Whether the sampler sets the guider's weight itself, from call to call."""
        return self.sampler_name in SETS_WEIGHT

    def sampler_weight(self, before: float | None) -> float | None:
        """The weight of a step before any stage, for a guider that came with the weight `before`; the largest of a
        sampler that sets its own."""
        if before is None or not self.sets_weight:
            return before
        return 1.0 + self.sampler_options["lam_max"]

    @property
    def is_multistep(self) -> bool:
        """Whether the sampler itself remembers predictions from step to step."""
        return self.sampler_name.startswith(MULTISTEP)

    @property
    def sampler_options(self) -> dict:
        return getattr(self.sampler, "extra_options", {})
