"""Low-dimensional worlds with an exact denoiser, and plain samplers for them. All in float64."""

import math

import torch

import guidance as g

STARTS = 4001
LEVELS = (torch.arange(STARTS, dtype=torch.float64) + 0.5) / STARTS


class Mixture:
    """A 1-D mixture of Gaussians of one std; x = a x0 + s eps has exact quantiles and an exact denoiser."""

    def __init__(self, weights, means, std):
        self.weights, self.means = (torch.tensor(v, dtype=torch.float64) for v in (weights, means))
        self.var = std**2

    def denoised(self, x, a, s):
        """E[x0 | x], of the shape of x."""
        var = a * a * self.var + s * s
        logits = self.weights.log() - (x.unsqueeze(-1) - a * self.means).square() / (2 * var)
        mean = torch.softmax(logits, dim=-1) @ self.means
        return mean + a * self.var / var * (x - a * mean)

    def quantiles(self, s, levels=LEVELS):
        """Of x = x0 + s eps, by bisection."""
        std = math.sqrt(self.var + s * s)
        low, high = torch.full_like(levels, -9.0 * std - 9.0), torch.full_like(levels, 9.0 * std + 9.0)
        for _ in range(60):
            middle = (low + high) / 2
            cdf = torch.special.ndtr((middle.unsqueeze(-1) - self.means) / std) @ self.weights
            low, high = torch.where(cdf < levels, middle, low), torch.where(cdf < levels, high, middle)
        return (low + high) / 2


def edm_sigmas(n, low=0.002, high=20.0, rho=7.0):
    """n levels of Karras et al. and a final 0."""
    ends = high ** (1 / rho), low ** (1 / rho)
    return [(ends[0] + i / (n - 1) * (ends[1] - ends[0])) ** rho for i in range(n)] + [0.0]


def scheduled(schedules, sigmas, kind):
    """Weights (steps, schedules) of several schedules over one run, asked for as the pipeline asks."""
    n = len(sigmas) - 1
    bound = [s.for_run(tuple(sigmas), kind) for s in schedules]
    return torch.tensor([[s.weight(i / (n - 1), sigmas[i]) for s in bound] for i in range(n)], dtype=torch.float64)


def ve_heun(cond, uncond, weights, sigmas, levels=LEVELS):
    """From the quantiles of the noised conditional; weights (steps, runs) -> samples (runs, levels).

    A corrector keeps the weight of its step.
    """

    def slope(x, sigma, w):
        d = g.cfg(cond.denoised(x, 1.0, sigma), uncond.denoised(x, 1.0, sigma), scale=w)
        return g.eps_from_denoised(x, d, sigma, kind="ve")

    x = cond.quantiles(sigmas[0], levels).expand(weights.shape[1], 1, -1)
    for w, sigma, after in zip(weights, sigmas[:-1], sigmas[1:], strict=True):
        first = slope(x, sigma, w)
        moved = x + (after - sigma) * first
        if after > 0:
            moved = x + (after - sigma) * (first + slope(moved, after, w)) / 2
        x = moved
    return x[:, 0]


def flow_euler(cond, uncond, weights, ts):
    """Rectified flow from quantiles of N(0, 1); weights (steps, runs) -> states (steps + 1, runs, STARTS)."""
    states = [torch.special.ndtri(LEVELS).expand(weights.shape[1], 1, -1)]
    for w, t, after in zip(weights, ts[:-1], ts[1:], strict=True):
        x = states[-1]
        d = g.cfg(cond.denoised(x, 1 - t, t), uncond.denoised(x, 1 - t, t), scale=w)
        states.append(x + (after - t) * g.v_from_denoised(x, d, t, kind="flow"))
    return torch.stack(states)[:, :, 0]
