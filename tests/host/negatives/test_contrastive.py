"""Contrastive CFG equals the paper's rule in eps, from predictions that the host made one by one."""

import pytest
import torch
from azimuth import guidance
from methods import BY_NAME
from tiny import alone, distance, model, noise, passes, predict, text

W = 5.0
EXACT = 1e-4


def signal(sigma, kind):
    return 1.0 if kind == "eps" else 1.0 - sigma


@pytest.mark.parametrize("norm", ["sum (paper)", "mean (ours)"])
@pytest.mark.parametrize(("kind", "sigma"), [("eps", 3.0), ("flow", 0.7)])
def test_it_is_the_papers_rule_in_eps(kind, sigma, norm):
    x, a = noise(2) * sigma, signal(sigma, kind)
    at = {"patched": model(kind), "sigma": sigma, "x": x}
    c, u, n = ((x - a * alone(text(i), **at)) / sigma for i in (1, 2, 3))

    def square(d):
        return (d**2).mean((1, 2, 3), True) if norm == "mean (ours)" else (d**2).sum((1, 2, 3), True)

    tau = 1.0 / square(c - u).mean().item()
    toward = 2 * W * torch.sigmoid(tau * square(c - u)) * (c - u)
    away = 2 * W * torch.sigmoid(-tau * square(n - u)) * (n - u)
    expected = (x - sigma * (u + toward - away)) / a
    ours = BY_NAME["contrastive"].on(model(kind), tau=tau, norm=norm)
    assert distance(predict(ours, sigma=sigma, x=x), expected) < EXACT
    assert distance(predict(model(kind), sigma=sigma, x=x), expected) > 0.01


def test_strength_is_its_share_in_the_result():
    whole, half = (predict(BY_NAME["contrastive"].on(model(), strength=strength)) for strength in (1.0, 0.5))
    assert distance(half, (whole + predict(model())) / 2) < EXACT


def test_without_tau_it_is_not():
    ours = predict(BY_NAME["contrastive"].on(model(), tau=0.0))
    assert distance(ours, predict(BY_NAME["negated"].on(model(), weight=1.0))) < EXACT


def test_it_costs_a_pass_where_it_counts():
    strengths = guidance.Steps((0.0, 1.0, 0.0, 0.0, 0.5, 0.0))
    assert passes(BY_NAME["contrastive"].on(model(), strength=strengths)) == [2, 3, 2, 2, 3, 2]
    assert passes(BY_NAME["contrastive"].on(model(), start=0.4, end=0.7)) == [2, 2, 3, 3, 2, 2]
    assert passes(BY_NAME["contrastive"].on(model()), cfg=1.0) == [1] * 6
