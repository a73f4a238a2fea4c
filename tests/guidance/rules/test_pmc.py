"""Laws of norm-capped guidance that no single formula shows."""

import math

import pytest
import torch

import guidance as g

from ..drawing import drawn


def made(rho, cosine, n=64):
    """A pair with ||Delta|| = rho ||D_c|| at a given angle to D_c."""
    a, b = torch.linalg.qr(drawn(n, 2))[0].T
    cond = 3.0 * a
    delta = 3.0 * rho * (cosine * a + math.sqrt(1 - cosine**2) * b)
    return tuple(t.view(1, 4, 4, n // 16) for t in (cond, cond - delta))


def beta(rho, cosine, gamma, w=1000.0):
    pair = made(rho, cosine)
    return g.effective_scale(g.pmc(*pair, scale=w, gamma=gamma), *pair).item() - 1


@pytest.mark.parametrize("cosine", [-0.9, -0.3, 0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("gamma", [1.05, 1.5])
@pytest.mark.parametrize("rho", [0.02, 1.0, 8.0])
def test_where_it_binds_the_norm_is_the_cap(rho, cosine, gamma):
    cond, uncond = made(rho, cosine)
    guided = g.pmc(cond, uncond, scale=1e6, gamma=gamma)
    torch.testing.assert_close(g.norm(guided), gamma * g.norm(cond), rtol=1e-12, atol=0)


@pytest.mark.parametrize("w", [1.5, 4.0, 15.0])
def test_the_cap_is_never_passed_and_plain_cfg_is_kept_below_it(w):
    cond, uncond = drawn(2, 40, 4, 5, 6, seed=1)
    uncond = cond + torch.linspace(0.001, 1.0, 40, dtype=torch.float64).view(-1, 1, 1, 1) * (uncond - cond)
    guided, plain = g.pmc(cond, uncond, scale=w, gamma=1.2), g.cfg(cond, uncond, scale=w)
    cap = 1.2 * g.norm(cond)
    assert (g.norm(guided) <= cap * (1 + 1e-12)).all()
    inside = (g.norm(plain) < cap).flatten()
    assert inside.any() and not inside.all()
    torch.testing.assert_close(guided[inside], plain[inside])


def test_more_weight_is_never_less_guidance():
    cond, uncond = drawn(2, 8, 4, 5, 6, seed=2)
    reached = torch.stack([g.effective_scale(g.pmc(cond, uncond, scale=1 + i / 8), cond, uncond) for i in range(40)])
    assert (reached.diff(dim=0) >= -1e-12).all()


@pytest.mark.parametrize(
    "rho,cosine,gamma,expected",
    [
        # Orthogonal predictions of equal norm: Delta is sqrt(2) as long as D_c, at 45 degrees.
        (math.sqrt(2), math.sqrt(0.5), 1.05, 0.049),
        (math.sqrt(2), math.sqrt(0.5), 1.10, 0.096),
        (math.sqrt(2), math.sqrt(0.5), 1.15, 0.141),
        (0.1, 0.0, 1.05, 3.2),
        (0.1, 0.5, 1.05, 0.94),
        (0.02, 0.0, 1.05, 16.0),
        (0.02, 1.0, 1.05, 2.5),
    ],
)
def test_how_much_weight_is_left(rho, cosine, gamma, expected):
    assert beta(rho, cosine, gamma) == pytest.approx(expected, rel=0.02)


def test_a_cap_of_1_leaves_no_guidance_that_lengthens():
    cond, uncond = made(0.5, 0.3)
    assert torch.equal(g.pmc(cond, uncond, scale=8.0, gamma=1.0), cond)
    assert beta(0.5, -0.3, 1.0) == pytest.approx(2 * 0.3 / 0.5)


def test_a_large_cap_is_plain_cfg():
    cond, uncond = made(0.7, 0.2)
    torch.testing.assert_close(g.pmc(cond, uncond, scale=8.0, gamma=1e3), g.cfg(cond, uncond, scale=8.0))


def test_the_stable_form_keeps_its_digits():
    """Nearly parallel and nearly no room: the other form subtracts two equal numbers."""
    pair = tuple(t.float() for t in made(1e-4, 1.0))
    got = g.effective_scale(g.pmc(*pair, scale=8.0, gamma=1.0 + 1e-6), *pair).item() - 1
    assert got == pytest.approx(1e-6 / 1e-4, rel=0.02)


def test_it_is_the_same_weight_in_every_space():
    cond, uncond = made(0.3, 0.2)
    x = torch.randn_like(cond)
    reached = g.effective_scale(g.pmc(cond, uncond, scale=8.0), cond, uncond)
    there = [g.v_from_denoised(x, d, 0.6, kind="flow") for d in (cond, uncond)]
    back = g.denoised_from_v(x, g.cfg(*there, scale=reached), 0.6, kind="flow")
    torch.testing.assert_close(back, g.pmc(cond, uncond, scale=8.0))


@pytest.mark.parametrize("knobs", [{"gamma": 0.99}, {"floor": -0.1}, {"floor": 1.1}])
def test_impossible_knobs_are_refused(knobs):
    with pytest.raises(ValueError, match="gamma"):
        g.pmc(*made(0.3, 0.2), scale=4.0, **knobs)
