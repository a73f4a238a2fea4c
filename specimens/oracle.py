"""What the literal formulas of several specimens share, in numpy float64 and for ONE sample of shape (C, *spatial).

Written from the papers' formulas, without a look at guidance/: slow and plain on purpose.
"""

import numpy as np


def cfg(c, u, w):
    return u + w * (c - u)


def signal_noise(sigma, kind):
    """(a, s) of x = a x0 + s eps in the coordinates of the hooks."""
    return (1.0, sigma) if kind == "ve" else (1.0 - sigma, sigma)


def eps(x, d, sigma, kind):
    a, s = signal_noise(sigma, kind)
    return (x - a * d) / s


def v(x, d, sigma, kind):
    """VP: v = a eps - s x0 with a^2 + s^2 = 1. Flow: dx/dt = eps - x0."""
    e = eps(x, d, sigma, kind)
    if kind == "flow":
        return e - d
    root = np.sqrt(1 + sigma**2)
    return (1 / root) * e - (sigma / root) * d


def scaled_noise(d, x, sigma, kind, r):
    """The prediction whose noise is r times that of d."""
    a, s = signal_noise(sigma, kind)
    return (x - s * r * eps(x, d, sigma, kind)) / a
