"""Whole runs with an exact denoiser: does guidance do over a run what the papers say it does?"""

import math

import pytest
import torch

import guidance as g

from .toys import LEVELS, Mixture, edm_sigmas, flow_euler, scheduled, ve_heun

THREE_DIGITS = 5.1e-4


@pytest.mark.parametrize("w", [0.0, 1.0, 3.0, 7.5])
def test_gaussians_follow_the_closed_form(w):
    sigmas = edm_sigmas(768)
    weights = scheduled([g.Constant(w)], sigmas, "ve")
    top, levels = sigmas[0], LEVELS[::100]

    s, m_c, m_u = 0.5, 0.8, -0.3
    cond, uncond = Mixture([1.0], [m_c], s), Mixture([1.0], [m_u], s)
    m_w = w * m_c + (1 - w) * m_u
    expected = m_w + s / math.hypot(s, top) * (cond.quantiles(top, levels) - m_w)
    got = ve_heun(cond, uncond, weights, sigmas, levels)[0]
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)

    s_c, s_u = 0.3, 0.6
    cond, uncond = Mixture([1.0], [0.0], s_c), Mixture([1.0], [0.0], s_u)
    shrink = (s_c / math.hypot(s_c, top)) ** w * (s_u / math.hypot(s_u, top)) ** (1 - w)
    got = ve_heun(cond, uncond, weights, sigmas, levels)[0]
    torch.testing.assert_close(got, shrink * cond.quantiles(top, levels), rtol=1e-3, atol=1e-12)


MASS_AT_MINUS_ONE = [
    (g.Constant(1.0), 0.5001),
    (g.Constant(3.0), 0.9193),
    (g.Constant(6.0), 0.9995),
    (g.SigmaInterval(6.0, sigma_low=0.0, sigma_high=0.6), 0.5229),
    (g.SigmaInterval(6.0, sigma_low=0.1, sigma_high=0.6), 0.5229),
    (g.SigmaInterval(6.0, sigma_low=0.6, sigma_high=math.inf), 0.9995),
    (g.Linear(1.0, 11.0), 0.9933),
    (g.Cosine(1.0, 11.0), 0.9838),
    (g.Linear(11.0, 1.0), 1.0000),
    (g.Triangle(6.0), 1.0000),
    (g.Beta(6.0, 2.0, 2.0), 1.0000),
]


def test_schedules_decide_how_much_of_a_mode_survives():
    """The modes are equally likely under the condition; unconditionally there is more mass near 1."""
    cond = Mixture([0.5, 0.5], [-1.0, 1.0], 0.15)
    uncond = Mixture([0.25, 0.25, 0.5], [-1.0, 1.0, 1.6], 0.15)
    schedules = [schedule for schedule, _ in MASS_AT_MINUS_ONE]

    sigmas = edm_sigmas(256)
    weights = scheduled(schedules, sigmas, "ve")
    mass = (ve_heun(cond, uncond, weights, sigmas) <= 0).double().mean(dim=1)
    for (schedule, expected), got in zip(MASS_AT_MINUS_ONE, mass.tolist(), strict=True):
        assert got == pytest.approx(expected, abs=THREE_DIGITS), schedule
    assert (weights[:, 4] != 1.0).sum() == 48

    sigmas = edm_sigmas(32)
    weights = scheduled(schedules[4:5], sigmas, "ve")
    mass = (ve_heun(cond, uncond, weights, sigmas) <= 0).double().mean()
    assert mass.item() == pytest.approx(0.5171, abs=THREE_DIGITS)
    assert (weights != 1.0).sum() == 6


WEAK_MODE = {  # w: constant, stage-wise, low in the first quarter, low after it
    2.0: (0.2079, 0.2209, 0.2729, 0.2642),
    3.0: (0.1495, 0.1775, 0.2289, 0.1977),
    5.0: (0.0810, 0.1260, 0.1710, 0.1110),
    9.0: (0.0260, 0.0742, 0.1065, 0.0352),
}
# t: E (x - w mubar)^2 of the guided run with w = 3, and of the conditional one
DRAWN_TO_THE_MEAN = {
    0.995: (4.197, 4.219),
    0.9: (3.467, 3.856),
    0.7: (2.304, 3.289),
    0.5: (1.692, 2.988),
}


