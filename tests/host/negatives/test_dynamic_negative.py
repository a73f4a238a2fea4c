"""Dynamic Negative Guidance equals a literal simulation in the paper's coordinates, step by step, on the host."""

import comfy.samplers
import pytest
import torch
from azimuth import guidance
from azimuth.nodes.negatives import dynamic_negative
from methods import BY_NAME
from tiny import alone, distance, model, noise, passes, predict, sample, text, turns, watch

W, S = 5.0, 2.0
KNOBS = {"prior": 0.2, "tau": 0.003, "delta": 2e-4}
HALF = torch.zeros(1, 8, 8)
HALF[:, :, :4] = 1.0


def in_vp(x, sigma, kind):
    signal = 1.0 if kind == "eps" else 1.0 - sigma
    whole = signal**2 + sigma**2
    return x / whole**0.5, signal**2 / whole


def updated(p, seen, x, sigma, kind):
    """p after one step, from means and variances of DDPM."""
    before_x, before_sigma, n, b = seen
    if kind == "flow" and before_sigma >= 1.0 or sigma >= before_sigma:
        return p
    (z, abar), (z_after, abar_after) = in_vp(before_x, before_sigma, kind), in_vp(x, sigma, kind)
    alpha = abar / abar_after
    variance = (1 - abar_after) / (1 - abar) * (1 - alpha)

    def apart(d):
        eps = (z - abar**0.5 * d) / (1 - abar) ** 0.5
        mean = (z - (1 - alpha) / (1 - abar) ** 0.5 * eps) / alpha**0.5
        return (z_after - mean).square().sum((1, 2, 3), keepdim=True)

    exponent = (-KNOBS["tau"] * (apart(n) - apart(b)) + KNOBS["delta"]) / (2 * variance)
    return (p * exponent.exp()).clamp(1e-6, 0.8)


@pytest.mark.parametrize("base", ["positive", "sampler's negative"])
@pytest.mark.parametrize(
    ("kind", "sampler"),
    [("eps", "euler_ancestral"), ("eps", "ddpm"), ("eps", "heun"), ("eps", "dpm_2"), ("flow", "euler_ancestral")],
)
def test_a_run_is_the_literal_simulation(kind, sampler, base):
    seen, steps = [], 6
    patched = BY_NAME["dng"].on(model(kind), weight=S, base=base, **KNOBS)
    x = noise(2)
    sample(watch(patched, seen), sampler=sampler, steps=steps, x=x)
    entry, latest, strengths = None, None, []
    for args, (_, begins) in zip(seen, turns(sampler, steps), strict=True):
        sigma, x = args["sigma"][0].double().item(), args["input"]
        c, u = args["cond_denoised"], args["uncond_denoised"]
        n = alone(text(3), patched=model(kind), x=x, sigma=args["sigma"][0].item())
        entry = latest if begins else entry
        b = c if base == "positive" else u
        p = torch.full((2, 1, 1, 1), KNOBS["prior"], dtype=torch.float64)
        if entry is not None:
            p = updated(entry[0], entry[1], x.double(), sigma, kind)
        latest = (p, (x.double(), sigma, n.double(), b.double())) if begins else latest
        strengths.append(S * p / (1 - p))
        literal = u + W * (c - u) - strengths[-1].float() * (n - b)
        assert distance(args["denoised"], literal) < 1e-3
    strengths = torch.stack(strengths).flatten(1)
    assert (strengths.std(dim=0) > 0.05).all() and (strengths[:, 0] - strengths[:, 1]).abs().max() > 0.01


def test_the_first_step_has_the_prior():
    c, u, n = (alone(text(i)) for i in (1, 2, 3))
    expected = u + W * (c - u) - S * 0.2 / 0.8 * (n - c)
    assert distance(predict(BY_NAME["dng"].on(model(), weight=S)), expected) < 1e-4


@pytest.mark.parametrize("base", ["positive", "sampler's negative"])
def test_outside_its_mask_it_has_no_effect(base):
    patched = BY_NAME["dng"].on(model(), base=base, negative=text(3, mask=HALF))
    moved = (predict(patched) - predict(model())).abs()
    outside = HALF.expand_as(moved) == 0
    assert moved[outside].max() < 1e-5 and moved[~outside].max() > 0.1


def test_it_costs_a_pass_where_its_weight_counts():
    weights = guidance.Steps((0.0, 1.0, 0.0, 0.0, 2.0, 0.0))
    assert passes(BY_NAME["dng"].on(model(), weight=weights), sampler="euler_ancestral") == [2, 3, 2, 2, 3, 2]
    assert passes(BY_NAME["dng"].on(model()), cfg=1.0) == [1] * 6


def about(sentences):
    return [sentence for sentence in sentences if "adds no noise" in sentence]


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "heun", "euler_cfg_pp", "uni_pc"])
def test_a_deterministic_sampler_is_told_of_once(sampler, said):
    sample(BY_NAME["dng"].on(model()), sampler=sampler)
    assert len(about(said())) == 1 and dynamic_negative.NAME in about(said())[0]


@pytest.mark.parametrize("sampler", ["euler_ancestral", "ddpm", "dpmpp_2s_ancestral", "lcm", "er_sde"])
@pytest.mark.filterwarnings("ignore:Should have t")
def test_a_sampler_that_adds_noise_is_not(sampler, said):
    sample(BY_NAME["dng"].on(model()), sampler=sampler)
    assert about(said()) == []


@pytest.mark.parametrize(
    ("name", "options", "heuristic"),
    [("euler_ancestral", {"eta": 0.0}, True), ("euler", {"s_churn": 2.0}, False)],
)
def test_the_options_of_a_sampler_decide(name, options, heuristic, said):
    sample(BY_NAME["dng"].on(model()), sampler=comfy.samplers.ksampler(name, options))
    assert bool(about(said())) == heuristic


def test_without_effect_it_says_nothing(said):
    sample(BY_NAME["dng"].on(model(), weight=0.0))
    assert about(said()) == []


@pytest.mark.parametrize(("name", "value"), [("prior", 1e-5), ("p_min", 0.01)])
def test_bounds_that_cross_are_refused(name, value):
    with pytest.raises(ValueError, match=r"\(DNG\), input prior: .* does not lie between p_min.*p_max.*move one"):
        BY_NAME["dng"].on(model(), **{"prior": 0.005, "p_min": 0.001, name: value})
