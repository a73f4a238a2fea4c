"""Laws of energy-preserving guidance that no single formula shows."""

import numpy as np
import pytest
import torch

import guidance as g
from specimens.corrections.energy_preserving import literal, middle_energy, plain_energy

from ..drawing import drawn


def step(shape=(3, 4, 5, 6), w=8.0, seed=0, dtype=torch.float64):
    cond, uncond, x = drawn(3, *shape, seed=seed)
    return (t.to(dtype) for t in (cond, g.cfg(cond, uncond, scale=w), 3.0 * x))


VIDEO = (2, 3, 4, 5, 6)


@pytest.mark.parametrize("shape", [(3, 4, 30), (3, 4, 5, 6), VIDEO], ids=len)
def test_the_norm_is_that_of_cond_in_the_space_of_the_network(shape):
    cond, guided, x = step(shape)
    got = g.energy_preserving(guided, cond, x=x)
    torch.testing.assert_close(g.norm(x - got), g.norm(x - cond), rtol=1e-12, atol=0.0)
    cosine = g.dot(x - got, x - guided) / (g.norm(x - got) * g.norm(x - guided))
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    assert ((g.norm(got) - g.norm(cond)).abs() > 0.1).any()


@pytest.mark.parametrize("kind", ["ve", "flow"])
def test_it_is_the_authors_rule_in_noise_and_in_velocity(kind):
    cond, guided, x = step()
    sigma = {"ve": 4.0, "flow": 0.6}[kind]
    there, back = {
        "ve": (g.eps_from_denoised, g.denoised_from_eps),
        "flow": (g.v_from_denoised, g.denoised_from_v),
    }[kind]
    n_c, n_g = (there(x, d, sigma, kind=kind) for d in (cond, guided))
    by_hand = back(x, n_g * (g.norm(n_c) / g.norm(n_g)), sigma, kind=kind)
    torch.testing.assert_close(g.energy_preserving(guided, cond, x=x), by_hand)


def test_a_video_can_keep_the_energy_of_every_frame_and_channel():
    cond, guided, x = step(VIDEO)
    got = g.energy_preserving(guided, cond, x=x, scope="frame")
    ours, theirs = ((x - d).square().sum((-2, -1)) for d in (got, cond))
    torch.testing.assert_close(ours, theirs)
    whole = g.energy_preserving(guided, cond, x=x)
    assert (((x - whole).square().sum((-2, -1)) - theirs).abs() > 1e-3 * theirs).any()


def test_other_latents_have_no_frames():
    for shape in ((3, 4, 30), (3, 4, 5, 6)):
        cond, guided, x = step(shape)
        for robust in (False, True):
            per_frame = g.energy_preserving(guided, cond, x=x, robust=robust, scope="frame")
            assert torch.equal(per_frame, g.energy_preserving(guided, cond, x=x, robust=robust))


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_frame_is_a_latent_of_its_own(robust, dtype):
    cond, guided, x = step(VIDEO, dtype=dtype)
    got = g.energy_preserving(guided, cond, x=x, robust=robust, scope="frame")
    measure = middle_energy if robust else plain_energy
    for place in np.ndindex(VIDEO[:3]):
        expected = literal(*(t[place].double().numpy() for t in (guided, cond, x)), measure)
        error = np.abs(got[place].double().numpy() - expected).max()
        assert error < {torch.float32: 1e-5, torch.float16: 2e-2}[dtype]
    alone = g.energy_preserving(*(t[1:] for t in (guided, cond)), x=x[1:], robust=robust, scope="frame")
    assert torch.equal(alone, got[1:])


@pytest.mark.parametrize("shape", [(1, 3, 300, 301), (1, 2, 1, 300, 301)], ids=["sample", "frame"])
def test_the_percentiles_of_a_long_row_are_exact(shape):
    cond, guided, x = step(shape)
    got = g.energy_preserving(guided, cond, x=x, robust=True, scope="frame")
    for place in [(0,)] if len(shape) == 4 else [(0, 0, 0), (0, 1, 0)]:
        expected = literal(*(t[place].numpy() for t in (guided, cond, x)), middle_energy)
        np.testing.assert_allclose(got[place].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_what_is_rare_does_not_move_the_robust_form():
    cond, guided, x = step((1, 4, 32, 32))
    burnt = guided.clone()
    burnt.view(-1)[:40] += 1000.0
    factors = {}
    for robust in (False, True):
        for name, d in (("clean", guided), ("burnt", burnt)):
            got = g.energy_preserving(d, cond, x=x, robust=robust)
            factors[robust, name] = ((x - got).flatten()[-1] / (x - d).flatten()[-1]).item()
    assert factors[True, "burnt"] == pytest.approx(factors[True, "clean"], rel=0.02)
    assert factors[False, "burnt"] < 0.5 * factors[False, "clean"]


def test_a_mean_moves_the_percentiles_of_squares_a_little():
    # Percentiles of the entries themselves would rise by a factor of about 17 in energy.
    noise = drawn(1, 1, 400, 500, seed=1)
    zero = torch.zeros_like(noise)
    got = g.energy_preserving(zero - noise, zero - (noise + 0.3), x=zero, robust=True)
    assert (got / (zero - noise)).square().mean().item() == pytest.approx(1.10, abs=0.03)


def test_a_scope_must_be_known():
    cond, guided, x = step()
    with pytest.raises(ValueError, match="one of sample, frame"):
        g.energy_preserving(guided, cond, x=x, scope="channel")


def test_the_middle_of_long_frames_is_that_of_each_frame():
    """Longer than 65,536 values, from where on a rank is looked for between bounds."""
    cond, uncond, x = torch.randn(3, 1, 2, 2, 270, 260, generator=torch.Generator().manual_seed(0))
    guided = g.cfg(cond, uncond, scale=torch.tensor([5.0]))
    whole = g.energy_preserving(guided, cond, x=x, robust=True, scope="frame")
    for place in ((c, f) for c in range(2) for f in range(2)):
        alone = [t[:, place[0], place[1]][:, None] for t in (guided, cond, x)]
        one = g.energy_preserving(*alone[:2], x=alone[2], robust=True)
        torch.testing.assert_close(whole[:, place[0], place[1]], one[:, 0], rtol=1e-5, atol=1e-5)
