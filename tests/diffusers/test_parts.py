"""Parts of our methods against other code of `diffusers`: hooks, schedulers, and pipelines that it keeps."""

import math
import types

import pytest
import torch
import torch.nn.functional as F
from diffusers.hooks.layer_skip import AttentionScoreSkipFunctionMode
from diffusers.hooks.smoothed_energy_guidance_utils import SmoothedEnergyGuidanceHook, _gaussian_blur_2d
from diffusers.pipelines.deprecated.stable_diffusion_safe.pipeline_stable_diffusion_safe import (
    StableDiffusionPipelineSafe,
)
from diffusers.pipelines.deprecated.stable_diffusion_sag.pipeline_stable_diffusion_sag import (
    StableDiffusionSAGPipeline,
)
from diffusers.pipelines.pag.pag_utils import PAGMixin
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

import guidance as g


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- dynamic thresholding


@pytest.mark.parametrize("shape", [(3, 4, 9), (3, 4, 8, 6), (3, 4, 2, 8, 6)], ids=len)
@pytest.mark.parametrize("p", [0.5, 0.9, 0.995, 1.0])
def test_dynamic_thresholding(p, shape):
    d = drawn(*shape) * torch.tensor([0.2, 1.0, 7.0]).view(-1, *[1] * (len(shape) - 1))
    scheduler = DDPMScheduler(thresholding=True, dynamic_thresholding_ratio=p, sample_max_value=1000.0)
    ours = g.dynamic_threshold(d, percentile=p)
    torch.testing.assert_close(ours, scheduler._threshold_sample(d), rtol=1e-6, atol=1e-7)
    assert (ours - d).abs().max() > 1.0


def test_departure_dynamic_thresholding_has_no_largest_value_where_theirs_makes_it_a_clamp():
    d = 3.0 * drawn(2, 3, 8, 8)
    assert torch.equal(DDPMScheduler(thresholding=True)._threshold_sample(d), d.clamp(-1.0, 1.0))
    assert g.dynamic_threshold(d).abs().max() <= 1.0
    assert (g.dynamic_threshold(d) - d.clamp(-1.0, 1.0)).abs().max() > 0.5


# ---- the attention of weaker models


def test_pag_gives_out_the_values():
    q, k, v = (drawn(2, 3, 12, 8, seed=i) for i in range(3))
    attention = F.scaled_dot_product_attention(q, k, v)
    with AttentionScoreSkipFunctionMode():
        theirs = F.scaled_dot_product_attention(q, k, v)
    assert torch.equal(g.perturbed_attention(attention, v, strength=1.0), theirs)
    assert (theirs - attention).abs().max() > 0.1


@pytest.mark.parametrize("w", [1.0, 5.0])
def test_the_term_of_pag_is_that_of_their_pipelines(w):
    """Without the off by one that their guider has where there is no CFG."""
    c, u, bad = (drawn(2, 4, 8, 8, seed=i) for i in range(3))
    pipe = types.SimpleNamespace(_get_pag_scale=lambda t: 2.8)
    outputs = torch.cat((u, c, bad) if w != 1.0 else (c, bad))
    theirs = PAGMixin._apply_perturbed_attention_guidance(pipe, outputs, w != 1.0, w, 0)
    torch.testing.assert_close(g.add_term(g.cfg(c, u, scale=w), c, bad, scale=2.8), theirs)


def blurred(queries, sigma, above=-1.0):
    """By their Gaussian, which they take above the threshold."""
    taps = math.ceil(6 * sigma)
    return _gaussian_blur_2d(queries.clone(), taps + 1 - taps % 2, sigma, above)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 40.0])
@pytest.mark.parametrize("side", [5, 8])
def test_seg_blurs_the_queries_of_a_square(sigma, side):
    queries = drawn(2, side * side, 6)
    ours = g.smooth_queries(queries, size=(1, side, side), sigma=sigma)
    torch.testing.assert_close(ours, blurred(queries, sigma), rtol=1e-6, atol=1e-6)  # their kernel is of float32


@pytest.mark.parametrize("sigma", [0.5, 9999999.0])
def test_departure_seg_blurs_below_its_infinity_where_theirs_takes_the_mean_there(sigma):
    queries = drawn(2, 64, 6)
    theirs = SmoothedEnergyGuidanceHook(sigma).post_forward(None, queries.clone())
    mean = queries.mean(1, keepdim=True).expand_as(queries)
    ours = {s: g.smooth_queries(queries, size=(1, 8, 8), sigma=s) for s in (0.5, 9999999.0)}
    torch.testing.assert_close(ours[9999999.0], mean)
    if sigma == 0.5:
        torch.testing.assert_close(theirs, mean)
        assert (ours[0.5] - mean).abs().max() > 0.5
    else:
        flat = blurred(queries, 1e6)
        torch.testing.assert_close(theirs, flat, rtol=1e-6, atol=1e-6)  # nine taps a side, mirrored at the edges
        assert (flat - mean).abs().max() > 0.05


