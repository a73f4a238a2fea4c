"""The stages that nodes add to a MODEL: frozen values in `model_options`, sorted by kind when a run starts.

Each class below is a kind. A kind answers one question of a step, which is the first line of its docstring. Kinds run
in the order of `ORDER`, whatever the wiring; stages of one kind run in the order of the wires. A stage holds no state:
what changes over a run lives in `run.Run`, what holds for one model call in `call.Call`. The argument `run` of rules
and checks is that `Run`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import comfy.utils
from torch import Tensor

from ...guidance import Constant, Memory, Parametrisation
from .steps import Step

OPTION = "azimuth_stages"
KEY = "azimuth"  # under which our wrappers are registered
WHOLE = Constant(1.0)  # the strength of a rule whose result is taken as it is


@dataclass(frozen=True, eq=False)
class Moment:
    """One model call as a rule sees it. Tensors are (B, C, *spatial) in x0 space, of one latent.

    cond        what the model predicts for the positive
    uncond      the prediction that the positive is contrasted with; None where no negative pass was made
    network     what the network puts out, as rules see it: a flow model is always one in flow coordinates
    x           the noisy latent, in these coordinates
    sigma       (B,), the noise level of the call, in these coordinates
    sigmas      the levels of the run's steps in these coordinates: N + 1 Python numbers
    scale       the weight of the step: a number, or a tensor with one for each sample or place. Before a packed latent
                is parted, also one number for each part
    from_noise  whether `sigmas` begins at the model's largest sigma
    step        the number of the step of the run, from 0. All calls of a step have the same
    begun       the level at which this step begins, in these coordinates
    progress    0 at the first step of the run, 1 at the last
    value       the stage's own number
    other       a third prediction: a further negative's, or a weaker model's
    guided      the result of the stages before this one
    memory      what the stage kept from earlier steps of the run; None for a stage that keeps nothing
    """

    cond: Tensor
    uncond: Tensor | None
    x: Tensor
    sigma: Tensor
    network: Parametrisation
    sigmas: tuple[float, ...]
    scale: float | tuple[float, ...] | Tensor
    from_noise: bool = False
    step: int = 0
    begun: float = 0.0
    progress: float = 0.0
    value: float = 0.0
    other: Tensor | None = None
    guided: Tensor | None = None
    memory: Memory | None = None

    @property
    def kind(self) -> str:
        """The coordinates of `x` and `sigma`, "ve" or "flow"."""
        return self.network.kind

    def but(self, **changes) -> Moment:
        """A copy with other values; `dataclasses.replace`, which takes five times as long, several times a call."""
        other = object.__new__(Moment)
        vars(other).update(vars(self), **changes)
        return other

    def parts(self, shapes: list) -> list[Moment]:
        """One moment for each latent of a packed one (a video and its sound); this moment alone if none is packed."""
        if len(shapes) < 2 or self.x.shape[-1] != sum(math.prod(shape[1:]) for shape in shapes):
            return [self]
        whole = [f.name for f in fields(self) if is_latent(getattr(self, f.name), self.x)]
        unpacked = [comfy.utils.unpack_latents(getattr(self, name), shapes) for name in whole]
        parts = [self.but(**dict(zip(whole, part, strict=True))) for part in zip(*unpacked, strict=True)]
        if isinstance(self.scale, tuple):
            parts = [part.but(scale=self.scale[min(i, len(self.scale) - 1)]) for i, part in enumerate(parts)]
        return parts


def is_latent(value, x: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == x.shape


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

    node       the display name of its node
    schedule   the stage's number as a schedule, from which its value at a step is taken
    input      the name of the node's input that the number comes from
    window     the part of a run in which the stage counts
    remembers  whether its rule keeps something from step to step
    check      `check(run)`, called when a run opens; it logs what only a run can know, or raises ValueError for it

    Most kinds have `words` too: how the stage describes itself to a user, with `{}` in the place of its schedule.
    """

    node: str
    schedule: object
    input: str
    window: Window = Window()
    remembers: bool = False
    check: Callable[..., None] | None = None

    @property
    def constant(self) -> bool:
        """Whether the stage does the same at every step, so that a run need not know which step it is at."""
        return isinstance(self.schedule, Constant) and self.window.always and not self.remembers

    def counts(self, step: Step, scale: float, value: float) -> bool:
        """Whether the stage, with this value, does anything at a step at which it is on and whose weight is `scale`.

        False is the answer of a weight stage, whose effect shows in the weight itself; other kinds define their own.
        """
        return False


