"""Rectified-CFG++ on the real host: its steps written out, its passes, and what acts on it."""

import comfy.model_patcher
import comfy.samplers
import comfy_extras.nodes_model_advanced
import pytest
import torch
from architectures import flux
from azimuth import guidance
from azimuth.nodes.samplers import rectified_cfgpp
from both_predictions import noting
from interrupted import Interruption
from methods import BY_NAME, stack
from tiny import (
    architecture,
    basic,
    cfg_guider,
    distance,
    dual,
    dual_model,
    guider_of,
    model,
    noise,
    passes,
    perp_neg,
    run_node,
    sample,
    scales,
    sigmas_of,
    tensor,
    text,
)

EXACT = 1e-4
kinds = pytest.mark.parametrize("kind", ["flow", "eps", "edm"])


def ours(lam_max=3.0, gamma=1.0, fraction=0.5):
    return run_node(rectified_cfgpp.RectifiedCFGPP, lam_max, gamma, fraction)


def literal(lam_max, gamma, fraction, level):
    """The algorithm in velocities (or noises), from the two raw predictions of calls that make both."""

    def run(net, x, sigmas, extra_args=None, callback=None, disable=None):
        how, found = noting(extra_args)

        def velocities(x, sigma):
            net(x, sigma.expand(x.shape[0]), **how)
            return [(x - found[name]) / sigma for name in ("cond_denoised", "uncond_denoised")]

        with torch.no_grad():
            for here, after in zip(sigmas[:-1], sigmas[1:], strict=True):
                v = velocities(x, here)[0]
                dt = after - here
                c, u = velocities(x + fraction * dt * v, here + fraction * dt)
                x = x + dt * (v + lam_max * (1 - level(here)) ** gamma * (c - u))
        return x

    return comfy.samplers.KSAMPLER(run)


def level_of(kind):
    return (lambda sigma: sigma) if kind == "flow" else (lambda sigma: sigma / (1 + sigma))


# ---- formulas


@kinds
@pytest.mark.parametrize("knobs", [(3.0, 1.0, 0.5), (3.5, 0.0, 0.5), (2.0, 0.5, 0.9)], ids=str)
def test_a_run_is_the_algorithm_written_out(kind, knobs):
    expected = sample(model(kind), sampler=literal(*knobs, level_of(kind)))
    assert distance(sample(model(kind), sampler=ours(*knobs)), expected) < EXACT
    assert distance(sample(model(kind), cfg=4.0, sampler="euler"), expected) > 0.01


@kinds
def test_the_cfg_of_the_guider_does_not_count(kind):
    first = sample(model(kind), cfg=1.0, sampler=ours())
    for cfg in (0.0, 7.0):
        assert torch.equal(sample(model(kind), cfg=cfg, sampler=ours()), first)


@kinds
def test_without_a_correction_it_is_euler_at_weight_1(kind):
    plain = sample(model(kind), cfg=1.0, sampler="euler")
    assert distance(sample(model(kind), cfg=7.0, sampler=ours(lam_max=0.0)), plain) < EXACT


# ---- runs


def test_its_passes():
    assert passes(model("flow"), cfg=7.0, sampler=ours(gamma=0.0)) == [1, 2] * 6
    assert passes(model("flow"), cfg=7.0, sampler=ours(gamma=1.0)) == [1] + [1, 2] * 5  # alpha is 0 at t = 1
    assert passes(model("flow"), cfg=7.0, sampler=ours(lam_max=0.0)) == [1] * 6


def test_the_weights_of_its_calls():
    sigmas = sigmas_of(model("flow"), 4)
    alphas = [guidance.rectified_alpha(s, lam_max=3.0, gamma=1.0, kind="flow") for s in sigmas.tolist()[1:-1]]
    expected = [1.0] + [w for alpha in alphas for w in (1.0, 1 + alpha)]
    assert scales(model("flow"), sampler=ours(), sigmas=sigmas) == pytest.approx(expected)


