"""Condition annealing on the real host: what the model is told, and how the noise is drawn."""

import comfy.conds
import pytest
import torch
from architectures import dit, flux
from azimuth import guidance
from azimuth.nodes.conditions import cads as node
from methods import BY_NAME
from tiny import (
    alone,
    architecture,
    basic,
    distance,
    model,
    noise,
    passes,
    sample,
    tensor,
    text,
    turns,
    watch,
)

SCALE = 0.25
SEED = 3  # of every run of these tests


def annealed(patched=None, **changes):
    return BY_NAME["cads"].on(patched or model(), **changes)


def told(patched, **how):
    """What a run's passes were conditioned with: a dictionary per pass."""
    found = []

    def note(apply_model, args):
        found.append({key: value for key, value in args["c"].items() if torch.is_tensor(value)})
        found[-1]["cond_or_uncond"] = args["cond_or_uncond"]
        return apply_model(args["input"], args["timestep"], **args["c"])

    patched = patched.clone()
    patched.set_model_unet_function_wrapper(note)
    sample(patched, **how)
    return found


def row(call, role, sample_index=0, name="c_crossattn"):
    """One sample's conditioning in one pass of a call."""
    rows = call[name].chunk(len(call["cond_or_uncond"]))
    return rows[call["cond_or_uncond"].index(role)][sample_index]


def literal(y, progress, step, *place, sample_index=0, scale=SCALE):
    gamma = guidance.cads_gamma(progress)
    n = node.drawn(y.shape, SEED, step, *place, sample_index)
    noisy = gamma**0.5 * y + scale * (1 - gamma) ** 0.5 * n
    return (noisy - noisy.mean()) / noisy.std() * y.std() + y.mean()


def test_every_pass_of_a_step_is_told_the_annealed_prompt():
    calls = told(annealed(), steps=11)
    prompt, null = text(1)[0][0][0], text(2)[0][0][0]
    for step, call in enumerate(calls):
        for role, y, key in ((0, prompt, "positive"), (1, null, "negative")):
            expected = y if step >= 4 else literal(y, step / 10, step, key, 0, "c_crossattn")
            torch.testing.assert_close(row(call, role), expected)
    assert torch.equal(row(calls[4], 0), prompt) and torch.equal(row(calls[10], 1), null)


def test_a_step_ends_with_the_hosts_prediction_for_the_annealed_prompts():
    seen = []
    sample(watch(annealed(model("flow")), seen), steps=6)
    for step in (0, 1):
        args = seen[step]
        pair = [
            alone(
                [[literal(text(i)[0][0][0], step / 5, step, key, 0, "c_crossattn")[None], {}]],
                model("flow"),
                x=args["input"],
                sigma=args["sigma"][0].item(),
            )
            for i, key in ((1, "positive"), (2, "negative"))
        ]
        assert distance(args["denoised"], guidance.cfg(*pair, scale=5.0)) < 1e-4


@pytest.mark.parametrize("build", [dit, flux])
def test_the_pooled_text_is_annealed_too(build):
    how = {"x": tensor(5, 1, 16, 8, 8), "cfg": 1.0, "steps": 6}
    call = told(annealed(architecture(build)), **how)[1]
    expected = literal(text(1)[0][1]["pooled_output"][0], 1 / 5, 1, "positive", 0, "y")
    torch.testing.assert_close(row(call, 0, name="y"), expected)


def test_of_a_longer_vector_only_its_text_is_annealed():
    cond = {"model_conds": {"y": comfy.conds.CONDRegular(torch.arange(12.0)[None])}, "pooled_output": torch.zeros(1, 8)}
    assert node.texts(cond) == {"y": 8}
    assert node.texts({**cond, "unclip_conditioning": []}) == {}
    assert node.texts({"model_conds": cond["model_conds"]}) == {}


def test_masks_and_images_are_left_alone():
    positive = text(1, attention_mask=torch.ones(1, 4), guidance=2.0, reference_latents=[tensor(6, 1, 16, 8, 8)])
    patched = architecture(flux)
    how = {"x": tensor(5, 1, 16, 8, 8), "cfg": 1.0, "steps": 1, "positive": positive}
    (ours,), (theirs,) = told(annealed(patched), **how), told(patched, **how)
    changed = {key for key in theirs if torch.is_tensor(theirs[key]) and not torch.equal(ours[key], theirs[key])}
    assert changed == {"c_crossattn", "y"} and "guidance" in theirs


