"""The steps of a run, and which of them a model call belongs to."""

from __future__ import annotations

import bisect
import operator
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

# A sampler may call the model a second time in a step, with a sigma that has been rounded since. The host's own
# comparisons allow 1e-4.
SIGMA_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Step:
    """The scheduled step of a model call.

    index       0 for the first step of the run
    progress    0 at the first step, 1 at the last
    sigma       the level at which the step begins
    sigma_next  the level at which it ends
    called_at   the level of the call; that of a midpoint lies between the two, that of a corrector is `sigma_next`
    trial       whether the step was called before, at its beginning: this call looks at a point further on
    """

    index: int
    progress: float
    sigma: float
    sigma_next: float
    called_at: float
    trial: bool = False


def step_at(sigmas: tuple[float, ...], index: int, called_at: float | None = None, trial: bool = False) -> Step:
    """A step by its index, called at its own sigma or at another."""
    sigma = sigmas[index]
    progress = index / max(len(sigmas) - 2, 1)
    return Step(index, progress, sigma, sigmas[index + 1], sigma if called_at is None else called_at, trial)


def find_step(sigmas: tuple[float, ...], called_at: float) -> Step:
    """The step that a call at this sigma belongs to, as far as the sigma tells.

    The sigmas of a run fall, or rise when unsampling. A call between two of them belongs to the step that contains it;
    a call outside the list belongs to the first or the last step.
    """
    if sigmas[-1] > sigmas[0]:
        reached = bisect.bisect_right(sigmas, called_at * (1 + SIGMA_TOLERANCE), hi=len(sigmas) - 1)
    else:
        level = called_at / (1 + SIGMA_TOLERANCE)
        reached = bisect.bisect_right(sigmas, -level, hi=len(sigmas) - 1, key=operator.neg)
    return step_at(sigmas, max(reached - 1, 0), called_at)


class Course:
    """Which step each call of a run belongs to.

    A sigma alone does not tell: the second call of a Heun step is made at the level where the next step begins.
    Samplers report a step after its first call, and how many more calls follow is known for each of the host's.

    calls  `calls(i)`: how many calls the sampler makes in step i
    hot    whether it begins a step at a higher level than the schedule's, having added noise
    """

    def __init__(self, sigmas: tuple[float, ...], calls: Callable[[int], int], hot: bool = False):
        self.sigmas = sigmas
        self.calls = calls
        self.hot = hot
        self.reported = -1
        self.due = 0
        self.held = False
        self.made: dict = {}  # how many of the calls that are due have been made, for each size of a latent
        self.last: dict = {}  # for each size the last call, and its step

    def report(self, index: int) -> None:
        """The sampler has made the first call of this step."""
        if 0 <= index < len(self.sigmas) - 1:
            self.reported, self.due, self.made = index, self.calls(index) - 1, {}

    def hold(self, index: int) -> None:
        """All calls belong to this step, until the next is held. Samplers of this pack say so themselves."""
        self.held, self.reported = True, index

    def step(self, called_at: float, x: Tensor) -> Step:
        """The step of the next call, which is made with the latent x.

        The same call again belongs to the same step. Calls with latents of another size, by which some nodes look
        ahead, are counted apart.
        """
        version = None if x.is_inference() else x._version  # samplers may write into their latent; then it is another
        call, (before, step) = (called_at, x, version), self.last.get(x.shape, (None, None))
        if before is None or x is not before[1] or call[::2] != before[::2]:
            step = self.next(called_at, x.shape, None if step is None else step.index)
            self.last[x.shape] = call, step
        return step

    def next(self, called_at: float, size: tuple, last: int | None) -> Step:
        made = self.made.get(size, 0)
        index = find_step(self.sigmas, called_at).index
        if self.held:
            index = self.reported
        elif made < self.due:
            index, self.made[size] = self.reported, made + 1
        elif self.hot:
            index = min(max(index, self.reported + 1), len(self.sigmas) - 2)
        off = abs(called_at - self.sigmas[index]) > SIGMA_TOLERANCE * abs(self.sigmas[index])
        return step_at(self.sigmas, index, called_at, trial=off and index == last)
