"""The corrections (norm limits, TAG, epsilon scaling, TSR): their formulas in a run, and the host's own nodes for them.

What the host's nodes do otherwise is asserted too, so that each departure stays a known one.
"""

import functools

import comfy.nested_tensor
import comfy.samplers
import comfy.supported_models
import comfy.utils
import pytest
import torch
from architectures import flux, packed
from azimuth import guidance
from comfy_extras.nodes_cfg import CFGNorm
from comfy_extras.nodes_eps import EpsilonScaling, TemporalScoreRescaling
from comfy_extras.nodes_lumina2 import RenormCFG
from methods import BY_NAME, stack
from tiny import (
    alone,
    architecture,
    basic,
    distance,
    model,
    noise,
    passes,
    predict,
    sample,
    tensor,
    text,
    turns,
    watch,
)

W = 5.0
EXACT, SAME = 1e-4, 1e-6
NAMES = ["norm_limit", "norm_limit_pixel", "tangential", "epsilon_scaling", "tsr"]
every_correction = pytest.mark.parametrize("name", NAMES)


# ---- the formulas, literally: of one sample, its guided and its positive prediction, and the noisy latent


def norm_limit(d, c, x, sigma, kind):
    return d * min(1.0, (c.norm() / d.norm()).item())


def norm_limit_pixel(d, c, x, sigma, kind):
    factor = 1.1 * c.square().sum(0).sqrt() / d.square().sum(0).sqrt()
    return 0.2 * d + 0.8 * d * factor.clamp(max=1.0)


def tangential(d, c, x, sigma, kind):
    radial = (d * x).sum() / (x * x).sum() * x
    return radial + 1.3 * (d - radial)


def epsilon_scaling(d, c, x, sigma, kind):
    return x - (x - d) / 1.05


def tsr(d, c, x, sigma, kind):
    signal = 1.0 - sigma if kind == "flow" else 1.0
    if signal == 0.0:
        return d
    snr = signal**2 / sigma**2
    r = (snr + 1.0) / (snr / 0.8 + 1.0)
    predicted = (x - signal * d) / sigma
    return (x - sigma * r * predicted) / signal


LITERAL = {f.__name__: f for f in (norm_limit, norm_limit_pixel, tangential, epsilon_scaling, tsr)}


def literal(name, guided, args, kind):
    x, cond, sigma = (args[key].double() for key in ("input", "cond_denoised", "sigma"))
    rows = zip(guided.double(), cond, x, sigma.tolist(), strict=True)
    return torch.stack([LITERAL[name](*row, kind) for row in rows]).float()


@every_correction
@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
def test_every_step_ends_with_the_formula(name, kind):
    seen = []
    sample(watch(BY_NAME[name].on(model(kind)), seen), steps=4, x=noise(2))
    assert len(seen) == 4
    for args in seen:
        c, u = args["cond_denoised"], args["uncond_denoised"]
        plain = u + W * (c - u)
        assert distance(args["denoised"], literal(name, plain, args, "flow" if kind == "flow" else "ve")) < EXACT
    assert distance(seen[1]["denoised"], seen[1]["uncond_denoised"]) > 0.01


@every_correction
def test_each_part_of_a_packed_latent_is_corrected_by_itself(name):
    parts = [tensor(1, 1, 128, 2, 2, 2), tensor(2, 1, 8, 4, 16) * 3.0]
    empty = comfy.nested_tensor.NestedTensor([torch.zeros_like(part) for part in parts])
    prompts = {"positive": text(1, width=128), "negative": text(2, width=128)}
    seen = []
    patched = watch(BY_NAME[name].on(architecture(packed)), seen)
    sample(patched, x=comfy.nested_tensor.NestedTensor(parts), latent=empty, steps=2, **prompts)
    split = functools.partial(comfy.utils.unpack_latents, latent_shapes=[part.shape for part in parts])
    keys = ("denoised", "cond_denoised", "uncond_denoised", "input")
    for args in seen:
        for ours, c, u, x in zip(*(split(args[key]) for key in keys), strict=True):
            seen_by_part = {"cond_denoised": c, "input": x, "sigma": args["sigma"]}
            assert distance(ours, literal(name, u + W * (c - u), seen_by_part, "flow")) < EXACT


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_their_order_is_not_that_of_the_wires(kind):
    names = ["norm_limit", "tangential", "epsilon_scaling"]
    seen = []
    expected = sample(watch(stack(model(kind), *names), seen), steps=3)
    assert torch.equal(sample(stack(model(kind), *reversed(names)), steps=3), expected)
    for args in seen:
        c, u = args["cond_denoised"], args["uncond_denoised"]
        result = u + W * (c - u)
        for name in names:
            result = literal(name, result, args, kind)
        assert distance(args["denoised"], result) < EXACT


# ---- without a negative pass


WITHOUT_NEGATIVE = ["tangential", "epsilon_scaling", "tsr"]
ALONE = {
    "CFG Guider at cfg 1": {"cfg": 1.0},
    "Basic Guider": {"make": basic},
}


