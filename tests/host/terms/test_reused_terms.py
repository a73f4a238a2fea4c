"""Uncond Reuse beside added terms: a term compares two predictions of the same step, under every guider."""

import dataclasses

import pytest
import torch
from azimuth.nodes.engine import stages
from features import need
from methods import BY_NAME, METHODS
from tiny import GUIDERS, alone, distance, dual, model, passes, sample, text

EXACT = 1e-4
TERMS = [m.name for m in METHODS if any(isinstance(stage, stages.Add) for stage in stages.of(m.on(model())))]
# Which prompt a term weakens.
PROMPT = {name: 4 if name == "Dual CFG Guider" else 1 for name in GUIDERS}


def reusing(patched, every=2):
    return BY_NAME["uncond_reuse"].on(patched, every=every)


def noting(patched, seen):
    """The MODEL with added terms that note the moments which their rules see."""

    def noted(stage):
        def rule(moment):
            seen.append(moment)
            return stage.rule(moment)

        return dataclasses.replace(stage, rule=rule) if isinstance(stage, stages.Add) else stage

    patched = patched.clone()
    patched.model_options[stages.OPTION] = tuple(map(noted, patched.model_options[stages.OPTION]))
    return patched


def nearly(patched):
    """Autoguidance with a MODEL that is another one to look at, but predicts the same."""
    same = model().clone()
    same.set_model_attn1_patch(lambda q, k, v, extra: (q, k, v))
    return BY_NAME["autoguidance"].on(patched, weak_model=same)


def test_there_are_terms():
    assert {"pag", "seg", "slg", "s2", "sag", "autoguidance"} <= set(TERMS)


@pytest.mark.parametrize("term", [name for name in TERMS if name != "sag"])
@pytest.mark.parametrize("name", GUIDERS)
def test_a_term_weakens_what_this_step_predicts(name, term):
    need(*BY_NAME[term].needs)
    seen = []
    sample(noting(BY_NAME[term].on(reusing(model())), seen), make=GUIDERS[name](), steps=4)
    assert len(seen) == 4
    for moment in seen:
        fresh = alone(text(PROMPT[name]), x=moment.x, sigma=moment.sigma[0].item())
        assert distance(moment.cond.cpu(), fresh) < EXACT


@pytest.mark.parametrize("name", GUIDERS)
def test_sag_which_sees_another_place_keeps_all_passes(name):
    make, sag = GUIDERS[name](), BY_NAME["sag"].on(model())
    assert torch.equal(sample(reusing(sag), make=make, steps=4), sample(sag, make=make, steps=4))


@pytest.mark.parametrize("name", GUIDERS)
@pytest.mark.parametrize("every", [2, 3])
def test_a_term_that_adds_nothing_moves_nothing(name, every):
    make = GUIDERS[name]()
    without = sample(reusing(model(), every), make=make)
    assert distance(sample(nearly(reusing(model(), every)), make=make), without) < EXACT
    if not name.startswith("Dual Model"):
        assert distance(without, sample(model(), make=make)) > 1e-2


def test_what_the_term_weakens_is_all_that_is_predicted_besides(said):
    make = dual("regular")
    assert passes(nearly(reusing(model())), make=make) == [3, 2] * 3
    assert said()[-1] == "Uncond Reuse skipped 3 of 12 negative passes."
    assert passes(BY_NAME["pag"].on(reusing(model())), make=make) == [3, 1, 2, 1] * 3
    assert passes(BY_NAME["pag"].on(reusing(model()), end=0.5), make=make) == [3, 1, 2, 1, 3, 1, 1, 3, 1]
    assert passes(BY_NAME["pag"].on(reusing(model())), make=dual("nested")) == [3, 1, 1, 1] * 3


def test_a_fresh_prediction_that_is_not_finite_leaves_the_term_out_and_is_named(said):
    def spoil(apply_model, args):
        out = apply_model(args["input"], args["timestep"], **args["c"])
        if out.shape[0] == 2:  # a reused step: cond1 and cond2
            out[args["cond_or_uncond"].index(1)] = float("nan")
        return out

    spoilt = model().clone()
    spoilt.set_model_unet_function_wrapper(spoil)
    make = dual("regular")
    expected = sample(reusing(model()), make=make, steps=2)
    assert distance(sample(nearly(reusing(spoilt)), make=make, steps=2), expected) < EXACT
    assert any("holds NaN or infinity at step 2 of 2" in sentence for sentence in said())
