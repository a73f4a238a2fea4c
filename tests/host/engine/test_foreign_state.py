"""What other nodes keep in the options of a step is theirs, and is there at the next step."""

import pytest
import torch
from comfy.patcher_extension import WrappersMP
from methods import BY_NAME, METHODS
from tiny import distance, dual, model, perp_neg, sample

STEPS = 5
INNER = "transformer_options"


def counter(patched, place, found):
    """A post-CFG function that counts its calls in the options, or in the `transformer_options` in them."""

    def count(args):
        options = args["model_options"] if place == "model" else args["model_options"][INNER]
        options["theirs"] = options.get("theirs", 0) + 1
        found.append(options["theirs"])
        return args["denoised"]

    patched = patched.clone()
    patched.set_model_sampler_post_cfg_function(count)
    return patched


@pytest.mark.parametrize("place", ["model", "transformer"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_count_in_the_options_goes_on_from_step_to_step(method, place):
    for order in ("before", "after"):
        found, patched = [], model()
        patched = counter(patched, place, found) if order == "before" else patched
        patched = method.on(patched)
        patched = counter(patched, place, found) if order == "after" else patched
        sample(patched, steps=STEPS, sampler="euler")
        assert found == list(range(1, STEPS + 1)), order


@pytest.mark.parametrize("make", [perp_neg(), dual("regular"), dual("nested")], ids=["perp-neg", "dual", "nested"])
@pytest.mark.parametrize("place", ["model", "transformer"])
def test_and_under_other_guiders(make, place):
    found = []
    sample(counter(BY_NAME["compose"].on(model()), place, found), steps=STEPS, make=make)
    assert found == list(range(1, STEPS + 1))


@pytest.mark.parametrize("wrapper", [WrappersMP.PREDICT_NOISE, WrappersMP.CALC_COND_BATCH])
@pytest.mark.parametrize("name", ["compose", "nag", "sag", "uncond_reuse", "pag"])
def test_what_a_wrapper_keeps_in_the_options_stays_too(name, wrapper):
    found = []

    def count(executor, *args):
        options = next(a for a in args if isinstance(a, dict))
        first = not options.get("theirs_busy")
        options["theirs"] = options.get("theirs", 0) + first
        found.append(options["theirs"])
        return executor(*args)

    patched = model().clone()
    patched.add_wrapper(wrapper, count)
    sample(BY_NAME[name].on(patched), steps=STEPS)
    assert max(found) >= STEPS


def test_what_is_taken_out_of_the_options_stays_out():
    found = []

    def once(args):
        found.append(args["model_options"].pop("theirs", "gone"))
        return args["denoised"]

    patched = model().clone()
    patched.model_options["theirs"] = "there"
    patched.set_model_sampler_post_cfg_function(once)
    sample(BY_NAME["compose"].on(patched), steps=3)
    assert found == ["there", "gone", "gone"]


def momentum(patched):
    """A published kind of node: its state is in the options, and without it the node does nothing."""

    def push(args):
        options, denoised = args["model_options"], args["denoised"]
        average = options.get("theirs")
        options["theirs"] = denoised if average is None else average.lerp(denoised, 0.5)
        return denoised if average is None else denoised + 0.5 * (denoised - average)

    patched = patched.clone()
    patched.set_model_sampler_post_cfg_function(push)
    return patched


@pytest.mark.parametrize("name", ["compose", "contrastive", "dng", "sld_weak", "uncond_reuse", "nag", "sag"])
def test_a_momentum_node_acts_beside_ours(name):
    ours = BY_NAME[name].on(model())
    assert distance(sample(momentum(ours)), sample(ours)) > 0.01


def test_our_own_entries_stay_out_of_the_options():
    found = []

    def note(executor, x, timestep, model_options=None, seed=None):
        out = executor(x, timestep, model_options, seed)
        found.append((set(model_options), set(model_options[INNER])))
        return out

    plain = model().clone()
    plain.add_wrapper(WrappersMP.PREDICT_NOISE, note)
    sample(plain, steps=2)
    expected = found[-1]
    for name in ("compose", "nag", "sag", "pag"):
        patched = BY_NAME[name].on(plain)
        sample(patched, steps=2)
        options, inner = found[-1]
        assert {key for key in options - expected[0] if "azimuth" not in key} <= {"sampler_post_cfg_function"}
        assert inner == expected[1]


def test_the_run_is_the_same_with_a_counter_beside_it():
    for name in ("compose", "nag", "sag", "pag"):
        patched = BY_NAME[name].on(model())
        assert torch.equal(sample(counter(patched, "model", [])), sample(patched))
