"""What a network puts out: the table of parametrisations, and flow models in VE coordinates."""

import math

import pytest
import torch

import guidance as g

SIGMA_FLOW = g.Parametrisation("ve", "velocity")
DISTANCE = 1e-12


def close(a, b):
    torch.testing.assert_close(a, b, rtol=DISTANCE, atol=DISTANCE)


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_flow_model_in_ve_coordinates_is_seen_as_any_flow_model():
    """The same noise and the same data: x = x0 + sigma n there, (1 - t) x0 + t n as rules see it."""
    x0, n, sigma = draw(0, 3, 4, 5, 6), draw(1, 3, 4, 5, 6), torch.tensor([0.3, 1.0, 80.0], dtype=torch.float64)
    x, t = x0 + sigma.view(-1, 1, 1, 1) * n, SIGMA_FLOW.sigma_seen(sigma)
    assert SIGMA_FLOW.is_flow and SIGMA_FLOW.seen == g.Parametrisation("flow", "velocity")
    close(t, sigma / (1 + sigma))
    seen = SIGMA_FLOW.x_seen(x, sigma)
    close(seen, torch.lerp(x0, n, t.view(-1, 1, 1, 1)))
    for of, place, level in ((SIGMA_FLOW, x, sigma), (SIGMA_FLOW.seen, seen, t)):
        close(g.output_from_denoised(place, x0, level, of=of), n - x0)
        close(g.denoised_from_output(place, n - x0, level, of=of), x0)


@pytest.mark.parametrize(
    "of",
    [
        g.Parametrisation("ve", "eps"),
        g.Parametrisation("ve", "v", 0.5),
        g.Parametrisation("ve", "x0"),
        g.Parametrisation("flow", "velocity"),
        g.Parametrisation("flow", "x0"),
    ],
    ids=str,
)
def test_every_other_model_is_seen_as_it_is(of):
    x = draw(0, 2, 4, 5, 6).half()
    assert of.seen is of or of.seen == of
    assert of.x_seen(x, 0.7) is x and of.sigma_seen(0.7) == 0.7


def test_levels_at_both_ends_and_dtypes():
    assert SIGMA_FLOW.sigma_seen(math.inf) == 1.0 and SIGMA_FLOW.sigma_seen(0.0) == 0.0
    assert SIGMA_FLOW.sigma_seen(torch.tensor([0.0, math.inf])).tolist() == [0.0, 1.0]
    x = draw(0, 2, 4, 5, 6).bfloat16()
    assert SIGMA_FLOW.x_seen(x, torch.tensor([0.5, 2.0])).dtype == torch.bfloat16


def test_what_the_table_does_not_have_is_refused():
    with pytest.raises(ValueError, match="score in ve is no parametrisation; known are eps in ve, .*x0 in flow"):
        g.Parametrisation("ve", "score")


# ---- What rests on it


@pytest.mark.parametrize("sigma", [4.0, 1.0, 0.3])
def test_cfg_zero_star_of_a_flow_model_in_ve_coordinates_fits_velocities(sigma):
    """Its s is that of the velocities, and another than that of eps."""
    x0, n = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8)
    x, cond, uncond = x0 + sigma * n, x0 + 0.3 * draw(2, 1, 4, 8, 8), x0 + 0.3 * draw(3, 1, 4, 8, 8)
    v_c, v_u = (g.output_from_denoised(x, d, sigma, of=SIGMA_FLOW) for d in (cond, uncond))
    s = (v_c * v_u).sum() / (v_u * v_u).sum()
    expected = g.denoised_from_output(x, s * v_u + 5.0 * (v_c - s * v_u), sigma, of=SIGMA_FLOW)
    close(g.cfg_zero_star(cond, uncond, scale=5.0, x=SIGMA_FLOW.x_seen(x, sigma)), expected)
    assert (g.cfg_zero_star(cond, uncond, scale=5.0, x=x) - expected).abs().max() > 1e-2


def test_uncond_reuse_holds_what_the_network_of_an_edm_model_puts_out():
    of, sigmas = g.Parametrisation("ve", "v", 0.5), (4.0, 1.0)
    n_c, n_u, x = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8), draw(2, 1, 4, 8, 8)
    before, now = ([g.denoised_from_output(x, n, s, of=of) for n in (n_c, n_u)] for s in sigmas)
    levels = {"sigma_last": sigmas[0], "sigma": sigmas[1], "kind": "ve"}
    close(g.uncond_reuse(now[0], before[0] - before[1], data_sigma=0.5, **levels), now[1])
    assert (g.uncond_reuse(now[0], before[0] - before[1], **levels) - now[1]).abs().max() > 1e-2


@pytest.mark.parametrize("of", [None, g.Parametrisation("ve", "eps"), g.Parametrisation("flow", "velocity")], ids=str)
def test_a_rescale_fades_in_with_the_scale_and_is_whole_from_1_on(of):
    x, base, cond, weak = (draw(seed, 2, 4, 8, 8) for seed in range(4))
    base = 3.0 * base

    def moved(scale, rescale=1.0):
        got = g.add_term(base, cond, weak, scale=scale, rescale=rescale, x=x, sigma=0.7, of=of)
        return (got - base).abs().max().item()

    assert moved(0.0) == 0.0
    assert moved(0.001) < 0.01 * moved(1.0)
    assert moved(-0.001) < 0.01 * moved(1.0)
    to_n, back = (
        (lambda d: d, lambda d: d)
        if of is None
        else (
            lambda d: g.output_from_denoised(x, d, 0.7, of=of),
            lambda n: g.denoised_from_output(x, n, 0.7, of=of),
        )
    )
    for s in (1.0, 3.0):
        raw = to_n(base + s * (cond - weak))
        factor = to_n(cond).std((1, 2, 3), keepdim=True) / raw.std((1, 2, 3), keepdim=True)
        theirs = back(raw * (0.7 * factor + 0.3))
        close(g.add_term(base, cond, weak, scale=s, rescale=0.7, x=x, sigma=0.7, of=of), theirs)