def test_lists_that_end_above_0_or_begin_late_or_pause():
    sigmas = sigmas_of(model("flow"), 6)
    for part in (sigmas[:4], sigmas[2:], sigmas[-2:]):
        expected = sample(model("flow"), sampler=literal(3.0, 1.0, 0.5, level_of("flow")), sigmas=part)
        assert distance(sample(model("flow"), sampler=ours(), sigmas=part), expected) < EXACT
    paused = sample(model("flow"), sampler=ours(), sigmas=sigmas[[0, 1, 1, 3, 6]])
    assert torch.equal(paused, sample(model("flow"), sampler=ours(), sigmas=sigmas[[0, 1, 3, 6]]))


def test_rising_sigmas_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"Rectified-CFG\+\+ Sampler: the sigmas rise .* use the sampler euler"):
        sample(model("flow"), sampler=ours(), sigmas=sigmas_of(model("flow"), 4).flip(0))


def test_a_sample_does_not_depend_on_its_neighbours():
    x = noise(3)
    whole = sample(model("flow"), sampler=ours(), x=x)
    for i in range(3):
        assert distance(sample(model("flow"), sampler=ours(), x=x[i : i + 1])[0], whole[i]) < EXACT


def test_the_guider_has_its_weight_back_after_an_interrupted_run_and_between_calls():
    for patched in (model("flow"), stack(model("flow"), "apg_custom", "scheduled_cfg")):
        guider, found = guider_of(patched), []

        def run(guider=guider, patched=patched, **more):
            x = torch.zeros_like(noise())
            return guider.sample(noise(), x, ours(), sigmas_of(patched, 6), disable_pbar=True, seed=3, **more)

        def stop(step, *rest, guider=guider, found=found):
            found.append(guider.cfg)
            if step == 2:
                raise Interruption

        first = run()
        with pytest.raises(Interruption):
            run(callback=stop)
        assert found == [5.0] * 3 and guider.cfg == 5.0
        assert torch.equal(run(), first)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_inpainting_keeps_what_is_outside_its_mask(strength):
    kept, mask = noise(seed=9), torch.zeros(1, 1, 8, 8)
    mask[..., :4] = strength
    latent = sample(model("flow"), sampler=ours(), latent=kept, mask=mask)
    assert distance(latent[..., 4:], kept[..., 4:]) < EXACT
    assert distance(latent[..., :4], kept[..., :4]) > 0.01


def test_the_callback_is_told_the_prediction_that_the_step_follows():
    steps = []
    sampler = ours()
    function = sampler.sampler_function

    def watched(*args, callback=None, **more):
        return function(*args, callback=lambda step: (steps.append(step), callback and callback(step)), **more)

    sampler.sampler_function = watched
    latent = sample(model("flow"), sampler=sampler)
    assert [step["i"] for step in steps] == list(range(6))
    assert set(steps[0]) == {"x", "i", "sigma", "sigma_hat", "denoised"}
    assert distance(model("flow").model.process_latent_out(steps[-1]["denoised"]).cpu(), latent) < EXACT


@pytest.mark.parametrize(
    ("name", "bad"),
    [("lam_max", -1.0), ("lam_max", float("inf")), ("gamma", 9.0), ("fraction", 1.0), ("fraction", "a")],
)
def test_a_number_that_cannot_be_is_refused(name, bad):
    with pytest.raises(ValueError, match=rf"Rectified-CFG\+\+ Sampler, input {name}: "):
        ours(**{name: bad})


# ---- beside the rest of the pack


@pytest.mark.parametrize("cfg", [1.0, 5.0])
@pytest.mark.parametrize("name", ["adg", "apg", "compose", "partial", "pag", "mimic", "rescale", "tcfg", "higs"])
def test_methods_on_the_model_act_in_the_correction(name, cfg, said):
    """At cfg 1 too, where the pack finds nothing to do under other samplers."""
    latent = sample(BY_NAME[name].on(model("flow")), cfg=cfg, sampler=ours())
    assert latent.isfinite().all()
    assert distance(latent, sample(model("flow"), sampler=ours())) > 1e-3
    assert not any("has no effect" in sentence for sentence in said())


