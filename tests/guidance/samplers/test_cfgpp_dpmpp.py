"""Whole runs of CFG++ with DPM++ 2M and 2S on exact denoisers: orders, limits, families, and the host's departures."""

import math

import pytest
import torch

import guidance as g

from ..drawing import drawn
from ..toys import Mixture, edm_sigmas

COND, UNCOND = Mixture([0.5, 0.5], [-1.0, 1.0], 0.15), Mixture([0.25, 0.25, 0.5], [-1.0, 1.0, 1.6], 0.15)
kinds = pytest.mark.parametrize("kind", ["ve", "flow"])
DRAWN = drawn(7, 1, 41, seed=1)


def signal(sigma, kind):
    return 1.0 if kind == "ve" else 1.0 - sigma


def predicted(x, sigma, kind, lam, pair):
    c, u = (m.denoised(x, signal(sigma, kind), sigma) for m in pair)
    return u + lam * (c - u), u


def first_order(x, levels, i, kind, lam, pair, before):
    guided, u = predicted(x, levels[i], kind, lam, pair)
    return g.cfgpp_step(x, guided, u, sigma=levels[i], sigma_next=levels[i + 1], kind=kind), u


def two_m(x, levels, i, kind, lam, pair, before):
    guided, u = predicted(x, levels[i], kind, lam, pair)
    step = {"sigma_before": levels[max(i - 1, 0)], "sigma": levels[i], "sigma_next": levels[i + 1]}
    return g.cfgpp_2m(x, guided, u, before, kind=kind, **step), u


def two_s(x, levels, i, kind, lam, pair, before):
    sigma, after = levels[i], levels[i + 1]
    guided, u = predicted(x, sigma, kind, lam, pair)
    middle = g.middle_sigma(sigma, after, kind=kind)
    if not after < middle < sigma:
        return g.cfgpp_step(x, guided, u, sigma=sigma, sigma_next=after, kind=kind), u
    x_middle = g.cfgpp_2s_middle(x, guided, u, sigma=sigma, sigma_middle=middle, kind=kind)
    there = predicted(x_middle, middle, kind, lam, pair)
    return g.cfgpp_2s_end(x, guided, *there, sigma=sigma, sigma_next=after, kind=kind), u


def run(method, x, levels, kind, lam, pair=(COND, UNCOND)):
    """The states of a run; lam is a number, or a function of a step's two levels."""
    states, before = [x], None
    for i in range(len(levels) - 1):
        lam_here = lam(levels[i], levels[i + 1]) if callable(lam) else lam
        x, before = method(states[-1], levels, i, kind, lam_here, pair, before)
        states.append(x)
    return states


methods = pytest.mark.parametrize("method", [two_m, two_s], ids=["2M", "2S"])
START = torch.linspace(-2, 2, 41, dtype=torch.float64).reshape(1, 1, 41)


def geometric(n, high=5.0, low=0.1):
    return [high * (low / high) ** (i / n) for i in range(n + 1)]


@pytest.mark.parametrize(("method", "order"), [(first_order, 1), (two_m, 2), (two_s, 2)], ids=["first", "2M", "2S"])
@kinds
def test_without_guidance_the_order_is_that_of_the_solver(method, order, kind):
    """One Gaussian, whose deviation from its mean follows the spread of the noised distribution exactly."""
    toy, spread = Mixture([1.0], [0.3], 0.5), lambda s, a: math.hypot(a * 0.5, s)
    errors = []
    for n in (40, 80, 160):
        levels = [s / (1 + s) if kind == "flow" else s for s in geometric(n)]
        first, last = levels[0], levels[-1]
        a, b = signal(first, kind), signal(last, kind)
        x = a * 0.3 + spread(first, a) * START
        exact = b * 0.3 + spread(last, b) * START
        errors.append((run(method, x, levels, kind, 0.0, (toy, toy))[-1] - exact).abs().max().item())
    assert errors[-1] < (0.02 if order == 1 else 2e-4)
    for larger, smaller in zip(errors[:-1], errors[1:], strict=True):
        assert math.log2(larger / smaller) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("method", [first_order, two_m, two_s], ids=["first", "2M", "2S"])
def test_at_one_cfg_weight_the_limit_is_that_of_cfg(method):
    """CFG++ has no limit at one lambda. lambda = w (1 - s'/s) is the CFG of weight w, with its closed form."""
    w, m_c, m_u, s = 3.0, 0.8, -0.3, 0.5
    pair = Mixture([1.0], [m_c], s), Mixture([1.0], [m_u], s)
    m_w = w * m_c + (1 - w) * m_u
    errors = []
    for n in (100, 200, 400):
        levels = geometric(n, low=0.02)
        x = 5.0 * START
        exact = m_w + math.hypot(s, 0.02) / math.hypot(s, 5.0) * (x - m_w)
        states = run(method, x, levels, "ve", lambda here, after: w * (1 - after / here), pair)
        errors.append((states[-1] - exact).abs().max().item())
    assert errors[-1] < 0.04
    for larger, smaller in zip(errors[:-1], errors[1:], strict=True):
        assert larger / smaller > 1.8


