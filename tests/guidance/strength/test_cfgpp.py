"""CFG++ as a step weight: the same states as the CFG++ loops themselves, in float64.

The loops are written out from the definitions of the samplers, for VE and for flow models.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import guidance as g

from ..drawing import drawn
from ..toys import Mixture, edm_sigmas

COND, UNCOND = Mixture([0.5, 0.5], [-1.0, 1.0], 0.15), Mixture([0.25, 0.25, 0.5], [-1.0, 1.0, 1.6], 0.15)
VE = edm_sigmas(20, low=0.03, high=14.6)
FLOW = [3 * t / (1 + 2 * t) for t in np.linspace(1.0, 0.0, 16)]
GRIDS = {"ve": VE, "flow": FLOW}
kinds = pytest.mark.parametrize("kind", ["ve", "flow"])


def signal(s, kind):
    """a in x = a x0 + s eps."""
    return 1.0 if kind == "ve" else 1.0 - s


def denoised(x, s, kind):
    return tuple(m.denoised(x, signal(s, kind), s) for m in (COND, UNCOND))


def start(kind):
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)
    return x * GRIDS[kind][0]


def noises(kind):
    return drawn(len(GRIDS[kind]), 41)


def cfg_run(kind, weight_of, eta):
    """Euler or Euler ancestral (the rectified-flow form for flow) with plain CFG at weight_of(s, s')."""
    x = start(kind)
    sigmas = GRIDS[kind]
    for s, after, noise in zip(sigmas[:-1], sigmas[1:], noises(kind), strict=False):
        c, u = denoised(x, s, kind)
        d = u + weight_of(s, after) * (c - u)
        if after == 0:
            x = d
        elif kind == "ve":
            up = min(after, eta * math.sqrt(after**2 * (s**2 - after**2) / s**2))
            down = math.sqrt(after**2 - up**2)
            x = x + (x - d) / s * (down - s) + noise * up
        else:
            down = after * (1 + (after / s - 1) * eta)
            grown = (1 - after) / (1 - down)
            x = grown * (down / s * x + (1 - down / s) * d)
            x = x + noise * math.sqrt(max(after**2 - (down * grown) ** 2, 0.0))
    return x


def cfgpp_run(kind, lam, ve_down):
    """CFG++: clean part from D_lam, noise from D_u. ve_down(s, s') is sigma_down in VE coordinates."""
    x = start(kind)
    sigmas = GRIDS[kind]
    for s, after, noise in zip(sigmas[:-1], sigmas[1:], noises(kind), strict=False):
        c, u = denoised(x, s, kind)
        d = u + lam * (c - u)
        if after == 0:
            x = d
            continue
        a, a_next = signal(s, kind), signal(after, kind)
        direction = (x - a * u) / s
        down = ve_down(s, after)
        up = math.sqrt(max((after / a_next) ** 2 - down**2, 0.0))
        x = a_next * (d + down * direction + up * noise)
    return x


def host_ve_down(kind, eta):
    """What the host's ancestral CFG++ does: the VE rule in VE coordinates, whatever the model."""

    def down(s, after):
        here = s / signal(s, kind) if signal(s, kind) else math.inf
        there = after / signal(after, kind)
        up = min(there, eta * there * math.sqrt(1 - (there / here) ** 2))
        return math.sqrt(there**2 - up**2)

    return down


@kinds
@pytest.mark.parametrize("lam", [0.0, 0.2, 0.6, 1.0])
def test_euler_with_the_weight_is_cfgpp(kind, lam):
    got = cfg_run(kind, lambda s, after: g.cfgpp_scale(lam, s, after, kind=kind), eta=0.0)
    expected = cfgpp_run(kind, lam, host_ve_down(kind, eta=0.0))
    assert (got - expected).abs().max() < 1e-11


@kinds
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_euler_ancestral_with_the_weight_is_cfgpp(kind, eta):
    lam = 0.6

    def weight(s, after):
        return g.cfgpp_scale(lam, s, g.ancestral_sigma_down(s, after, eta=eta, kind=kind), kind=kind)

    def down(s, after):
        there = g.ancestral_sigma_down(s, after, eta=eta, kind=kind)
        return there / signal(there, kind)

    got = cfg_run(kind, weight, eta)
    assert (got - cfgpp_run(kind, lam, down)).abs().max() < 1e-11
    same_as_host = (got - cfgpp_run(kind, lam, host_ve_down(kind, eta))).abs().max()
    if kind == "ve":
        assert same_as_host < 1e-11
    else:
        # The host's two ancestral samplers for flow go down to different levels at one eta.
        assert same_as_host > 1e-2
    ignoring_eta = cfg_run(kind, lambda s, after: g.cfgpp_scale(lam, s, after, kind=kind), eta)
    assert (got - ignoring_eta).abs().max() > 1e-2


@kinds
def test_unsampling_swaps_the_roles(kind):
    lam = 0.6
    for s, after in zip(GRIDS[kind][1:-1], GRIDS[kind][:-2], strict=True):
        x = torch.linspace(-2, 2, 41, dtype=torch.float64)
        c, u = denoised(x, s, kind)
        guided = u + lam * (c - u)
        a, a_next = signal(s, kind), signal(after, kind)
        expected = a_next * u + after * (x - a * guided) / s
        d = u + g.cfgpp_scale(lam, s, after, kind=kind) * (c - u)
        got = after / s * x + (1 - after / s) * d if kind == "flow" else x + (x - d) / s * (after - s)
        assert (got - expected).abs().max() < 1e-11


@pytest.mark.parametrize("n,expected", [(20, 2.5), (50, 6.0), (200, 23.6)])
def test_first_weight_grows_with_the_number_of_steps(n, expected):
    sigmas = edm_sigmas(n)
    assert g.cfgpp_scale(0.6, sigmas[0], sigmas[1], kind="ve") == pytest.approx(expected, rel=0.02)


def test_ends_of_the_run():
    assert g.cfgpp_scale(0.6, 3.0, 0.0, kind="ve") == pytest.approx(0.6)
    assert g.cfgpp_scale(0.6, 0.3, 0.0, kind="flow") == pytest.approx(0.6)
    assert g.cfgpp_scale(0.6, 1.0, 0.9, kind="flow") == pytest.approx(0.6)
    for kind in ("ve", "flow"):
        assert g.ancestral_sigma_down(0.5, 0.0, eta=1.0, kind=kind) == 0.0
        assert g.ancestral_sigma_down(0.5, 0.3, eta=0.0, kind=kind) == 0.3


@given(
    s=st.floats(0.02, 0.99),
    ratio=st.floats(0.05, 0.95),
    lam=st.floats(0.01, 1.0),
    kind=st.sampled_from(["ve", "flow"]),
    limit=st.floats(1.0, 40.0),
)
def test_limit_caps_and_nothing_else(s, ratio, lam, kind, limit):
    free = g.cfgpp_scale(lam, s, s * ratio, kind=kind)
    assert free > 0
    assert g.cfgpp_scale(lam, s, s * ratio, kind=kind, limit=limit) == min(free, limit)


@kinds
def test_a_step_without_a_length(kind):
    with pytest.raises(ValueError, match="set a limit"):
        g.cfgpp_scale(0.6, 0.5, 0.5, kind=kind)
    assert g.cfgpp_scale(0.6, 0.5, 0.5, kind=kind, limit=30.0) == 30.0
    assert g.cfgpp_scale(0.0, 0.5, 0.5, kind=kind, limit=30.0) == 0.0


@pytest.mark.parametrize(
    "sigma,after,kind",
    [
        (-1.0, 0.0, "ve"),
        (math.inf, 1.0, "ve"),
        (math.nan, 1.0, "ve"),
        (1.0, math.nan, "ve"),
        (14.6, 12.0, "flow"),
    ],
)
def test_impossible_levels_are_refused(sigma, after, kind):
    for f in (
        lambda: g.cfgpp_scale(0.6, sigma, after, kind=kind, limit=30.0),
        lambda: g.ancestral_sigma_down(sigma, after, eta=1.0, kind=kind),
    ):
        with pytest.raises(ValueError, match=f"is not a step of a {kind} model"):
            f()


@kinds
def test_an_ancestral_step_cannot_rise(kind):
    with pytest.raises(ValueError, match="cannot rise"):
        g.ancestral_sigma_down(0.3, 0.5, eta=1.0, kind=kind)
    assert g.ancestral_sigma_down(0.3, 0.5, eta=0.0, kind=kind) == 0.5