@dataclass(frozen=True, eq=False)
class Condition(Stage):
    """What is a pass conditioned with, this step?

    Asked at every step, once for each conditioning of the guider, of the branches and of a second model or text.

    rule         `rule(run, place, cond, value)` returns `cond`, one of the host's processed conditionings, or a changed
                 copy of it. `place` is (name, index): the name of its list, such as "positive", and its place there
    off          `off(step, value)`: whether the rule changes nothing there
    obstacle     `obstacle(model, positive)` says why the stage cannot act on this model with these positive
                 conditionings, in the words that follow the node's name in a log line; "" if it can
    steady       False if the rule varies from step to step even at a constant value
    beside_pair  False if a `Pair` stage overwrites what the rule sets, so that it has no effect at the pair's steps
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
        return not self.off(step, value)

    def __str__(self) -> str:
        return f"{self.node}: {self.words.format(self.schedule)}{self.window}"


@dataclass(frozen=True, eq=False)
class Attention(Stage):
    """What do the positive's tokens turn away from, inside the model?

    Asked in every attention that reads the text, in the positive's passes (second_text.py).

    conditioning  as it comes from the node; its text is the second text, from which tokens turn away
    rule          `rule(z, other, value)` returns the output of the attention, (B, N, C), from its output `z` for the
                  positive's text and its output `other` for the second text
    off           `off(value)`: whether the rule changes nothing
    obstacle      as in `Condition`
    """

    conditioning: list = field(default=None, repr=False)
    rule: Callable[[Tensor, Tensor, float], Tensor] = None
    off: Callable[[float], bool] = lambda value: False
    obstacle: Callable[[object, list], str] = lambda model, positive: ""
    words: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return not self.off(value)

    def __str__(self) -> str:
        return f"{self.node}: {self.words.format(self.schedule)}{self.window}"


@dataclass(frozen=True, eq=False)
class Pair(Stage):
    """From which two passes come cond and uncond, where the sampler makes no negative pass?

    Both passes use the positive, each with a change of its own. Asked at every step in the window (two_passes.py). The
    stage's value is the weight of the pair, unless a weight stage sets another.

    first, second  each takes one of the positive's processed conditionings and returns that of the first or second pass
    split          `split(first prediction, second prediction)` returns (cond, uncond)
    cond, uncond   each takes a processed conditioning and returns the one with which a single pass predicts that half
                   of the pair, as nearly as the model can. At weight 1 the pass of `cond` is the only one
    obstacle       as in `Condition`
    """

    first: Callable[[dict], dict] = None
    second: Callable[[dict], dict] = None
    cond: Callable[[dict], dict] = None
    uncond: Callable[[dict], dict] = None
    split: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = None
    obstacle: Callable[[object, list], str] = lambda model, positive: ""
    words: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return True

    def __str__(self) -> str:
        return f"{self.node}: {self.words.format(self.schedule)}{self.window}"


@dataclass(frozen=True, eq=False)
class Weight(Stage):
    """How strongly, this step?

    Asked before the model is called, and for all steps at once when a run opens.

    rule     `rule(run, step, value, scale)` returns the weight of the step. `scale` is the weight without this stage
    unit     what the stage's number is, if it is no weight (CFG++: lambda). Such a stage must be a MODEL's only weight
    outside  what holds outside the window, in words for a user
    """

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
    """What else is the positive pushed away from?

    From a further conditioning, which takes one more pass wherever its weight is not 0. A stage has one of two rules,
    called at each step with a negative pass. Either finds the prediction for this conditioning as `moment.other` and
    its weight as `moment.value`.

    conditioning  as it comes from the node
    baseline      a rule that returns what the positive is contrasted with
    term          a rule that returns what is added to the result of the combine rule
    mode          what the rule does, in words for a user
    beside        the field of `Moment` that fills `other` where an area, mask or time range leaves this negative out
    remark        `remark(run)`, called when a run opens in which the stage counts at some step; it logs what a user
                  should know
    """

    conditioning: list = field(default=None, repr=False)
    baseline: Rule | None = None
    term: Rule | None = None
    mode: str = ""
    beside: str = "uncond"
    remark: Callable[..., None] | None = None

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return value != 0.0

    def __str__(self) -> str:
        return f"{self.node}: {self.mode}, weight {self.schedule}{self.window}"


def at_one(scale: float, value: float) -> bool:
    """For `Blended.off`: a rule that changes nothing where the stage's own number is 1."""
    return value == 1.0


def up_to_1(scale: float, value: float) -> bool:
    """For `Blended.faint`: a rule that needs weights above 1."""
    return scale <= 1.0