def test_a_rule_is_applied_to_the_pair_of_the_predictor():
    def run(net, x, sigmas, extra_args=None, callback=None, disable=None):
        """The algorithm with ADG at w = 1 + alpha in place of plain CFG."""
        how, found = noting(extra_args)
        for here, after in zip(sigmas[:-1], sigmas[1:], strict=True):
            with torch.no_grad():
                net(x, here.expand(x.shape[0]), **how)
                cond = found["cond_denoised"]
                middle = (here + after) / 2
                ahead = cond + middle / here * (x - cond)
                net(ahead, middle.expand(x.shape[0]), **how)
                c, u = found["cond_denoised"], found["uncond_denoised"]
                push = guidance.angle_domain(c, u, scale=4.0) - c
                x = x + (after - here) * ((x - cond) / here - push / middle)
        return x

    expected = sample(model("flow"), sampler=comfy.samplers.KSAMPLER(run))
    got = sample(BY_NAME["adg"].on(model("flow")), cfg=1.0, sampler=ours(gamma=0.0))
    assert distance(got, expected) < EXACT


def test_a_schedule_takes_the_place_of_1_plus_alpha(said):
    patched = BY_NAME["scheduled_cfg"].on(model("flow"), scale=4.0)
    assert (
        distance(sample(patched, cfg=4.0, sampler=ours(2.0, 0.0)), sample(model("flow"), sampler=ours(3.0, 0.0)))
        < EXACT
    )
    assert "in place of the sampler's 3" in " ".join(said())
    # A schedule at the largest weight of the sampler is not nothing, since the sampler's own changes over the run.
    assert scales(patched, sampler=ours(3.0, 1.0)) == [4.0] + [1.0, 4.0] * 5  # alpha is 0 at t = 1


def test_a_schedule_costs_no_negative_where_a_step_begins():
    patched = BY_NAME["scheduled_cfg"].on(model("flow"))
    assert passes(patched, sampler=ours(gamma=0.0)) == [1, 2] * 6
    assert passes(stack(patched, "apg_custom"), sampler=ours(gamma=0.0)) == [1, 2] * 6
    assert passes(patched, sampler=ours(lam_max=0.0)) == [2] * 6  # no correction: the step is the schedule's


def test_an_off_stage_changes_nothing():
    patched = stack(model("flow"), "adg")
    off = BY_NAME["adg"].on(model("flow"), strength=0.0)
    assert torch.equal(sample(off, sampler=ours()), sample(model("flow"), sampler=ours()))
    assert passes(off, sampler=ours()) == passes(model("flow"), sampler=ours())
    assert not torch.equal(sample(patched, sampler=ours()), sample(off, sampler=ours()))


def test_adaptive_guidance_drops_the_negative_of_the_correction(said):
    patched = BY_NAME["adaptive"].on(model("flow"))  # settled after the first guided step
    assert passes(patched, cfg=1.0, sampler=ours(gamma=0.0)) == [1, 2] + [1, 1] * 5
    assert any("skipped 5 of 6 negative passes" in sentence for sentence in said())


def test_what_a_rule_remembers_advances_once_a_step():
    seen = []
    patched = BY_NAME["apg_custom"].on(model("flow"), strength=1.0)
    patched = patched.clone()

    def note(args):
        if args["cond_scale"] > 1:
            seen.append((args["denoised"].clone(), args["cond_denoised"], args["uncond_denoised"], args["cond_scale"]))
        return args["denoised"]

    patched.set_model_sampler_post_cfg_function(note)
    sample(patched, sampler=ours(gamma=0.0))
    assert len(seen) == 6
    memory = guidance.Memory()
    for i, (guided, c, u, w) in enumerate(seen):
        memory.begin(i)
        expected = guidance.apg(c, u, scale=w, eta=0.2, norm_threshold=0.0, momentum=-0.75, state=memory)
        assert distance(guided, expected) < EXACT


