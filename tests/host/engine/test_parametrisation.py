"""What a MODEL's network puts out, for every class that the host has for it, and flow models in sigma coordinates."""

import comfy.model_sampling
import comfy_extras.nodes_model_advanced as advanced
import pytest
import torch
from azimuth import guidance
from azimuth.nodes.engine import parametrisation
from azimuth.nodes.look import report
from azimuth.nodes.samplers.rectified_cfgpp import RectifiedCFGPP
from features import VERSION, number
from methods import BY_NAME, METHODS
from rows import spoilt
from tiny import distance, model, predict, sample, sampled_as, tensor, watch

EXACT = 2e-4
LEVELS = (4.0, 2.0, 1.0, 0.5, 0.1, 0.0)


def class_of(name):
    return getattr(comfy.model_sampling, name, None)


def cosmos():
    return sampled_as(class_of("ModelSamplingCosmosRFlow"), class_of("COSMOS_RFLOW"))


def flow():
    """The very same model in flow coordinates: its network is given t too."""
    knobs = {"set_parameters": {"shift": 1.0, "multiplier": 1.0}}
    return sampled_as(class_of("ModelSamplingDiscreteFlow"), class_of("CONST"), **knobs)


EDM = {"set_parameters": {"sigma_min": 0.01, "sigma_max": 80.0, "sigma_data": 0.5}}
CASES = {  # what the host samples with, and what it is
    "EPS": ("ModelSamplingDiscrete", ("ve", "eps"), {}),
    "V_PREDICTION": ("ModelSamplingDiscrete", ("ve", "v"), {}),
    "V_PREDICTION_DDPM": ("ModelSamplingDiscrete", ("ve", "v of raw x"), {}),
    "EDM": ("ModelSamplingContinuousEDM", ("ve", "v", 0.5), EDM),
    "X0": ("ModelSamplingDiscrete", ("ve", "x0"), {}),
    "IMG_TO_IMG": ("ModelSamplingDiscrete", ("ve", "x0"), {}),
    "CONST": ("ModelSamplingDiscreteFlow", ("flow", "velocity"), {}),
    "IMG_TO_IMG_FLOW": ("ModelSamplingDiscreteFlow", ("flow", "x0"), {}),
    "COSMOS_RFLOW": ("ModelSamplingCosmosRFlow", ("ve", "velocity"), {}),
}


def test_every_class_of_the_host_is_known_here():
    theirs = {
        name
        for name, found in vars(comfy.model_sampling).items()
        if isinstance(found, type) and "calculate_denoised" in vars(found)
    }
    assert theirs <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_each_is_what_the_host_makes_of_the_networks_output(name):
    if class_of(name) is None:
        assert name == "V_PREDICTION_DDPM" and number(VERSION) < number("0.30.0")
        pytest.skip(f"ComfyUI {VERSION} has no {name}")
    schedule, row, settings = CASES[name]
    patched = sampled_as(class_of(schedule), class_of(name), **settings)
    of = parametrisation.of(patched)
    assert parametrisation.is_known(patched) and of == guidance.Parametrisation(*row)
    x, n, sigma = tensor(1, 2, 4, 3, 3), tensor(2, 2, 4, 3, 3), torch.tensor([0.7, 0.2])
    theirs = patched.get_model_object("model_sampling").calculate_denoised(sigma, n, x)
    sign = -1.0 if name == "EDM" else 1.0
    torch.testing.assert_close(guidance.denoised_from_output(x, sign * n, sigma, of=of), theirs)
    torch.testing.assert_close(guidance.output_from_denoised(x, theirs, sigma, of=of), sign * n, rtol=1e-4, atol=1e-4)


def test_lcm_is_an_eps_model():
    assert parametrisation.of(sampled_as(advanced.ModelSamplingDiscreteDistilled, advanced.LCM)) == (
        guidance.Parametrisation("ve", "eps")
    )


class Foreign:
    """A way of sampling that derives from none of the host's."""

    calculate_input = class_of("EPS").calculate_input
    calculate_denoised = class_of("EPS").calculate_denoised
    noise_scaling = class_of("EPS").noise_scaling
    inverse_noise_scaling = class_of("EPS").inverse_noise_scaling


def test_one_that_nobody_knows_is_named_once_and_taken_for_eps(said):
    patched = BY_NAME["rescale"].on(sampled_as(comfy.model_sampling.ModelSamplingDiscrete, Foreign))
    assert torch.equal(sample(patched, steps=3), sample(BY_NAME["rescale"].on(model()), steps=3))
    [sentence] = [s for s in said() if "none of ComfyUI's" in s]
    assert sentence.startswith("Azimuth: the MODEL's way of sampling (ModelSampling)")
    assert "with a ModelSampling node" in sentence
    assert "none of ComfyUI's" in report.report(patched, 7.0)