def test_prompts_samples_and_steps_have_noise_of_their_own():
    same = {"positive": text(1), "negative": text(1), "x": noise(2), "steps": 12}
    calls = told(annealed(), **same)
    rows = [row(calls[step], role, i) for step in (0, 1) for role in (0, 1) for i in (0, 1)]
    assert all(distance(a, b) > 0.01 for k, a in enumerate(rows) for b in rows[:k])


def test_the_same_seed_is_the_same_picture_and_another_is_not():
    first, again = sample(annealed()), sample(annealed())
    assert torch.equal(first, again)
    guider_seed = torch.random.get_rng_state()
    sample(annealed())
    assert torch.equal(torch.random.get_rng_state(), guider_seed)
    y = torch.zeros(1, 4, 8)
    assert not torch.equal(node.noise_like(y, 3, 0), node.noise_like(y, 4, 0))


@pytest.mark.parametrize("sampler", ["heun", "dpm_2", "dpmpp_2s_ancestral"])
def test_every_call_of_a_step_sees_the_same_noise(sampler):
    calls = told(annealed(tau1=0.0, tau2=1.0), sampler=sampler, steps=4)
    prompts = {}
    for call, (step, _) in zip(calls, turns(sampler, 4), strict=True):
        prompts.setdefault(step, []).append(row(call, 0))
    assert max(map(len, prompts.values())) > 1
    for found in prompts.values():
        assert all(torch.equal(found[0], other) for other in found)


def test_a_further_negative_is_annealed_too():
    calls = told(BY_NAME["compose"].on(annealed()), steps=6)
    expected = literal(text(3)[0][0][0], 1 / 5, 1, "azimuth_negative_0", 0, "c_crossattn")
    torch.testing.assert_close(calls[1]["c_crossattn"][calls[1]["cond_or_uncond"].index(2)], expected)


def test_a_zeroed_prompt_gets_the_noise_as_it_is():
    zeros = [[torch.zeros(1, 4, 64), {}]]
    call = told(annealed(), negative=zeros, steps=6)[0]
    torch.testing.assert_close(row(call, 1), SCALE * node.drawn((4, 64), SEED, 0, "negative", 0, "c_crossattn", 0))


@pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])
def test_it_acts_without_a_negative_and_costs_nothing(make, said):
    assert passes(annealed(), cfg=1.0, make=make) == [1] * 6
    assert distance(sample(annealed(), cfg=1.0, make=make), sample(model(), cfg=1.0, make=make)) > 0.01
    assert any("noise 0.25 on the prompts" in s and "(2 of 6 steps)" in s for s in said())
    assert not any("no effect" in sentence for sentence in said())


def test_a_schedule_of_the_scale():
    scales = guidance.Steps((0.0, 0.1, 0.2, 0.3, 0.4, 0.5))
    calls = told(annealed(scale=scales, tau1=0.0, tau2=1.0), steps=6)
    assert torch.equal(row(calls[0], 0), text(1)[0][0][0])
    gamma, y, n = 0.4, text(1)[0][0][0], node.drawn((4, 64), SEED, 2, "positive", 0, "c_crossattn", 0)
    noisy = gamma**0.5 * y + 0.2 * (1 - gamma) ** 0.5 * n
    torch.testing.assert_close(row(calls[2], 0), (noisy - noisy.mean()) / noisy.std() * y.std() + y.mean())


def test_the_two_passes_of_a_pair_share_their_noise():
    patched = annealed(BY_NAME["distilled_pair"].on(architecture(flux)))
    call = told(patched, cfg=1.0, x=tensor(5, 1, 16, 8, 8))[1]
    first, second = call["c_crossattn"]
    assert torch.equal(first, second) and not torch.equal(first, text(1)[0][0][0])
    assert sorted(call["guidance"].tolist()) == [1.5, 3.5]


def test_tau2_below_tau1_is_refused_before_the_run_and_in_it():
    with pytest.raises(ValueError, match=r"input tau2: .*0\.5.*0\.8") as before:
        node.ConditionAnnealing.validate_inputs(tau1=0.8, tau2=0.5)
    with pytest.raises(ValueError) as error:
        annealed(tau1=0.8, tau2=0.5)
    assert str(error.value) == str(before.value)
    assert node.ConditionAnnealing.validate_inputs(tau1=0.6, tau2=0.9) is True
    assert node.ConditionAnnealing.validate_inputs(tau1=None, tau2=0.1) is True
    with pytest.raises(ValueError, match="input tau1"):
        annealed(tau1=1.2)
