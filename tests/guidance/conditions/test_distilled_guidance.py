"""Laws of the pair behind a guidance-distilled model that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn


def distilled(cond, uncond, guidance):
    """What a perfectly distilled model predicts."""
    return uncond + guidance * (cond - uncond)


def pair(shape=(3, 4, 5, 6)):
    return drawn(2, *shape)


@pytest.mark.parametrize(("low", "high"), [(1.5, 3.5), (1.0, 6.0), (2.0, 2.5), (0.0, 1.0)])
def test_the_pair_of_a_perfectly_distilled_model_comes_back(low, high):
    cond, uncond = pair()
    seen = (distilled(cond, uncond, guidance) for guidance in (low, high))
    c, u = g.distilled_pair(*seen, low_guidance=low, high_guidance=high)
    torch.testing.assert_close(c, cond)
    torch.testing.assert_close(u, uncond)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 1.5, 2.7, 3.5, 8.0])
def test_plain_cfg_of_the_pair_is_the_model_at_that_guidance(guidance):
    low, high = pair()
    c, u = g.distilled_pair(low, high, low_guidance=1.5, high_guidance=3.5)
    slope = (high - low) / 2.0
    torch.testing.assert_close(g.cfg(c, u, scale=guidance), low + (guidance - 1.5) * slope)


def test_a_guidance_of_1_or_0_is_its_prediction_bit_for_bit():
    low, high = pair()
    assert torch.equal(g.distilled_pair(low, high, low_guidance=1.0, high_guidance=4.0)[0], low)
    assert torch.equal(g.distilled_pair(low, high, low_guidance=0.0, high_guidance=1.0)[0], high)
    assert torch.equal(g.distilled_pair(low, high, low_guidance=0.0, high_guidance=3.0)[1], low)


def test_a_model_that_does_not_listen_has_no_update():
    low, _ = pair()
    c, u = g.distilled_pair(low, low.clone(), low_guidance=1.5, high_guidance=3.5)
    assert torch.equal(c, low) and torch.equal(u, low)


def test_a_guidance_per_sample():
    low, high = pair()
    each = torch.tensor([1.0, 1.5, 2.0], dtype=torch.float64)
    c, u = g.distilled_pair(low, high, low_guidance=each, high_guidance=each + 2.0)
    for i, value in enumerate(each.tolist()):
        alone = g.distilled_pair(low[i : i + 1], high[i : i + 1], low_guidance=value, high_guidance=value + 2.0)
        torch.testing.assert_close(c[i : i + 1], alone[0])
        torch.testing.assert_close(u[i : i + 1], alone[1])
