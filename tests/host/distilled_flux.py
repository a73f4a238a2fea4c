"""A tiny Flux under Distilled Guidance: with a number for its embedding, and with a pair of two."""

from architectures import flux
from methods import BY_NAME
from tiny import alone, architecture, sample, tensor, text

EXACT = 1e-4
LOW, HIGH, W = 1.5, 3.5, 4.0
X = tensor(5, 1, 16, 8, 8)
AT = {"x": X, "sigma": 0.6}


def net():
    return architecture(flux)


def embedded(**changes):
    return BY_NAME["distilled"].on(net(), **changes)


def paired(patched=None, **changes):
    return BY_NAME["distilled_pair"].on(patched or net(), **changes)


def run(patched, cfg=1.0, steps=6, **how):
    return sample(patched, cfg=cfg, steps=steps, x=how.pop("x", X), **how)


def at_guidance(value, **how):
    """D(g), evaluated by the host on its own."""
    return alone(text(1, guidance=value), net(), **{**AT, **how})


def literal_pair(**how):
    """D_c and D_u, written out."""
    low, high = at_guidance(LOW, **how), at_guidance(HIGH, **how)
    delta = (high - low) / (HIGH - LOW)
    return low + (1 - LOW) * delta, low - LOW * delta
