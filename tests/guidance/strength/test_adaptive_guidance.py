"""Laws of the similarity that Adaptive Guidance measures."""

import math

import pytest
import torch

import guidance as g

from ..drawing import drawn


def three(seed=0, shape=(3, 4, 5, 6)):
    return drawn(3, *shape, seed=seed)


@pytest.mark.parametrize(("kind", "sigma"), [("ve", 3.7), ("ve", 0.05), ("flow", 0.8), ("flow", 0.03)])
@pytest.mark.parametrize(("space", "convert"), [("eps", g.eps_from_denoised), ("velocity", g.v_from_denoised)])
def test_it_is_the_cosine_in_the_space_it_names(kind, sigma, space, convert):
    cond, uncond, x = three()
    convert = g.eps_from_denoised if kind == "ve" else convert  # a VE model has no velocity of its own here
    p, q = (convert(x, d, sigma, kind=kind).flatten(1) for d in (cond, uncond))
    got = g.adaptive_similarity(cond, uncond, x=x, sigma=sigma, kind=kind, space=space)
    torch.testing.assert_close(got, torch.cosine_similarity(p, q), rtol=1e-12, atol=1e-12)


def test_the_spaces_of_a_flow_model_differ():
    cond, uncond, x = three()
    eps, velocity = (
        g.adaptive_similarity(cond, uncond, x=x, sigma=0.8, kind="flow", space=space) for space in ("eps", "velocity")
    )
    assert (eps - velocity).abs().min() > 0.05
    at_noise = g.adaptive_similarity(cond, uncond, x=x, sigma=1.0, kind="flow")
    assert at_noise.tolist() == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("degrees", [0.0, 0.1, 7.7, 90.0, 180.0])
def test_known_angles(degrees):
    x = torch.zeros(1, 2, 3)
    cond, uncond = torch.zeros(2, 1, 2, 3)
    cond[0, 0, 0] = -2.0
    uncond[0, 0, 0], uncond[0, 1, 2] = (-5 * f(math.radians(degrees)) for f in (math.cos, math.sin))
    got = g.adaptive_similarity(cond, uncond, x=x, sigma=1.0, kind="ve").item()
    assert got == pytest.approx(math.cos(math.radians(degrees)), abs=1e-6) and -1.0 <= got <= 1.0


def test_without_a_direction_nothing_is_alike():
    cond, uncond, x = three()
    assert g.adaptive_similarity(x, uncond, x=x, sigma=1.0, kind="ve").tolist() == [0.0] * 3
    assert g.adaptive_similarity(cond, cond, x=x, sigma=1.0, kind="ve").tolist() == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("space", ["eps", "velocity"])
def test_a_video_latent_is_measured_as_in_float64(space):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(1, 16, 9, 90, 81, generator=generator) * 20
    cond = torch.randn(x.shape, generator=generator)
    uncond = cond + torch.randn(x.shape, generator=generator)
    knobs = {"sigma": torch.tensor([0.7]), "kind": "flow", "space": space}
    exact = g.adaptive_similarity(cond.double(), uncond.double(), x=x.double(), **knobs)
    torch.testing.assert_close(g.adaptive_similarity(cond, uncond, x=x, **knobs), exact.float(), rtol=1e-6, atol=1e-6)