@pytest.mark.parametrize("how", ALONE.values(), ids=ALONE)
@pytest.mark.parametrize("kind", ["eps", "flow", "distilled"])
@pytest.mark.parametrize("name", WITHOUT_NEGATIVE)
def test_at_one_pass_a_step_the_positive_itself_is_corrected(name, kind, how, said):
    patched = architecture(flux) if kind == "distilled" else model(kind)
    x = torch.stack([tensor(seed, 16, 8, 8) for seed in (1, 2)]) if kind == "distilled" else noise(2)
    seen = []
    corrected = BY_NAME[name].on(patched)
    ours = sample(watch(corrected, seen), steps=3, x=x, **how)
    assert passes(corrected, steps=3, x=x, **how) == [2, 2, 2]
    for args in seen:
        expected = literal(name, args["cond_denoised"], args, "ve" if kind == "eps" else "flow")
        assert distance(args["denoised"], expected) < EXACT
    assert (ours - sample(patched, steps=3, x=x, **how)).abs().max() > 1e-3
    assert said() == []


@pytest.mark.parametrize("how", ALONE.values(), ids=ALONE)
@pytest.mark.parametrize("name", NAMES)
def test_at_one_pass_a_step_a_neutral_correction_changes_nothing(name, how):
    plain = sample(model(), steps=3, **how)
    for neutral in BY_NAME[name].off(model(), 1.0):
        assert torch.equal(sample(neutral, steps=3, **how), plain)
        assert passes(neutral, steps=3, **how) == [1, 1, 1]


@pytest.mark.parametrize("how", [{}, *ALONE.values()], ids=["CFG Guider", *ALONE])
@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_a_schedule_and_a_window_follow_the_steps_under_every_guider(how, sampler):
    schedule = guidance.Steps((1.0, 1.1, 1.2, 1.3, 1.4, 1.5))
    seen = []
    patched = BY_NAME["tangential"].on(model(), eta=schedule, start=0.2, end=0.8)
    sample(watch(patched, seen), sampler=sampler, **how)
    acted = set()
    for args, (step, _) in zip(seen, turns(sampler), strict=True):
        c, u = args["cond_denoised"], args["uncond_denoised"]
        guided = u + W * (c - u) if not how else c
        eta = schedule.values[step] if 1 <= step <= 3 else 1.0
        expected = guidance.tangential_amplify(guided, x=args["input"], eta=eta)
        assert distance(args["denoised"], expected) < EXACT
        acted |= {step} if distance(args["denoised"], guided) > 1e-3 else set()
    assert acted == {1, 2, 3}


@pytest.mark.parametrize("how", ALONE.values(), ids=ALONE)
@pytest.mark.parametrize("name", ["norm_limit", "norm_limit_pixel"])
def test_at_one_pass_a_step_nothing_is_longer_than_the_positive_and_a_limit_says_so(name, how, said):
    limited = BY_NAME[name].on(model(), limit=1.0)
    assert torch.equal(sample(limited, steps=3, **how), sample(model(), steps=3, **how))
    assert [s for s in said() if s.startswith("Guidance Norm Limit has no effect")]


@pytest.mark.parametrize("acting", [{"limit": 0.8}, {"limit": guidance.Linear(1.2, 0.9)}], ids=["number", "schedule"])
def test_a_limit_below_the_positive_acts_on_it_alone(acting, said):
    limited = BY_NAME["norm_limit"].on(model(), **acting)
    assert distance(sample(limited, cfg=1.0, steps=3), sample(model(), cfg=1.0, steps=3)) > 1e-3
    assert not said()


def test_a_limit_acts_on_what_is_added_to_the_positive(said):
    added = BY_NAME["pag"].on(model())
    limited = BY_NAME["norm_limit"].on(added)
    assert distance(sample(limited, cfg=1.0, steps=3), sample(added, cfg=1.0, steps=3)) > 1e-3
    assert not said()


# ---- the host's own nodes


def put(node, patched, *values):
    return node.execute(patched, *values).args[0]


def function_of(patched, place="sampler_post_cfg_function"):
    """The function that a node of the host gave a MODEL."""
    return patched.model_options[place][-1]


def pixel(patched, **changes):
    return BY_NAME["norm_limit_pixel"].on(patched, **{"limit": 1.0, "strength": 1.0, **changes})


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_limited_per_pixel_as_the_hosts_cfg_norm(kind):
    how = {"x": noise(2), "sigma": 0.6}
    theirs = predict(put(CFGNorm, model(kind), 1.0), **how)
    assert distance(predict(pixel(model(kind)), **how), theirs) < SAME
    assert distance(theirs, predict(model(kind), **how)) > 0.01


def test_departure_half_a_strength_is_half_the_limit_and_not_half_the_picture():
    plain, whole = predict(model()), predict(pixel(model()))
    assert distance(predict(put(CFGNorm, model(), 0.5)), 0.5 * whole) < SAME
    assert distance(predict(pixel(model(), strength=0.5)), 0.5 * plain + 0.5 * whole) < SAME


