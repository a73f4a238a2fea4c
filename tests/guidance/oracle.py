"""Every formula once more, literally, in numpy float64 and for ONE sample of shape (C, *spatial).

Written from the papers' formulas, without a look at guidance/: slow and plain on purpose.
"""

import numpy as np


def cfg(c, u, w):
    return u + w * (c - u)


def compose(c, u, negatives, w, weights):
    out = cfg(c, u, w)
    for n, b in zip(negatives, weights, strict=True):
        out = out - b * (n - u)
    return out


def perpendicular(a, p):
    square = np.vdot(p, p)
    return a if square == 0 else a - np.vdot(a, p) / square * p


def perp_neg(c, u, negatives, w, weights):
    p = c - u
    inner = p.copy()
    for n, b in zip(negatives, weights, strict=True):
        inner -= b * perpendicular(n - u, p)
    return u + w * inner


def partial_negative(empty, negative, nu):
    return (1 - nu) * empty + nu * negative


def dynamic_threshold(d, p):
    s = max(1.0, np.quantile(np.abs(d), p))
    return np.clip(d, -s, s) / s


def mimic_threshold(c, u, w, m, p, per_channel, startpoint, measure, phi):
    if per_channel:
        channels = [
            mimic_threshold(ci[None], ui[None], w, m, p, False, startpoint, measure, phi)
            for ci, ui in zip(c, u, strict=True)
        ]
        return np.concatenate(channels)
    M, G = cfg(c, u, m), cfg(c, u, w)
    Mc, Gc = M - M.mean(), G - G.mean()
    if measure == "ad":
        a_M, a_G = np.abs(Mc).max(), np.quantile(np.abs(Gc), p)
    else:
        n = max(G.size - 1, 1)
        a_M, a_G = np.sqrt((Mc**2).sum() / n), np.sqrt((Gc**2).sum() / n)
    if startpoint == "mean" and measure == "ad":
        bound = max(a_M, a_G)
        R = G if bound == 0 else np.clip(Gc, -bound, bound) / bound * a_M + G.mean()
    elif a_G == 0:
        R = G
    elif startpoint == "mean":
        R = Gc / a_G * a_M + G.mean()
    else:
        R = G * a_M / a_G
    return phi * R + (1 - phi) * G


def angle(a, b):
    """Kahan's formula on unit vectors, exact at any angle."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))


def angle_domain(c, u, w, limit):
    if w <= 1:
        return cfg(c, u, w)
    if not c.any() or not u.any():
        return c
    theta = angle(c, u)
    if np.pi - theta < 2e-3:
        return c
    a = min((w - 1) * theta, limit)
    e = c - np.vdot(c, u) / np.vdot(u, u) * u
    k = np.sin(a) / np.sin(theta) if np.sin(theta) > 1e-3 else w - 1
    return np.cos(a) * c + k * e


def rotate(c, u, w, limit):
    """Polar coordinates in the plane of u and c, u at angle 0."""
    if w <= 1:
        return cfg(c, u, w)
    if not c.any() or not u.any():
        return c
    theta = angle(c, u)
    if theta < 1e-9 or np.pi - theta < 2e-3:
        return c
    along = u / np.linalg.norm(u)
    across = c - np.vdot(c, along) * along
    across = across / np.linalg.norm(across)
    turned = theta + min((w - 1) * theta, limit, np.pi - theta)
    return np.linalg.norm(c) * (np.cos(turned) * along + np.sin(turned) * across)


def effective_scale(d, c, u):
    delta = c - u
    square = np.vdot(delta, delta)
    return 1.0 if square == 0 else np.vdot(d - u, delta) / square


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


def score(x, d, sigma, kind):
    """The gradient of log N(x; a x0, s^2) at the posterior mean of x0."""
    a, s = signal_noise(sigma, kind)
    return -(x - a * d) / s**2


def apg(c, u, w, eta, r, momentum, before=None):
    """Algorithm 1: the update, and the momentum to hand on."""
    m = c - u
    if before is not None:
        m = m + momentum * before
    g = m
    if r > 0 and np.linalg.norm(m) > r:
        g = m * (r / np.linalg.norm(m))
    parallel = np.zeros_like(c) if not c.any() else np.vdot(g, c) / np.vdot(c, c) * c
    return c + (w - 1) * (g - parallel + eta * parallel), m