def test_a_foreign_cfg_function_that_a_rule_replaces_is_named_at_cfg_1_too(said):
    rescaled = comfy_extras.nodes_model_advanced.RescaleCFG().patch(model("flow"), 0.7)[0]
    sample(BY_NAME["adg"].on(rescaled), cfg=1.0, sampler=ours())
    assert any("replaces the cfg function" in sentence for sentence in said())


# ---- guiders


@pytest.mark.parametrize(
    "make",
    [cfg_guider(1.0), dual("regular"), dual("nested"), perp_neg(), dual_model()],
    ids=["CFG Guider", "Dual CFG Guider", "Dual CFG Guider (nested)", "Perp-Neg Guider", "Dual Model CFG Guider"],
)
def test_under_every_guider_it_corrects_and_says_what_it_sets(make, said):
    other = make
    latent = sample(model("flow"), make=other, sampler=ours())
    assert latent.isfinite().all()
    assert distance(latent, sample(model("flow"), make=other, sampler=ours(lam_max=1.0))) > 0.01
    assert any("Rectified-CFG++ Sampler sets the weight to 1 and 1 + alpha" in sentence for sentence in said())


def test_under_the_dual_model_guider_the_negative_is_the_other_models():
    make, same = dual_model(other=model("flow")), cfg_guider()
    assert (
        distance(sample(model("flow"), make=make, sampler=ours()), sample(model("flow"), make=same, sampler=ours()))
        < EXACT
    )


@pytest.mark.parametrize("make", [basic, dual_model(1.0)], ids=["Basic Guider", "Dual Model CFG Guider at cfg 1"])
def test_without_a_negative_it_follows_the_positive_and_says_so(make, said):
    latent = sample(model("flow"), make=make, sampler=ours())
    assert distance(latent, sample(model("flow"), make=basic, sampler="euler")) < EXACT
    about = [sentence for sentence in said() if "follows the positive alone" in sentence]
    assert len(about) == 1 and ("use a CFG Guider" in about[0] or "set its cfg to another number" in about[0])


def test_on_other_models_it_says_that_this_is_not_the_papers(said):
    sample(model("eps"), sampler=ours())
    assert any("published for flow models" in sentence for sentence in said())


def test_the_two_passes_of_a_distilled_model_are_corrected_by_under_the_basic_guider(said):
    patched = BY_NAME["distilled_pair"].on(architecture(flux), guidance=4.0)
    how = {"x": tensor(5, 1, 16, 8, 8), "make": basic}
    expected = sample(patched, sampler=literal(3.0, 0.0, 0.5, level_of("flow")), **how)
    assert distance(sample(patched, sampler=ours(gamma=0.0), **how), expected) < EXACT
    assert not any("follows the positive alone" in sentence for sentence in said())


def test_a_negative_whose_time_range_has_ended_corrects_nothing():
    timed = [[text(2)[0][0], {**text(2)[0][1], "start_percent": 0.0, "end_percent": 0.3}]]
    sampling = model("flow").get_model_object("model_sampling")
    sigmas = sigmas_of(model("flow"), 6)
    late = sigmas[sigmas < sampling.percent_to_sigma(0.3)]
    latent = sample(model("flow"), negative=timed, sampler=ours(), sigmas=late)
    assert distance(latent, sample(model("flow"), cfg=1.0, sampler="euler", sigmas=late)) < EXACT


def test_its_own_weights_are_not_taken_for_another_nodes(said):
    sample(BY_NAME["adg"].on(model("flow")), cfg=5.0, sampler=ours())
    assert not any("another node sets the weight" in sentence for sentence in said())
