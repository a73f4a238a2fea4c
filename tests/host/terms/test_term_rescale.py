"""The rescale of added terms: measured in what the model puts out, or in x0, and fading with the scale."""

import comfy.model_sampling
import pytest
import torch
from features import need
from methods import BY_NAME
from tiny import distance, model, predict, sample, sampled_as, watch

EXACT = 1e-4
TERMS = ("pag", "seg", "slg", "tpg", "autoguidance")


def flow_in_sigma():
    return sampled_as(comfy.model_sampling.ModelSamplingCosmosRFlow, comfy.model_sampling.COSMOS_RFLOW)


MODELS = {  # and what the host's class says that the network puts out, for x, D and sigma
    "eps": (model, lambda x, d, s: (x - d) / s),
    "v": (lambda: model("v"), lambda x, d, s: (x / (s**2 + 1) - d) * (s**2 + 1) ** 0.5 / s),
    "flow": (lambda: model("flow"), lambda x, d, s: (x - d) / s),
    "flow in sigma": (flow_in_sigma, lambda x, d, s: (x / (1 + s) - d) * (1 + s) / s),
    "x0": (model, lambda x, d, s: d),  # any model, with rescale_space x0
}


def spread(t):
    return t.flatten(1).std(1).view(-1, 1, 1, 1)


def pag(patched, scale=3.0, **how):
    return BY_NAME["pag"].on(patched, scale=scale, **how)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("scale", "whole"), [(3.0, 1.0), (1.0, 1.0), (0.25, 0.25)])
def test_it_is_the_authors_factor_on_what_the_model_puts_out(name, scale, whole):
    make, output = MODELS[name]
    sigma = 0.7
    space = "x0" if name == "x0" else "network"
    raw, seen = predict(pag(make(), scale), sigma=sigma), []
    ours = predict(watch(pag(make(), scale, rescale=0.7, rescale_space=space), seen), sigma=sigma)
    x, cond = seen[0]["input"], seen[0]["cond_denoised"]
    n, n_c = (output(x, d, sigma) for d in (raw, cond))
    factor = 1 + 0.7 * whole * (spread(n_c) / spread(n) - 1)
    assert distance(output(x, ours, sigma), n * factor) < EXACT
    assert distance(ours, raw) > 1e-3


@pytest.mark.parametrize("name", TERMS)
def test_every_term_takes_both_and_they_differ(name):
    need(*BY_NAME[name].needs)
    found = {space: predict(BY_NAME[name].on(model(), rescale=0.7, rescale_space=space)) for space in ("network", "x0")}
    assert distance(found["network"], found["x0"]) > 1e-3


@pytest.mark.parametrize("name", TERMS)
def test_a_prompt_from_before_measures_in_x0(name):
    need(*BY_NAME[name].needs)
    old, in_x0 = (BY_NAME[name].on(model(), rescale=0.7, **given) for given in ({}, {"rescale_space": "x0"}))
    assert torch.equal(predict(old), predict(in_x0))


def test_a_preset_for_which_the_host_fills_in_none_measures_in_x0():
    need(*BY_NAME["slg"].needs)
    old, in_x0 = (BY_NAME["slg"].on(model(), rescale=0.7, rescale_space=space) for space in (None, "x0"))
    assert torch.equal(predict(old), predict(in_x0))


def test_a_tiny_scale_moves_the_picture_a_tiny_way():
    """A rescale that is whole at any scale but 0 would move it as far as it moves at 3."""
    plain = sample(model(), cfg=9.0)
    for space in ("network", "x0"):
        far, near = (sample(pag(model(), s, rescale=1.0, rescale_space=space), cfg=9.0) for s in (3.0, 0.001))
        assert distance(near, plain) < 0.01 * distance(far, plain)


def test_another_space_is_refused_by_name():
    with pytest.raises(ValueError, match="Guidance.*, input rescale_space: there is no 'v'; choose one of network, x0"):
        pag(model(), rescale_space="v")
