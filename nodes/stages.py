"""The stages that nodes add to a MODEL: frozen values in `model_options`, sorted by kind when a run starts.

A kind answers one question of a step (which predictions? what weight? which rule? still an image?). Within a kind,
wiring order counts; between kinds it does not. A stage holds no state: whatever changes over a run lives in `run.Run`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..guidance import Constant

if TYPE_CHECKING:
    from torch import Tensor

    from .run import Run, Step

OPTION = "azimuth_stages"


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
    """What every stage has: the display name of its node, and its number as a schedule with the input's name."""

    node: str
    schedule: object
    input: str
    window: Window = Window()

    @property
    def constant(self) -> bool:
        """True if the stage is the same at every step, so that a run need not know which step it is at."""
        return isinstance(self.schedule, Constant) and self.window.always

    def value(self, run: Run, step: Step) -> float:
        return run.schedules[self].weight(step.progress, step.sigma)

    def counts(self, run: Run, step: Step, scale: float) -> bool:
        """Whether the stage does anything at a step whose weight is `scale`. A weight shows in the weight itself."""
        return False


@dataclass(frozen=True, eq=False)
class Weight(Stage):
    """How strongly, this step? `rule(run, step, value, scale)` returns the new scale from the stage's own number and
    the scale before it. A stage with a `unit` of its own cannot share a MODEL with another weight. `check(run)` says
    what only a run can know."""

    rule: Callable[[Run, Step, float, float], float] = None
    unit: str = ""
    check: Callable[[Run], None] = None
    outside: str = ""

    @property
    def constant(self) -> bool:
        return super().constant and not self.unit

    def __str__(self) -> str:
        return f"{self.node}: {self.unit or 'weight'} {self.schedule}{self.window}{self.outside}"


@dataclass(frozen=True, eq=False)
class Negative(Stage):
    """One further conditioning, evaluated beside the main negative whenever its weight is not zero.

    Either `baseline(uncond, prediction, weight)` changes what the positive is contrasted with, or
    `term(cond, uncond, prediction, weight, scale)` is added to the result of the combine rule.
    """

    conditioning: list = field(default=None, repr=False)
    baseline: Callable[[Tensor, Tensor, float], Tensor] | None = None
    term: Callable[[Tensor, Tensor, Tensor, float, float], Tensor] | None = None
    mode: str = ""

    def counts(self, run: Run, step: Step, scale: float) -> bool:
        return step.progress in self.window and self.value(run, step) != 0.0

    def __str__(self) -> str:
        return f"{self.node}: {self.mode}, weight {self.schedule}{self.window}"


@dataclass(frozen=True, eq=False)
class Combine(Stage):
    """By what rule do cond and uncond become one? `rule(cond, uncond, *, scale, value)` with the stage's own number.

    `off(scale, value)` is True where the rule is plain CFG, so that the host's own result can stand untouched.
    `strength` blends from plain CFG (0) to the rule (1).
    """

    rule: Callable[..., Tensor] = None
    off: Callable[[float, float], bool] = lambda scale, value: False
    strength: float = 1.0
    words: str = ""

    def counts(self, run: Run, step: Step, scale: float) -> bool:
        return self.strength > 0.0 and step.progress in self.window and not self.off(scale, self.value(run, step))

    def __str__(self) -> str:
        strength = "" if self.strength == 1.0 else f", strength {self.strength:g}"
        return f"{self.node}: {self.words.format(self.schedule)}{strength}{self.window}"


@dataclass(frozen=True, eq=False)
class Correct(Stage):
    """Is the result still an image? `rule(denoised)` returns the corrected prediction."""

    rule: Callable[[Tensor], Tensor] = None
    strength: float = 1.0
    words: str = ""

    def counts(self, run: Run, step: Step, scale: float) -> bool:
        return self.strength > 0.0 and step.progress in self.window

    def __str__(self) -> str:
        strength = "" if self.strength == 1.0 else f", strength {self.strength:g}"
        return f"{self.node}: {self.words}{strength}{self.window}"


ORDER = (Negative, Weight, Combine, Correct)


def of(carrier) -> tuple[Stage, ...]:
    """The stages of a MODEL, or of a guider, in the order in which they run."""
    stages = carrier.model_options.get(OPTION, ())
    return tuple(stage for kind in ORDER for stage in stages if isinstance(stage, kind))


def refuse_conflict(stages: tuple[Stage, ...], new: Stage) -> None:
    """Raise ValueError where two stages answer the same question and only one answer is possible."""
    for old in stages:
        if isinstance(old, Combine) and isinstance(new, Combine):
            raise ValueError(
                f"{new.node}: the MODEL already carries {old.node}, and a step has one combine rule only; "
                f"remove or bypass one of the two nodes."
            )
        if isinstance(old, Weight) and isinstance(new, Weight) and (old.unit or new.unit):
            raise ValueError(
                f"{new.node}: the MODEL already carries {old.node}, and both set the guidance weight in different "
                f"units; remove or bypass one of the two nodes."
            )