def test_departure_seg_knows_the_shape_of_the_map_where_theirs_blurs_a_square_of_its_tokens():
    queries = drawn(1, 40, 3)
    theirs = blurred(queries, 1.0)
    assert torch.equal(theirs[:, 36:], queries[:, 36:])  # left over by a square of 6
    ours = g.smooth_queries(queries, size=(1, 5, 8), sigma=1.0)
    assert (ours - theirs).abs().max() > 0.3


def test_departure_seg_writes_into_nothing_where_theirs_writes_into_the_queries():
    queries = drawn(1, 16, 3)
    before = queries.clone()
    g.smooth_queries(queries, size=(1, 4, 4), sigma=1.0)
    assert torch.equal(queries, before)
    _gaussian_blur_2d(queries, 7, 1.0, -1.0)
    assert not torch.equal(queries, before)


# ---- Safe Latent Diffusion


@pytest.mark.parametrize(("kind", "sigma"), [("ve", 2.0), ("flow", 0.7)])
@pytest.mark.parametrize("preset", [(1000.0, 0.01, 0.3, 0.4), (5.0, 0.3, 0.5, 0.7)], ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 8, 6), (3, 4, 2, 8, 6)], ids=len)
def test_safe_latent_diffusion_from_step_to_step(kind, sigma, preset, shape):
    scale, threshold, momentum_scale, beta = preset
    warmup, w, nu, state = 2, 7.5, None, g.Memory()
    for step in range(5):
        c, u, concept, x = (drawn(*shape, seed=4 * step + i) for i in range(4))
        e_c, e_u, e_s = (g.eps_from_denoised(x, d, sigma, kind=kind) for d in (c, u, concept))
        push, nu = StableDiffusionPipelineSafe.perform_safety_guidance(
            None, True, nu, e_c - e_u, (e_c, e_u, e_s), step, scale, warmup, threshold, momentum_scale, beta
        )
        state.begin(step)
        ours = g.safe_latent(
            c,
            u,
            concept,
            scale=w,
            sigma=sigma,
            kind=kind,
            concept_scale=scale,
            threshold=threshold,
            momentum_scale=momentum_scale,
            momentum_beta=beta,
            warm=step >= warmup,
            state=state,
        )
        theirs = g.denoised_from_eps(x, e_u + w * push, sigma, kind=kind)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        assert (ours - g.cfg(c, u, scale=w)).abs().max() > 0.1 or step < warmup


# ---- self-attention guidance


def vp(sigma):
    """alpha of x0 and of the noise, in the coordinates of their schedulers."""
    return 1.0 / math.sqrt(1.0 + sigma**2), sigma / math.sqrt(1.0 + sigma**2)


def test_sag_blurs_and_noises_as_their_pipeline():
    d, noise = drawn(2, 4, 16, 16), drawn(2, 4, 16, 16, seed=1)
    q, k = (drawn(2, 5, 16, 8, seed=seed) for seed in (2, 3))
    attention = (q @ k.transpose(2, 3) / 8**0.5).softmax(-1)
    sigma = 3.0
    signal, level = vp(sigma)

    def add_noise(denoised, noise, timesteps):
        return signal * denoised + level * noise

    pipe = types.SimpleNamespace(
        unet=types.SimpleNamespace(config=types.SimpleNamespace(attention_head_dim=5)),
        scheduler=types.SimpleNamespace(add_noise=add_noise),
    )
    theirs = StableDiffusionSAGPipeline.sag_masking(pipe, d, attention.flatten(0, 1), (4, 4), torch.tensor(0), noise)
    mass = g.attention_mass(q, k)
    blurred = g.blurred_where_attended(d, mass, size=(1, 4, 4), sigma=1.0)
    ours = g.with_same_noise(d + sigma * noise, d, blurred, sigma, kind="ve")
    torch.testing.assert_close(ours * signal, theirs, rtol=1e-6, atol=1e-6)
    assert (blurred - d).abs().max() > 0.1


def test_the_term_of_sag_is_their_difference_of_noises():
    """They add s (eps_u - eps(x_B)), and each of the two noises belongs to an x of its own."""
    x, d, blurred, again = (drawn(2, 4, 8, 8, seed=i) for i in range(4))
    sigma, s = 3.0, 0.75
    noised = g.with_same_noise(x, d, blurred, sigma, kind="ve")
    theirs = s * (g.eps_from_denoised(x, d, sigma, kind="ve") - g.eps_from_denoised(noised, again, sigma, kind="ve"))
    torch.testing.assert_close(g.add_term(d, blurred, again, scale=s), d - sigma * theirs)
