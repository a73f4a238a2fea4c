"""Safe Latent Diffusion equals the literal rule in eps, step by step, from predictions that the host made alone."""

import pytest
import torch
from azimuth import guidance
from methods import BY_NAME
from tiny import alone, distance, model, noise, passes, predict, sample, text, turns, watch

from specimens.negatives.safe_latent import CUSTOM as SLD

W = 5.0
PRESETS = {  # warm-up in progress, s, lambda, s_m, beta: the official numbers
    "weak": (15 / 50, 20.0, 0.0, 0.0, 0.0),
    "medium": (10 / 50, 1000.0, 0.01, 0.3, 0.4),
    "strong": (7 / 50, 2000.0, 0.025, 0.5, 0.7),
    "max": (0.0, 5000.0, 1.0, 0.5, 0.7),
    "custom": tuple(SLD[name] for name in list(SLD)[1:]),
}


def on(patched, preset, **changes):
    chosen = SLD if preset == "custom" else {"preset": preset}
    return BY_NAME["sld"].on(patched, preset={**chosen, **changes.pop("knobs", {})}, **changes)


def literal(c, u, n, x, sigma, kind, knobs, progress, nu):
    """D and the next nu, all in eps."""
    warmup, s, threshold, s_m, beta = knobs
    signal = 1.0 if kind == "eps" else 1.0 - sigma
    if signal == 0.0:  # eps does not depend on D there
        return u + W * (c - u), (s_m + beta - s_m * beta) * nu
    e_c, e_u, e_n = ((x - signal * d) / sigma for d in (c, u, n))
    mu = ((e_c - e_n).abs() * s).clamp(max=1.0)
    mu = torch.where(e_c - e_n < threshold, mu, 0.0)
    gamma = mu * (e_n - e_u) + s_m * nu
    eps = e_u + W * (e_c - e_u - (gamma if progress >= warmup else 0.0))
    return (x - sigma * eps) / signal, beta * nu + (1 - beta) * gamma


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("kind", "sampler"), [("eps", "euler"), ("flow", "euler"), ("eps", "heun"), ("eps", "dpm_2")])
def test_a_run_is_the_literal_rule(preset, kind, sampler):
    seen, steps, moved = [], 6, False
    sample(watch(on(model(kind), preset), seen), sampler=sampler, steps=steps, x=noise(2))
    entry, latest = 0.0, 0.0
    for args, (step, begins) in zip(seen, turns(sampler, steps), strict=True):
        sigma = args["sigma"][0].double().item()
        entry = latest if begins else entry
        c, u, x = (args[key].double() for key in ("cond_denoised", "uncond_denoised", "input"))
        n = alone(text(3), patched=model(kind), x=args["input"], sigma=args["sigma"][0].item()).double()
        progress = step / (steps - 1)
        expected, kept = literal(c, u, n, x, sigma, kind, PRESETS[preset], progress, entry)
        latest = kept if begins else latest
        assert distance(args["denoised"].double(), expected) < 1e-3
        plain = u + W * (c - u)
        if progress < PRESETS[preset][0]:
            assert distance(args["denoised"].double(), plain) < 1e-5
        moved |= distance(expected, plain) > 0.01
    assert moved


def test_strength_is_the_share_of_the_correction():
    sigma = 3.0
    at = {"sigma": sigma, "x": noise() * sigma}
    whole, half = (predict(on(model(), "max", strength=strength), **at) for strength in (1.0, 0.5))
    assert distance(half, (whole + predict(model(), **at)) / 2) < 1e-4
    assert distance(whole, half) > 0.01


def test_without_a_momentum_the_warm_up_costs_nothing():
    assert passes(on(model(), "weak")) == [2, 2, 3, 3, 3, 3]
    assert passes(on(model(), "medium")) == [3] * 6
    assert passes(on(model(), "custom", knobs={"momentum_scale": 0.0, "warmup": 0.6})) == [2, 2, 2, 3, 3, 3]


def test_it_costs_a_pass_where_its_strength_counts():
    strengths = guidance.Steps((0.0, 1.0, 0.0, 0.0, 0.5, 0.0))
    assert passes(on(model(), "medium", strength=strengths)) == [2, 3, 2, 2, 3, 2]
    assert passes(on(model(), "medium"), cfg=1.0) == [1] * 6


def test_an_unknown_preset_and_a_number_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"\(SLD\), input preset: .*choose one of medium, weak, strong, max, custom"):
        on(model(), "hyper")
    with pytest.raises(ValueError, match=r"\(SLD\), input momentum_beta: 1 is out of range"):
        on(model(), "custom", knobs={"momentum_beta": 1.0})