def test_it_is_not_named_where_nothing_of_ours_acts(said):
    sample(BY_NAME["rescale"].on(sampled_as(comfy.model_sampling.ModelSamplingDiscrete, Foreign), phi=0.0), steps=2)
    assert not any("none of ComfyUI's" in s for s in said())


# ---- flow models in sigma coordinates


def in_both(method_on, levels=LEVELS, **how):
    """The same run of the same flow model in sigma coordinates, and in its own."""
    sigmas = torch.tensor(levels)
    ours = sample(method_on(cosmos()), sigmas=sigmas, **how)
    return ours, sample(method_on(flow()), sigmas=sigmas / (1 + sigmas), **how)


def test_the_two_are_one_model():
    ours, theirs = in_both(lambda patched: patched)
    assert distance(ours, theirs) < EXACT


def on(method, patched, **changes):
    if "weak_model" in method.acting:
        changes["weak_model"] = spoilt.__wrapped__(patched.model)  # of its own: a patch reaches every clone
        changes["weak_model"].add_object_patch("model_sampling", patched.get_model_object("model_sampling"))
    return method.on(patched, **changes)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_every_node_guides_a_flow_model_in_sigma_coordinates_as_any_other(method):
    ours, theirs = in_both(lambda patched: on(method, patched))
    assert distance(ours, theirs) < EXACT


@pytest.mark.parametrize(
    "schedule", [guidance.Triangle(4.0, 1.0), guidance.Exponential(3.0, 1.0), guidance.SigmaInterval(6.0)], ids=str
)
def test_every_schedule_is_that_of_any_other_flow_model(schedule):
    ours, theirs = in_both(lambda patched: BY_NAME["scheduled_cfg"].on(patched, scale=schedule))
    assert distance(ours, theirs) < EXACT


def test_rectified_cfgpp_measures_half_a_step_ahead_in_the_time_of_the_flow():
    sampler = RectifiedCFGPP.execute(3.0, 1.0, 0.5).args[0]
    ours, theirs = in_both(lambda patched: patched, sampler=sampler)
    assert distance(ours, theirs) < EXACT


def test_zero_init_is_no_velocity():
    patched, seen = BY_NAME["zero_star"].on(cosmos(), zero_init_steps=1), []
    sigma = float(patched.get_model_object("model_sampling").sigma_max)
    sample(watch(patched, seen), sigmas=torch.tensor([sigma, 1.0, 0.0]))
    torch.testing.assert_close(seen[0]["denoised"], seen[0]["input"] / (1 + sigma))


@pytest.mark.parametrize(("name", "changes"), [("raag", {}), ("smc", {"gain_unit": "absolute, flow only"})])
def test_it_is_not_said_to_be_no_flow_model(name, changes, said):
    sample(BY_NAME[name].on(model(), **changes), steps=2)
    before = said()
    assert any("flow model" in s for s in before)
    sample(BY_NAME[name].on(cosmos(), **changes), steps=2)
    assert not any("flow model" in s for s in said()[len(before) :])
    assert report.report(cosmos(), 7.0).startswith("Model: flow, in sigma coordinates\n")


# ---- EDM models


def test_uncond_reuse_holds_what_an_edm_network_puts_out():
    """The difference of two outputs of the network, at the deviation of its data."""
    net, seen = sampled_as(class_of("ModelSamplingContinuousEDM"), class_of("EDM"), **EDM), []
    reused = BY_NAME["uncond_reuse"].on(net, every=2, frozen="auto")
    sample(watch(reused, seen), sigmas=torch.tensor([4.0, 1.0, 0.0]))
    of, levels = guidance.Parametrisation("ve", "v", 0.5), (4.0, 1.0)
    apart = [
        guidance.output_from_denoised(args["input"], args["cond_denoised"], sigma, of=of)
        - guidance.output_from_denoised(args["input"], args["uncond_denoised"], sigma, of=of)
        for args, sigma in zip(seen, levels, strict=True)
    ]
    assert distance(apart[1], apart[0]) < 1e-3


def test_rescale_in_v_is_that_of_the_network_of_an_edm_model():
    net, seen = sampled_as(class_of("ModelSamplingContinuousEDM"), class_of("EDM"), **EDM), []
    predict(watch(BY_NAME["rescale"].on(net, phi=1.0, space="v"), seen), sigma=1.0)
    of, args = guidance.Parametrisation("ve", "v", 0.5), seen[0]
    there = [
        guidance.output_from_denoised(args["input"], args[key], 1.0, of=of) for key in ("denoised", "cond_denoised")
    ]
    assert abs(there[0].std() / there[1].std() - 1) < 1e-3
