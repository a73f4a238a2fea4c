"""Laws of epsilon scaling that no single formula shows."""

import pytest
import torch

import guidance as g
from specimens import oracle

from ..drawing import drawn

S = 1.02


def latents(seed=0):
    return drawn(2, 3, 4, 5, 6, seed=seed)


def test_the_noise_of_a_ve_model_is_scaled():
    denoised, x = latents()
    before, after = (
        g.eps_from_denoised(x, d, 3.0, kind="ve") for d in (denoised, g.epsilon_scaling(denoised, x=x, scale=S))
    )
    torch.testing.assert_close(after, before / S, rtol=1e-12, atol=1e-12)


def test_the_velocity_of_a_flow_model_is_scaled_and_not_its_noise():
    denoised, x = latents()
    ours = g.epsilon_scaling(denoised, x=x, scale=S)
    before, after = (g.v_from_denoised(x, d, 0.6, kind="flow") for d in (denoised, ours))
    torch.testing.assert_close(after, before / S, rtol=1e-12, atol=1e-12)
    for i in range(3):
        of_noise = oracle.scaled_noise(denoised[i].numpy(), x[i].numpy(), 0.6, "flow", 1 / S)
        assert abs(ours[i].numpy() - of_noise).max() > 1e-3


@pytest.mark.parametrize("sigma,sigma_next", [(14.0, 9.0), (0.9, 0.8)])
def test_an_euler_step_is_shorter_by_the_factor(sigma, sigma_next):
    """(x - D)/sigma is the derivative of both families."""
    denoised, x = latents()
    plain, ours = (
        (sigma_next - sigma) * (x - d) / sigma for d in (denoised, g.epsilon_scaling(denoised, x=x, scale=S))
    )
    torch.testing.assert_close(ours, plain / S, rtol=1e-12, atol=1e-12)


def test_a_prediction_of_lower_precision_than_x_keeps_its_own():
    denoised, x = latents()
    assert g.epsilon_scaling(denoised.bfloat16(), x=x.float()).dtype == torch.bfloat16