@methods
@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_a_flow_run_is_the_ve_run_of_the_same_noise(method, lam):
    levels = edm_sigmas(15, low=0.03, high=20.0)
    ve = run(method, 20.0 * START, levels, "ve", lam)
    flow = run(method, 20.0 / 21.0 * START, [s / (1 + s) for s in levels], "flow", lam)
    for z, x, s in zip(ve, flow, levels, strict=True):
        assert (x - z / (1 + s)).abs().max() < 1e-11


@pytest.mark.parametrize(("method", "close"), [(two_m, 2e-4), (two_s, 1e-8)], ids=["2M", "2S"])
def test_a_flow_run_from_pure_noise_is_the_limit_of_those_that_begin_below(method, close):
    """Of 2M slowly: the correction of the second step fades with the logarithm of the gap."""
    levels = [3 * t / (1 + 2 * t) for t in (1 - i / 8 for i in range(9))]
    from_one = run(method, START, levels, "flow", 0.6)
    assert all(state.isfinite().all() for state in from_one)
    apart = []
    for gap in (1e-6, 1e-10, 1e-14):
        near = run(method, START, [1 - gap, *levels[1:]], "flow", 0.6)
        apart.append((near[-1] - from_one[-1]).abs().max().item())
    assert apart[0] > apart[1] > apart[2] and apart[2] < close
    assert run(method, START, [1.0, *levels], "flow", 0.6)[-1].isfinite().all()


def test_the_correction_of_the_second_step_fades_as_the_first_level_nears_one():
    x, guided, u, before = DRAWN[:4, None]
    step = {"sigma": 0.8, "sigma_next": 0.6, "kind": "flow"}
    plain = g.cfgpp_step(x, guided, u, **step)
    assert torch.equal(g.cfgpp_2m(x, guided, u, before, sigma_before=1.0, **step), plain)
    gaps = [1e-2, 1e-4, 1e-8]
    added = [(g.cfgpp_2m(x, guided, u, before, sigma_before=1 - gap, **step) - plain).norm() for gap in gaps]
    assert added[0] > 1.5 * added[1] > 2.0 * added[2] > 0


@kinds
def test_the_hosts_form_departs_by_what_the_card_says(kind):
    x, guided, u, before, guided_middle, u_middle = DRAWN[:6, None]
    first, sigma, after = (3.1, 2.0, 1.2) if kind == "ve" else (0.9, 0.7, 0.45)
    first_ve, here, there = (s / signal(s, kind) for s in (first, sigma, after))
    h, r = math.log(here / there), math.log(first_ve / here) / math.log(here / there)
    a_next = signal(after, kind)

    def apart(function, *tensors, **levels):
        ours, theirs = (function(*tensors, kind=kind, mixed=mixed, **levels) for mixed in (False, True))
        return (theirs - ours) / a_next

    seen = apart(g.cfgpp_2m, x, guided, u, before, sigma_before=first, sigma=sigma, sigma_next=after)
    torch.testing.assert_close(seen, (1 - math.exp(-h)) / (2 * r) * (guided - u), rtol=0, atol=1e-12)
    seen = apart(g.cfgpp_2s_middle, x, guided, u, sigma=sigma, sigma_middle=after)
    torch.testing.assert_close(seen, guided - u, rtol=0, atol=1e-12)
    seen = apart(g.cfgpp_2s_end, x, guided, guided_middle, u_middle, sigma=sigma, sigma_next=after)
    torch.testing.assert_close(seen, math.exp(-h) * (guided - guided_middle), rtol=0, atol=1e-12)


@kinds
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_a_renoised_state_has_the_noise_of_its_level(kind, eta):
    """x = a x0 + s eps goes down to s_down and back up: clean part a', noise of variance s'^2."""
    sigma, after = (2.0, 1.2) if kind == "ve" else (0.7, 0.45)
    down = g.ancestral_sigma_down(sigma, after, eta=eta, kind=kind)
    ones = torch.ones(1, 1, 1, dtype=torch.float64)
    step = {"sigma_down": down, "sigma_next": after, "kind": kind}
    clean, old, new = (
        g.renoise(state * ones, noise * ones, **step).item()
        for state, noise in ((signal(down, kind), 0.0), (down, 0.0), (0.0, 1.0))
    )
    assert clean == pytest.approx(signal(after, kind))
    assert math.hypot(old, new) == pytest.approx(after)
    assert new > 0.05
    assert g.renoise(0.0 * ones, ones, s_noise=0.5, **step).item() == pytest.approx(new / 2)


def test_middles():
    assert g.middle_sigma(2.0, 0.5, kind="ve") == pytest.approx(1.0)
    assert g.middle_sigma(0.8, 0.2, kind="flow") == pytest.approx(0.5)
    assert g.middle_sigma(1.0, 0.5, kind="flow") == 1.0
    for kind in ("ve", "flow"):
        assert g.middle_sigma(1.0, 0.0, kind=kind) == 0.0
        assert g.middle_sigma(0.5, 0.5, kind=kind) == pytest.approx(0.5)


@kinds
def test_a_step_after_one_without_a_length_has_no_correction(kind):
    x, guided, u, before = DRAWN[:4, None]
    for sigma in (0.5, 1.0):
        step = {"sigma": sigma, "sigma_next": 0.4, "kind": kind}
        got = g.cfgpp_2m(x, guided, u, before, sigma_before=sigma, **step)
        assert torch.equal(got, g.cfgpp_step(x, guided, u, **step))
