"""The steps of a run, and which of them a model call belongs to."""

from __future__ import annotations

from dataclasses import dataclass

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
    called_at   the level of the call; that of a midpoint or a corrector lies between the two
    """

    index: int
    progress: float
    sigma: float
    sigma_next: float
    called_at: float


def step_at(sigmas: tuple[float, ...], index: int, called_at: float | None = None) -> Step:
    """A step by its index, called at its own sigma or at another."""
    sigma = sigmas[index]
    progress = index / max(len(sigmas) - 2, 1)
    return Step(index, progress, sigma, sigmas[index + 1], sigma if called_at is None else called_at)


def find_step(sigmas: tuple[float, ...], called_at: float) -> Step:
    """The step that a call at this sigma belongs to.

    The sigmas of a run fall, or rise when unsampling. A call between two of them belongs to the step that contains it;
    a call outside the list belongs to the first or the last step.
    """
    steps = len(sigmas) - 1
    if sigmas[-1] > sigmas[0]:
        reached = [sigma <= called_at * (1 + SIGMA_TOLERANCE) for sigma in sigmas[:steps]]
    else:
        reached = [sigma * (1 + SIGMA_TOLERANCE) >= called_at for sigma in sigmas[:steps]]
    index = max((i for i, is_reached in enumerate(reached) if is_reached), default=0)
    return step_at(sigmas, index, called_at)