def test_stage_wise_guidance_keeps_the_weak_mode():
    cond, uncond = Mixture([0.3, 0.7], [-1.5, 1.5], 0.3), Mixture([1.0], [0.0], 1.0)
    ts = [1 - i / 200 for i in range(201)]
    schedules, expected = [g.Constant(1.0)], [0.2994]
    for w, masses in WEAK_MODE.items():
        early_low, early_high = g.Interval(w / 3, w, 0.0, 0.25), g.Interval(w, w / 3, 0.0, 0.25)
        schedules += [g.Constant(w), g.Triangle(w), early_low, early_high]
        expected += masses
    states = flow_euler(cond, uncond, scheduled(schedules, ts, "flow"), ts)
    weak = (states[-1] <= 0).double().mean(dim=1)
    for schedule, want, got in zip(schedules, expected, weak.tolist(), strict=True):
        assert got == pytest.approx(want, abs=THREE_DIGITS), schedule

    w, mean = 3.0, 0.3 * -1.5 + 0.7 * 1.5
    guided = schedules.index(g.Constant(w))
    for t, (want_guided, want_cond) in DRAWN_TO_THE_MEAN.items():
        step = round((1 - t) * 200)
        spread = (states[step] - w * mean).square().mean(dim=1)
        assert spread[guided].item() == pytest.approx(want_guided, abs=THREE_DIGITS)
        assert spread[0].item() == pytest.approx(want_cond, abs=THREE_DIGITS)


def test_norm_controlled_rules_overshoot_less_than_cfg():
    """256-D, four classes: the mean of class 0's samples moves past the class mean as w grows."""
    classes, dims = 4, 256
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(classes, dims, generator=generator, dtype=torch.float64)
    means *= 4 / means.norm(dim=1, keepdim=True)
    start = torch.randn(64, dims, generator=generator, dtype=torch.float64)

    def denoised(x, sigma, mu):
        """E[x0 | x] under equal parts of N(mu_k, I)."""
        logits = (x @ mu.T / (1 + sigma**2)) - mu.square().sum(1) / (2 * (1 + sigma**2))
        mean = torch.softmax(logits, dim=1) @ mu
        return mean + (x - mean) / (1 + sigma**2)

    def overshoot(rule):
        sigmas = edm_sigmas(24, low=0.02, high=40.0)
        x = sigmas[0] * start
        for sigma, after in zip(sigmas[:-1], sigmas[1:], strict=True):
            c, u = denoised(x, sigma, means[:1]), denoised(x, sigma, means)
            x = x + (after - sigma) * (x - rule(c[:, None], u[:, None])[:, 0]) / sigma
        return (x.mean(0) @ means[0]).item() / 16.0

    def along(w):
        return {
            "cfg": overshoot(lambda c, u: g.cfg(c, u, scale=w)),
            "adg": overshoot(lambda c, u: g.angle_domain(c, u, scale=w)),
            "rotate": overshoot(lambda c, u: g.rotate(c, u, scale=w)),
        }

    assert along(1.0)["cfg"] == pytest.approx(1.0, abs=0.05)
    mild, strong = along(4.0), along(12.0)
    assert 1.0 < mild["cfg"] < strong["cfg"]
    assert strong["rotate"] < strong["adg"] < strong["cfg"]


def test_quantile_starts_are_quantiles():
    mixture = Mixture([0.3, 0.7], [-1.0, 2.0], 0.2)
    x = mixture.quantiles(0.5)
    std = math.hypot(0.2, 0.5)
    cdf = 0.3 * torch.special.ndtr((x + 1) / std) + 0.7 * torch.special.ndtr((x - 2) / std)
    assert (cdf - LEVELS).abs().max() < 1e-12
