"""Tangential Amplifying Guidance against the paper's step, in every coordinate system that samplers use."""

import math

import pytest
import torch

import guidance as g
from specimens.corrections.tangential import amplified

from ..drawing import drawn

ETA = 1.15


def latents(seed=0):
    """D and x of three samples."""
    return drawn(2, 3, 4, 5, 6, seed=seed)


def ve_euler(x, denoised):
    high, low = 7.0, 4.0
    return x + (low - high) * (x - denoised) / high


def vp_ddim(z, denoised):
    (a, s), (a_next, s_next) = ((1 / math.hypot(1, v), v / math.hypot(1, v)) for v in (7.0, 4.0))
    noise = (z - a * denoised) / s
    return a_next * denoised + s_next * noise


def flow_euler(x, denoised):
    t, t_next = 0.9, 0.75
    return x + (t_next - t) * (x - denoised) / t


STEPS = [ve_euler, vp_ddim, flow_euler]


def scaled(x, step):
    """x in the coordinates of the step: those of VP are the host's, shrunk."""
    return x / math.hypot(1, 7.0) if step is vp_ddim else x


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("eta", [1.0, ETA, 0.4, 3.0])
def test_a_step_is_the_papers(step, eta):
    denoised, x = latents()
    place = scaled(x, step)
    got = step(place, g.tangential_amplify(denoised, x=x, eta=eta))
    for i in range(3):
        before = place[i].numpy()
        expected = before + amplified(step(place, denoised)[i].numpy() - before, before, eta)
        assert abs(got[i].numpy() - expected).max() < 1e-12 * abs(expected).max()


@pytest.mark.parametrize("step", STEPS)
def test_the_radial_part_of_a_step_stays(step):
    denoised, x = latents()
    place = scaled(x, step)
    plain, tag = step(place, denoised), step(place, g.tangential_amplify(denoised, x=x, eta=ETA))
    torch.testing.assert_close(g.dot(tag, place), g.dot(plain, place), rtol=1e-12, atol=1e-12)
    assert (g.norm(tag - plain) > 1e-3).all()


def test_the_tangential_part_of_the_prediction_is_eta_times_as_long():
    denoised, x = latents()
    along = g.dot(denoised, x) / g.dot(x, x) * x
    torch.testing.assert_close(g.tangential_amplify(denoised, x=x, eta=ETA), along + ETA * (denoised - along))


def test_a_prediction_along_x_stays():
    _, x = latents()
    torch.testing.assert_close(g.tangential_amplify(0.3 * x, x=x, eta=ETA), 0.3 * x, rtol=1e-12, atol=1e-12)


def test_where_x_is_zero_all_is_tangential():
    denoised, x = latents()
    torch.testing.assert_close(g.tangential_amplify(denoised, x=0.0 * x, eta=ETA), ETA * denoised)


def test_a_prediction_of_lower_precision_than_x_keeps_its_own():
    denoised, x = latents()
    half = g.tangential_amplify(denoised.half(), x=x.float(), eta=ETA)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.double(), g.tangential_amplify(denoised, x=x, eta=ETA), rtol=2e-3, atol=2e-3)
