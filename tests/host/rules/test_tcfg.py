"""Tangential damping in the host: a baseline for any combine rule, which samplers that read the negative never see."""

import comfy.nested_tensor
import comfy.utils
import other_nodes
import pytest
import torch
from architectures import packed
from azimuth import guidance
from methods import BY_NAME, stack
from other_nodes import pag, rescale
from tiny import (
    alone,
    architecture,
    distance,
    model,
    noise,
    passes,
    predict,
    sample,
    tensor,
    text,
    watch,
)

W, S = 5.0, 1.5
EXACT = 1e-4


def tcfg(patched, strength=1.0):
    return BY_NAME["tcfg"].on(patched, strength=strength)


def damped(c, u, x):
    """By a singular value decomposition, for one sample."""
    rows = torch.stack([(x - u).flatten(), (x - c).flatten()]).double()
    first = torch.linalg.svd(rows, full_matrices=False).Vh[0]
    return x - ((rows[0] @ first) * first).view_as(x).to(x.dtype)


def plain(c, u, w=W):
    return u + w * (c - u)


AT = {"x": noise() * 3.0, "sigma": 3.0}


def three():
    return [alone(text(i), **AT) for i in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_run_is_that_of_the_hosts_node(kind, sampler):
    how = {"x": noise(2), "sampler": sampler, "steps": 4}
    theirs = sample(other_nodes.tcfg(model(kind)), **how)
    assert distance(sample(tcfg(model(kind)), **how), theirs) < 1e-3
    assert distance(sample(model(kind), **how), theirs) > 1e-2


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_every_step_is_a_singular_value_decomposition(kind):
    seen = []
    sample(watch(tcfg(model(kind)), seen), steps=4)
    for args in seen:
        c, u, x = (args[key] for key in ("cond_denoised", "uncond_denoised", "input"))
        assert distance(args["denoised"], plain(c, damped(c, u, x))) < EXACT


def test_the_strength_is_the_share_of_the_damped_negative():
    c, u, _ = three()
    half = torch.lerp(u, damped(c, u, AT["x"]), 0.5)
    assert distance(predict(tcfg(model(), strength=0.5), **AT), plain(c, half)) < EXACT


# ---- beside other stages


@pytest.mark.parametrize("order", [("tcfg", "adg"), ("adg", "tcfg")], ids="-".join)
def test_a_combine_rule_finds_the_damped_negative_whatever_the_wiring(order):
    c, u, _ = three()
    expected = guidance.angle_domain(c, damped(c, u, AT["x"]), scale=W)
    assert distance(predict(stack(model(), *order), **AT), expected) < EXACT


def test_what_is_damped_is_what_a_partial_negative_leaves():
    c, u, n = three()
    for patched in (tcfg(BY_NAME["partial"].on(model())), BY_NAME["partial"].on(tcfg(model()))):
        assert distance(predict(patched, **AT), plain(c, damped(c, 0.5 * u + 0.5 * n, AT["x"]))) < EXACT


def test_a_whole_partial_negative_is_damped_in_the_place_of_the_main_one():
    c, _, n = three()
    patched = tcfg(BY_NAME["partial"].on(model(), weight=1.0))
    assert distance(predict(patched, **AT), plain(c, damped(c, n, AT["x"]))) < EXACT
    assert passes(patched, steps=2) == [2, 2]


@pytest.mark.parametrize("mode", ["compose", "perpendicular"])
def test_the_term_of_a_further_negative_is_as_without_it(mode):
    c, u, _ = three()
    term = predict(BY_NAME[mode].on(model()), **AT) - predict(model(), **AT)
    expected = plain(c, damped(c, u, AT["x"])) + term
    assert distance(predict(tcfg(BY_NAME[mode].on(model())), **AT), expected) < EXACT


def test_with_everything_at_once():
    c, u, n = three()
    patched = stack(model(), "scheduled_cfg", "compose", "tcfg", "adg", "imagen")
    ruled = guidance.angle_domain(c, damped(c, u, AT["x"]), scale=9.0) - S * (n - u)
    expected = guidance.dynamic_threshold(ruled, percentile=0.99)
    assert distance(predict(patched, **AT), expected) < EXACT


def test_a_foreign_cfg_function_is_kept_as_the_difference_that_it_made():
    c, u, _ = three()
    theirs = predict(rescale(model()), **AT)
    patched = tcfg(rescale(model()))
    expected = plain(c, damped(c, u, AT["x"])) + theirs - plain(c, u)
    assert distance(predict(patched, **AT), expected) < EXACT


@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_perturbed_attention_is_kept(before):
    c, u, _ = three()
    added = predict(pag(model()), **AT) - predict(model(), **AT)
    patched = tcfg(pag(model())) if before else pag(tcfg(model()))
    assert distance(predict(patched, **AT), plain(c, damped(c, u, AT["x"])) + added) < EXACT


# ---- who sees what


def test_a_cfg_pp_sampler_sees_the_raw_negative():
    seen = []
    latent = sample(watch(tcfg(model()), seen), sampler="euler_cfg_pp", cfg=2.0, steps=4)
    following = [args["input"] for args in seen[1:]] + [latent]
    sigmas = [args["sigma"][0].item() for args in seen] + [0.0]
    for args, after, here, there in zip(seen, following, sigmas[:-1], sigmas[1:], strict=True):
        c, u, x = (args[key] for key in ("cond_denoised", "uncond_denoised", "input"))
        assert distance(u, alone(text(2), x=x, sigma=here)) < 1e-5
        assert distance(args["denoised"], plain(c, damped(c, u, x), 2.0)) < EXACT
        if there:
            assert distance(after, args["denoised"] + there / here * (x - u)) < EXACT


def test_the_hosts_node_shows_it_the_damped_one():
    ours, theirs = (sample(f(model()), sampler="euler_cfg_pp", cfg=2.0, steps=4) for f in (tcfg, other_nodes.tcfg))
    assert distance(ours, theirs) > 1e-3


def test_at_weight_1_it_costs_nothing_and_says_so(said):
    assert torch.equal(sample(tcfg(model()), cfg=1.0), sample(model(), cfg=1.0))
    assert passes(tcfg(model()), cfg=1.0) == [1] * 6
    assert any("Tangential Damping CFG (TCFG) has no effect at weight 1" in sentence for sentence in said())


def test_a_picture_is_damped_as_if_it_had_no_sound():
    seen = []
    pair = [tensor(1, 1, 128, 2, 2, 2), tensor(2, 1, 8, 4, 16)]
    x, empty = (comfy.nested_tensor.NestedTensor(parts) for parts in (pair, [torch.zeros_like(part) for part in pair]))
    prompts = {"positive": text(1, width=128), "negative": text(2, width=128)}
    sample(watch(tcfg(architecture(packed)), seen), x=x, latent=empty, steps=1, **prompts)
    shapes = [part.shape for part in pair]
    parts = (
        comfy.utils.unpack_latents(seen[0][key], shapes)
        for key in ("cond_denoised", "uncond_denoised", "input", "denoised")
    )
    for c, u, x, result in zip(*parts, strict=True):
        assert distance(result, plain(c, damped(c, u, x))) < EXACT


@pytest.mark.parametrize("bad", [1.1, -0.1, "1", None])
def test_a_strength_must_be_one(bad):
    with pytest.raises(ValueError, match=r"Tangential Damping CFG \(TCFG\), input strength"):
        tcfg(model(), strength=bad)