def test_departure_what_is_within_its_limit_stands_where_the_hosts_cfg_norm_shrinks_it():
    small = 1e-8 * noise()
    theirs = function_of(put(CFGNorm, model(), 1.0))({"cond_denoised": small, "denoised": small})
    assert (theirs.norm() / small.norm()).item() < 0.8
    assert torch.equal(guidance.norm_limit(small, small, scope="pixel"), small)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("limit", [0.8, 1.0, 1.5])
def test_limited_per_sample_as_the_hosts_renorm_cfg(kind, limit):
    how = {"sigma": 0.6, "x": noise()}
    theirs = predict(put(RenormCFG, model(kind), 100.0, limit), **how)
    assert distance(predict(BY_NAME["norm_limit"].on(model(kind), limit=limit), **how), theirs) < SAME


def test_departure_a_batch_is_limited_sample_by_sample_where_the_hosts_renorm_cfg_fails():
    with pytest.raises(RuntimeError, match="ambiguous"):
        predict(put(RenormCFG, model(), 100.0, 1.0), x=noise(2))
    ours = predict(BY_NAME["norm_limit"].on(model()), x=noise(2) * 3.0)
    each = [predict(put(RenormCFG, model(), 100.0, 1.0), x=noise(2)[i : i + 1] * 3.0) for i in range(2)]
    assert distance(ours, torch.cat(each)) < EXACT


def test_departure_the_limit_comes_after_further_negatives():
    c, u, n = (alone(text(i)) for i in (1, 2, 3))
    plain, term = u + W * (c - u), -1.5 * (n - u)
    with_negative = BY_NAME["compose"].on(model())
    theirs = predict(put(RenormCFG, with_negative, 100.0, 1.0))
    assert distance(theirs, guidance.norm_limit(plain, c) + term) < EXACT
    ours = predict(BY_NAME["norm_limit"].on(with_negative))
    assert distance(ours, guidance.norm_limit(plain + term, c)) < EXACT
    assert distance(ours, theirs) > 0.01


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
@pytest.mark.parametrize("scale", [0.9, 1.005, 1.05])
def test_noise_scaled_as_by_the_hosts_epsilon_scaling(kind, scale):
    how = {"x": noise(2), "sigma": 0.6}
    theirs = predict(put(EpsilonScaling, model(kind), scale), **how)
    assert distance(predict(BY_NAME["epsilon_scaling"].on(model(kind), scale=scale), **how), theirs) < SAME


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_departure_a_scale_of_1_changes_nothing_where_the_hosts_rounds(kind):
    plain = predict(model(kind), sigma=0.6)
    assert not torch.equal(predict(put(EpsilonScaling, model(kind), 1.0), sigma=0.6), plain)
    assert torch.equal(predict(BY_NAME["epsilon_scaling"].on(model(kind), scale=1.0), sigma=0.6), plain)


@pytest.mark.parametrize(("kind", "sigma"), [("eps", 10.0), ("v", 0.6), ("edm", 0.05), ("flow", 0.9), ("flow", 0.1)])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_rescaled_as_by_the_hosts_tsr(kind, sigma, spread):
    how = {"x": noise(), "sigma": sigma}
    theirs = predict(put(TemporalScoreRescaling, model(kind), 0.7, spread), **how)
    assert distance(predict(BY_NAME["tsr"].on(model(kind), k=0.7, data_sigma=spread), **how), theirs) < EXACT
    assert distance(theirs, predict(model(kind), **how)) > 1e-4


def test_at_t_1_tsr_changes_nothing_nor_does_the_hosts():
    plain = predict(model("flow"), sigma=1.0)
    assert torch.equal(predict(BY_NAME["tsr"].on(model("flow")), sigma=1.0), plain)
    assert torch.equal(predict(put(TemporalScoreRescaling, model("flow"), 0.8, 1.0), sigma=1.0), plain)


def test_departure_a_batch_is_rescaled_sample_by_sample_where_the_hosts_tsr_fails():
    with pytest.raises(RuntimeError, match="ambiguous"):
        predict(put(TemporalScoreRescaling, model(), 0.8, 1.0), x=noise(2))
    each = [predict(put(TemporalScoreRescaling, model(), 0.8, 1.0), x=noise(2)[i : i + 1]) for i in range(2)]
    assert distance(predict(BY_NAME["tsr"].on(model()), x=noise(2)), torch.cat(each)) < EXACT


def test_departure_at_sigma_0_the_factor_is_k_where_the_hosts_tsr_leaves_the_prediction():
    x, d, sigma = noise(), noise(seed=7), torch.zeros(1)
    theirs = function_of(put(TemporalScoreRescaling, model(), 0.8, 1.0))
    assert theirs({"denoised": d, "input": x, "sigma": sigma, "model": None}) is d
    ours = guidance.temporal_score_rescaling(d, x=x, sigma=sigma, kind="ve", k=0.8)
    torch.testing.assert_close(ours, 0.8 * d + 0.2 * x)
