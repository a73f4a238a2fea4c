"""Skimmed CFG on the real host: on the predictions in x0 space and the noisy latent of the step."""

import pytest
import torch
from azimuth import guidance
from methods import BY_NAME
from tiny import distance, model, sample, watch

EXACT = 1e-4


def steps(patched, **how):
    seen = []
    sample(watch(patched, seen), steps=4, **how)
    assert len(seen) == 4
    return seen


def beyond(a, b, k, x):
    g = b + k * (a - b)
    return ((a - b).sign() == a.sign()) & (g.sign() == a.sign()) & ((g - x).sign() == g.sign())


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_what_lies_beyond_the_noisy_latent_gets_the_lower_weight(kind):
    skimmed = 0
    for args in steps(BY_NAME["skimmed"].on(model(kind))):
        c, u, x, w = (args[name] for name in ("cond_denoised", "uncond_denoised", "input", "cond_scale"))
        mask = beyond(u, c, w, x) | beyond(c, u, w - 1, x)
        skimmed += mask.sum().item()
        assert distance(args["denoised"], torch.where(mask, u + 2.0 * (c - u), u + w * (c - u))) < EXACT
    assert skimmed > 10


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_the_original_skims_one_prediction_after_the_other(kind):
    for args in steps(BY_NAME["skimmed_as_published"].on(model(kind), strength=1.0, full_negative=False)):
        c, u, w = (args[name] for name in ("cond_denoised", "uncond_denoised", "cond_scale"))
        far = torch.zeros_like(u)  # sgn(G - 0) is sgn G: no test against x
        u2 = torch.where(beyond(u, c, w, far), u - (w - 2.0) / w * (u - c), u)
        c2 = torch.where(beyond(c, u2, w - 1, far), c - (w - 1 - 2.0) / (w - 1) * (c - u2), c)
        assert distance(args["denoised"], u2 + w * (c2 - u2)) < EXACT


def test_the_lower_weight_may_be_a_schedule():
    schedule = guidance.Linear(4.0, 1.0)
    for i, args in enumerate(steps(BY_NAME["skimmed"].on(model(), skim_scale=schedule))):
        c, u, x, w = (args[name] for name in ("cond_denoised", "uncond_denoised", "input", "cond_scale"))
        expected = guidance.skimmed_exact(c, u, scale=w, x=x, skim=4.0 - i)
        assert distance(args["denoised"], expected) < EXACT