@dataclass(frozen=True, eq=False)
class Blended(Stage):
    """What most kinds below share: a rule that is called at each step in the window, and its share in the result.

    At a step where its share is 0, as at one outside its window, the rule is not called: what it remembers stays as it
    was.

    rule      `rule(moment)` returns a tensor: each kind says which
    off       `off(scale, value)`: whether the rule changes nothing, so that it need not be called
    strength  the share of the rule in the result, 0 to 1, as a schedule; 0 is the result without it
    faint     `faint(scale, value)`: whether the rule does little or nothing although its user has not switched it off
    fainter   that small effect and where it occurs, in the words that follow "has " in a log line
    """

    rule: Rule = None
    off: Callable[[float, float], bool] = lambda scale, value: False
    strength: object = WHOLE
    words: str = ""
    faint: Callable[[float, float], bool] = lambda scale, value: False
    fainter: str = ""

    @property
    def constant(self) -> bool:
        return super().constant and isinstance(self.strength, Constant)

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return not self.off(scale, value)

    def __str__(self) -> str:
        strength = "" if self.strength == WHOLE else f", strength {self.strength}"
        return f"{self.node}: {self.words.format(self.schedule)}{strength}{self.window}"


@dataclass(frozen=True, eq=False)
class Baseline(Blended):
    """What is the positive contrasted with?

    The rule finds it as `moment.uncond`, to which the further negatives have already been applied, and returns another.
    """


@dataclass(frozen=True, eq=False)
class Skip(Blended):
    """Is the negative still needed?

    Called at each step in the window that predicts the negative. The rule sees cond and uncond as the model predicted
    them and returns which samples have settled: bool, (B,). From the next step on a settled sample gets what the
    positive's own pass predicts, as at weight 1. Once all samples have settled, all further steps run at weight 1 and
    make no negative pass.
    """


@dataclass(frozen=True, eq=False)
class Reuse(Stage):
    """Is the negative predicted again, or made from an earlier step?

    The stage's value is n: in its window, every n-th step makes all passes. At the steps between, the rule is called in
    place of each pass but the positive's (reused_passes.py).

    rule  `rule(cond, difference, network, *, sigma, sigma_last)` returns the prediction. `difference` is the positive's
          prediction minus this one, at the last step that made all passes; `sigma_last` is the level there. `network`
          and the levels are those of a `Moment`
    """

    rule: Callable[..., Tensor] = None
    words: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return value > 1

    def __str__(self) -> str:
        return f"{self.node}: {self.words.format(self.schedule)}{self.window}"


@dataclass(frozen=True, eq=False)
class Combine(Blended):
    """By what rule do cond and uncond become one prediction?

    Called at each step with a negative pass. Where a MODEL carries no combine rule, or the rule is off, plain CFG takes
    its place.

    acts_at_1   whether it changes the result at weight 1 too, where plain CFG and most rules return cond
    momentum    whether it carries the updates of earlier steps on
    own_weight  the name of the input that it uses as weight in place of the step's; "" if it uses the step's
    steady      False if the rule asks which step it is at
    """

    acts_at_1: bool = False
    momentum: bool = False
    own_weight: str = ""
    steady: bool = True

    @property
    def constant(self) -> bool:
        return super().constant and self.steady

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return (scale != 1.0 or self.acts_at_1) and super().counts(step, scale, value)


@dataclass(frozen=True, eq=False)
class Add(Stage):
    """What else pulls? The difference to a weaker model, which takes one more pass.

    open   `open(model, run)`, called when a run opens, returns `weakened(args, run, moment)`. That is called at each
           step; it has the weaker model predict and returns the moment with the prediction as `other`. Either raises
           Unfit if the MODEL can have no such term. If `weakened` has a method `watch(model_options)`, that is called
           before a step's first pass and returns the options in which it records something of that pass
    rule   finds the combined result as `moment.guided` and returns it with the term added
    off    whether the weaker model would be the model as it is
    words  follow the scale when the stage describes itself
    """

    rule: Rule = None
    open: Callable[..., Callable[..., Moment]] = None
    off: bool = False
    words: str = ""

    def counts(self, step: Step, scale: float, value: float) -> bool:
        return not self.off and value != 0.0

    def __str__(self) -> str:
        return f"{self.node}: scale {self.schedule}{self.words}{self.window}"


# The phases of corrections run in this order, whatever the wiring. A history is kept of the limited result; then the
# part across x is amplified; the scale of the noise comes last.
LIMIT, HISTORY, TANGENT, SCALE = range(4)


@dataclass(frozen=True, eq=False)
class Correct(Blended):
    """Is the result still an image?

    Called at every step, after all other kinds. The rule finds the result as `moment.guided` and returns another.

    phase       LIMIT, HISTORY, TANGENT or SCALE: its place among the corrections
    needs_pair  whether it compares the result with cond, so that it has nothing to do where no negative pass was made
    idle        `idle(value)`: whether it would leave cond itself as it is, so that it acts only where guidance or an
                added term has changed the result
    """

    phase: int = LIMIT
    needs_pair: bool = False
    idle: Callable[[float], bool] = lambda value: False


# The kinds that do nothing without a negative pass.
CONTRASTING = (Negative, Baseline, Combine)

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
