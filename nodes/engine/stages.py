"""The stages that nodes add to a MODEL: frozen values in `model_options`, sorted by kind when a run starts.

A kind answers one question of a step (which predictions? what weight? which rule? still an image?). Within a kind,
wiring order counts; between kinds it does not. A stage holds no state: whatever changes over a run lives in `run.Run`,
and whatever holds for one model call in `call.Call`. Rules and checks that are given a `run` are given that `Run`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import comfy.utils
from torch import Tensor

from ...guidance import Constant, Memory
from .steps import Step

OPTION = "azimuth_stages"
KEY = "azimuth"  # of our wrappers


@dataclass(frozen=True, eq=False)
class Moment:
    """One model call as a rule sees it: tensors (B, C, *spatial) in x0 space, of one latent.

    uncond   what the positive is contrasted with; None where no negative pass was made
    sigma    (B,), of the call; kind is "ve" or "flow"
    sigmas   those of the run's steps, on the host: N + 1 numbers; from_noise: whether they begin at the model's largest
    scale    the weight of the step; value: the stage's own number
    progress 0 at the first step of the run, 1 at the last; for stages that remember
    other    a prediction beside the two: a further negative's, or a weaker model's
    guided   what the stages before have made of it
    memory   what the stage kept from earlier steps of the run
    """

    cond: Tensor
    uncond: Tensor | None
    x: Tensor
    sigma: Tensor
    kind: str
    sigmas: tuple[float, ...]
    scale: float
    from_noise: bool = False
    progress: float = 0.0
    value: float = 0.0
    other: Tensor | None = None
    guided: Tensor | None = None
    memory: Memory | None = None

    def parts(self, shapes: list) -> list[Moment]:
        """One moment for each latent of a packed one (a video and its sound), or this one."""
        if len(shapes) < 2:
            return [self]
        names = [f.name for f in fields(self) if f.name != "sigma" and isinstance(getattr(self, f.name), Tensor)]
        unpacked = [comfy.utils.unpack_latents(getattr(self, name), shapes) for name in names]
        return [replace(self, **dict(zip(names, part, strict=True))) for part in zip(*unpacked, strict=True)]


Rule = Callable[[Moment], Tensor]


@dataclass(frozen=True, eq=False)
class Window:
    """The part of a run, in progress (0 first step, 1 last), in which a stage counts: start <= progress < end.

    An end of 1 includes the last step.
    """

    start: float = 0.0
    end: float = 1.0

    def __contains__(self, progress: float) -> bool:
        return self.start <= progress and (progress < self.end or self.end >= 1.0)

    @property
    def always(self) -> bool:
        return self.start <= 0.0 and self.end >= 1.0

    def __str__(self) -> str:
        return "" if self.always else f" while progress is {self.start:g} to {self.end:g}"


@dataclass(frozen=True, eq=False)
class Stage:
    """What every stage has.

    node      the display name of its node
    schedule  its number, as a schedule; its value at a step is that schedule's there
    input     the name of the input that the number comes from
    window    the part of a run in which it counts
    remembers its rule keeps something from step to step
    check     `check(run)` is called when a run opens; it logs, or raises ValueError for, what only a run can know
    """

    node: str
    schedule: object
    input: str
    window: Window = Window()
    remembers: bool = False
    check: Callable[..., None] | None = None

    @property
    def constant(self) -> bool:
        """True if the stage is the same at every step, so that a run need not know which step it is at."""
        return isinstance(self.schedule, Constant) and self.window.always and not self.remembers

    def counts(self, step: Step, scale: float, value: float) -> bool:
        """Whether the stage, with this value, does anything at a step whose weight is `scale`.

        Never for a weight stage: what it does shows in the weight itself.
        """
        return False


@dataclass(frozen=True, eq=False)
class Condition(Stage):
    """What is a pass conditioned with, this step? `rule(run, place, cond, value)` returns one of the host's processed
    conditionings as it is to be, in a copy, or itself. `place` is the key of its list and its index there.

    `off(step, value)` is True where the rule changes nothing; `steady` is False if it changes by itself from step to
    step, and `beside_pair` if the two passes of a pair have its say at their steps. `obstacle(model, positive)` is
    empty, or says in the words that follow the node's name why the stage can not
    act on a model with a positive conditioning.
    """

    rule: Callable[..., dict] = None
    off: Callable[[Step, float], bool] = lambda step, value: False
    obstacle: Callable[[object, list], str] = lambda model, positive: ""
    steady: bool = True
    beside_pair: bool = True
    words: str = ""

    @property
    def constant(self) -> bool:
        return super().constant and self.steady

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return step.progress in self.window and not self.off(step, value)

    def __str__(self) -> str:
        return f"{self.node}: {self.words.format(self.schedule)}{self.window}"


@dataclass(frozen=True, eq=False)
class Attention(Stage):
    """What do the positive's tokens turn away from, inside the model? `rule(z, other, value)` returns what they go on
    with, (B, N, C), from what they attend to in the positive's text and in that of `conditioning`.

    `off(value)` is True where the rule changes nothing. `obstacle` is as of `Condition`.
    """

    conditioning: list = field(default=None, repr=False)
    rule: Callable[[Tensor, Tensor, float], Tensor] = None
    off: Callable[[float], bool] = lambda value: False
    obstacle: Callable[[object, list], str] = lambda model, positive: ""
    words: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return step.progress in self.window and not self.off(value)

    def __str__(self) -> str:
        return f"{self.node}: {self.words.format(self.schedule)}{self.window}"


@dataclass(frozen=True, eq=False)
class Pair(Stage):
    """From which two passes come cond and uncond, where the sampler makes no negative pass? From the positive's, as
    `first(cond)` and `second(cond)` return a processed conditioning: `split(prediction, prediction)` is the pair. The
    stage's value is the weight, unless a weight stage sets another. `obstacle` is as of `Condition`.

    `cond(cond)` and `uncond(cond)` return the conditioning with which one pass predicts either of the pair, as nearly
    as the model can: at weight 1 that of cond is the only one.
    """

    first: Callable[[dict], dict] = None
    second: Callable[[dict], dict] = None
    cond: Callable[[dict], dict] = None
    uncond: Callable[[dict], dict] = None
    split: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = None
    obstacle: Callable[[object, list], str] = lambda model, positive: ""
    words: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return step.progress in self.window

    def __str__(self) -> str:
        return f"{self.node}: {self.words.format(self.schedule)}{self.window}"


@dataclass(frozen=True, eq=False)
class Weight(Stage):
    """How strongly, this step? `rule(run, step, value, scale)` returns the new scale from the stage's own number and
    the scale before it. A stage with a `unit` of its own cannot share a MODEL with another weight."""

    rule: Callable[..., float] = None
    unit: str = ""
    outside: str = ""

    @property
    def constant(self) -> bool:
        return super().constant and not self.unit

    def __str__(self) -> str:
        return f"{self.node}: {self.unit or 'weight'} {self.schedule}{self.window}{self.outside}"


@dataclass(frozen=True, eq=False)
class Negative(Stage):
    """One further conditioning, evaluated beside the main negative whenever its weight is not zero.

    Either `baseline` changes what the positive is contrasted with, or `term` is added to the result of the combine
    rule. Both find the prediction as `other` and the weight as `value`. Outside its area or mask the prediction is
    that of `beside`, a field of `Moment`. `remark(run)` says once what a user should know of a run.
    """

    conditioning: list = field(default=None, repr=False)
    baseline: Rule | None = None
    term: Rule | None = None
    mode: str = ""
    beside: str = "uncond"
    remark: Callable[..., None] | None = None

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return step.progress in self.window and value != 0.0

    def __str__(self) -> str:
        return f"{self.node}: {self.mode}, weight {self.schedule}{self.window}"


def at_one(scale: float, value: float) -> bool:
    """For `Blended.off`: the rule changes nothing where the stage's own number is 1."""
    return value == 1.0


