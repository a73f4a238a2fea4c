"""One step's predictions, as the formulas get them, and functions of them that many specimens use."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import guidance as g


@dataclass(frozen=True)
class Predictions:
    """One step's inputs: tensors (B, C, *spatial), or the same of a single sample in numpy."""

    cond: Tensor
    uncond: Tensor
    first: Tensor
    second: Tensor

    def map(self, f: Callable) -> "Predictions":
        return Predictions(f(self.cond), f(self.uncond), f(self.first), f(self.second))

    @property
    def negatives(self) -> list[Tensor]:
        return [self.first, self.second]


# ---- Of p alone, for `at`


def cond(p):
    return p.cond


def uncond(p):
    return p.uncond


def first(p):
    return p.first


def update(p):
    return p.cond - p.uncond


def zero(p):
    return torch.zeros_like(p.cond)


# ---- Of p and w, for `reductions`


def plain(p, w):
    return g.cfg(p.cond, p.uncond, scale=w)


def cond_at_any(p, w):
    return p.cond


def zeros(p, w):
    return zero(p)


# ---- Around a call


def at_seven(method: Callable, **knobs) -> Callable:
    """A method of the two predictions, at a guidance scale of 7: what the benchmark times."""
    return lambda p: method(p.cond, p.uncond, scale=7.0, **knobs)


def wide(t: Tensor) -> Tensor:
    """The tensor in float32 or better, as methods keep it from step to step."""
    return t.to(torch.promote_types(t.dtype, torch.float32))


def remembering(value) -> g.Memory:
    """A Memory in the second step of a run, with the value that the first step kept."""
    state = g.Memory()
    state.begin(0)
    state.keep(value)
    state.begin(1)
    return state
