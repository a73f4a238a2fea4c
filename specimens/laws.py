"""What a method's result obeys at any setting, for the `laws` of a Formula.

A law is a function of p, w and the result. It returns numbers that are 0, up to rounding, where the law holds: how far
an angle is from a right angle, or a length from what it should be, relative to the lengths at hand.
"""

import torch


def across(direction, start):
    """What the method adds to `start(p, w)` is orthogonal to `direction(p)`."""

    def law(p, w, result):
        begun, along = start(p, w), direction(p)
        inner = ((result - begun) * along).flatten(1).sum(1)
        return inner / (length(along) * (length(result) + length(p.cond)))

    return law


def as_long(reference, of=lambda p, result: result):
    """`of(p, result)` has the length of `reference(p)`."""
    return lambda p, w, result: length(of(p, result)) / length(reference(p)) - 1.0


def at_most(times, reference, measure):
    """What `measure` finds in the result is at most `times(w)` what it finds in `reference(p)`."""

    def law(p, w, result):
        sizes = [measure(t) for t in (result, reference(p))]
        most = torch.as_tensor(times(w), dtype=torch.float64).to(result.device).view(-1, *(1,) * (sizes[0].ndim - 1))
        return (sizes[0] / (most * sizes[1]) - 1.0).clamp(min=0.0)

    return law


def length(t):
    """The norm of each sample, (B,)."""
    return t.flatten(1).norm(dim=1)


def of_pixels(t):
    """The norm over the channels at each place, (B, *spatial)."""
    return t.norm(dim=1)


def above_1(law):
    """The law for w of 1 and above, and 0 below, where w interpolates and the law need not hold."""
    return lambda p, w, result: law(p, w, result) * (torch.as_tensor(w) >= 1.0)