def up_to_1(scale: float, value: float) -> bool:
    """For `Blended.faint`: the rule needs weights above 1."""
    return scale <= 1.0


@dataclass(frozen=True, eq=False)
class Blended(Stage):
    """A rule in a window, of which `strength` is the share in the result: 0 is the result without it.

    `off(scale, value)` is True where the rule changes nothing, so that what it would act on can stand untouched.
    `faint(scale, value)` is True where the rule does nothing, or hardly anything, though its user has not switched it
    off; `fainter` says in the words that follow `has ` what effect that is, and where.
    """

    rule: Rule = None
    off: Callable[[float, float], bool] = lambda scale, value: False
    strength: float = 1.0
    words: str = ""
    faint: Callable[[float, float], bool] = lambda scale, value: False
    fainter: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return self.strength > 0.0 and step.progress in self.window and not self.off(scale, value)

    def __str__(self) -> str:
        strength = "" if self.strength == 1.0 else f", strength {self.strength:g}"
        return f"{self.node}: {self.words.format(self.schedule)}{strength}{self.window}"


@dataclass(frozen=True, eq=False)
class Baseline(Blended):
    """What is the positive contrasted with? The rule finds it as `uncond`, after the negatives, and returns another."""


@dataclass(frozen=True, eq=False)
class Skip(Blended):
    """Is the negative still needed? The rule sees the raw pair of a guided step and returns which samples have settled.

    A settled sample is given what the positive's own pass predicts from the next step on, as weight 1 does. Once all
    have settled, every step is one at weight 1, so no negative pass is made.
    """


@dataclass(frozen=True, eq=False)
class Reuse(Stage):
    """Is the negative predicted again? In its window only at every n-th step, which is the stage's value.

    At the steps between, `rule(cond, difference, predicts, *, sigma, sigma_last, kind)` makes every prediction but the
    positive's from its difference to the positive's at the last step that made all passes. `predicts` is what the
    network's own output is.
    """

    rule: Callable[..., Tensor] = None
    words: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return value > 1 and step.progress in self.window

    def __str__(self) -> str:
        return f"{self.node}: {self.words.format(self.schedule)}{self.window}"


@dataclass(frozen=True, eq=False)
class Combine(Blended):
    """By what rule do cond and uncond become one? Where it is off, by plain CFG.

    `acts_at_1` is True if it changes the result at weight 1 too, where plain CFG and most rules give cond back.
    `momentum` is True if it carries the updates of earlier steps on.
    `own_weight` names the input that it takes in place of the step's weight, unless its input `weight` says otherwise.
    """

    acts_at_1: bool = False
    momentum: bool = False
    own_weight: str = ""


@dataclass(frozen=True, eq=False)
class Add(Stage):
    """What else pulls? The rule adds a term to the combined result, which it finds as `guided`.

    `open(model, run)` returns, for one run, the function `weakened(args, run, moment)` that has a weaker model predict
    what the term is made of, in a pass of its own: the moment with that as `other`. Both raise Unfit where the MODEL
    can have no such term.
    """

    rule: Rule = None
    open: Callable[..., Callable[..., Moment]] = None
    off: bool = False
    words: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return not self.off and step.progress in self.window and value != 0.0

    def __str__(self) -> str:
        return f"{self.node}: scale {self.schedule}{self.words}{self.window}"


# The order of corrections, whatever the wiring: a history is kept of the limited result, the part along x is amplified
# after that, and the scale of the noise comes last.
LIMIT, HISTORY, TANGENT, SCALE = range(4)


@dataclass(frozen=True, eq=False)
class Correct(Blended):
    """Is the result still an image? The rule finds it as `guided` and returns the corrected one.

    `needs_pair` is True if it compares the result with the positive: without a negative pass there is nothing to do.
    `idle(value)` is True where it leaves the positive itself as it is: then it needs a negative pass or an added term.
    """

    phase: int = LIMIT
    needs_pair: bool = False
    idle: Callable[[float], bool] = lambda value: False


ORDER = (Condition, Attention, Pair, Negative, Baseline, Weight, Skip, Reuse, Combine, Add, Correct)


def of(carrier) -> tuple[Stage, ...]:
    """The stages of a MODEL, or of a guider, in the order in which they run."""
    stages = carrier.model_options.get(OPTION, ())
    return tuple(sorted(stages, key=lambda stage: (ORDER.index(type(stage)), getattr(stage, "phase", 0))))


def refuse_conflict(stages: tuple[Stage, ...], new: Stage) -> None:
    """Raise ValueError where two stages answer the same question and only one answer is possible."""
    for old in stages:
        if isinstance(old, Combine) and isinstance(new, Combine):
            raise ValueError(
                f"{new.node}: the MODEL already carries {old.node}, and a step has one combine rule only; "
                f"remove or bypass one of the two nodes."
            )
        if isinstance(old, Correct) and isinstance(new, Correct) and old.phase == new.phase == HISTORY:
            raise ValueError(
                f"{new.node}: the MODEL already carries {old.node}, and both push the result away from its past; "
                f"remove or bypass one of the two nodes."
            )
        if isinstance(old, Attention) and isinstance(new, Attention):
            raise ValueError(
                f"{new.node}: the MODEL already carries {old.node}, and its attention turns away from one text only; "
                f"write both texts into one negative and bypass one of the two nodes."
            )
        if isinstance(old, Pair) and isinstance(new, Pair):
            raise ValueError(
                f"{new.node}: the MODEL already carries {old.node}, and a step has one pair only; remove or bypass one "
                f"of the two nodes."
            )
        if any(isinstance(old, kind) and isinstance(new, kind) for kind in (Skip, Reuse)):
            raise ValueError(
                f"{new.node}: the MODEL already carries {old.node}, and one alone says when the negative is left out; "
                f"remove or bypass one of the two nodes."
            )
        if isinstance(old, Weight) and isinstance(new, Weight) and (old.unit or new.unit):
            raise ValueError(
                f"{new.node}: the MODEL already carries {old.node}, and both set the guidance weight in different "
                f"units; remove or bypass one of the two nodes."
            )
