"""The CFG++ Sampler: the official formulas, the host's own as an option, and what it asks of a run."""

import copy

import comfy.k_diffusion.sampling as k_diffusion
import comfy.model_patcher
import comfy.samplers
import pytest
import torch
from architectures import flux
from azimuth.nodes.engine import sampler_loops
from azimuth.nodes.samplers import cfgpp_dpmpp
from both_predictions import noting
from interrupted import Interruption, stop_at
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
    sigmas_of,
    tensor,
    text,
    watch,
)

LAM = 0.7
EXACT = 1e-4


METHODS = {
    "2M": ("DPM++ 2M", {}, "dpmpp_2m_cfg_pp"),
    "2S": ("DPM++ 2S ancestral", {"eta": 1.0, "s_noise": 1.0}, "dpmpp_2s_ancestral_cfg_pp"),
}
every_method = pytest.mark.parametrize("method", METHODS)
every_form = pytest.mark.parametrize("form", ["official", "as the host"])
kinds = pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])


def ours(method, form="official", **options):
    name, defaults, _ = METHODS[method]
    return run_node(cfgpp_dpmpp.CFGPPSampler, form, {"method": name, **defaults, **options})


def hosts(method, **options):
    return comfy.samplers.ksampler(METHODS[method][2], options)


def literal(kind, method, eta=1.0):
    """The official loops in VE coordinates, z = x/a at the level s/a, with a flow model asked in its own."""

    def signal(sigma):
        return 1 - sigma if kind == "flow" else torch.ones_like(sigma)

    def run(net, x, sigmas, extra_args=None, callback=None, disable=None):
        how, found = noting(extra_args)
        draw = k_diffusion.default_noise_sampler(x, seed=extra_args["seed"])

        def ask(z, level):
            """At a VE level."""
            sigma = level / (1 + level) if kind == "flow" else level
            if torch.isinf(level):
                sigma, z = torch.ones_like(level), z
            else:
                z = z * signal(sigma)
            guided = net(z.float(), sigma.float().expand(x.shape[0]), **how)
            return guided.double(), found["uncond_denoised"].double()

        sigmas = sigmas.double()
        levels = sigmas / signal(sigmas)
        z, u_old = x.double() / (1.0 if torch.isinf(levels[0]) else signal(sigmas[0])), None
        with torch.no_grad():
            for i, (here, after) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
                guided, u = ask(z, here)
                if callback:
                    callback({"x": x, "i": i, "sigma": here, "sigma_hat": here, "denoised": guided})
                down = after
                if method == "2S" and eta and after > 0:
                    if kind == "flow":
                        t, t_next = sigmas[i], sigmas[i + 1]
                        t_down = t_next * (1 + eta * (t_next / t - 1))
                        down = t_down / (1 - t_down)
                    else:
                        down = after * (1 - (eta * (1 - (after / here) ** 2) ** 0.5).clamp(max=1) ** 2) ** 0.5
                h = (here / down).log()
                if torch.isinf(here):
                    z = guided + 0 * z
                    if down > 0:  # the noise of the start, seen from the next level
                        z = z + down * x
                elif down == 0:
                    z = guided
                elif method == "2S":
                    middle = (here * down) ** 0.5
                    half = (-h / 2).exp()
                    guided_2, u_2 = ask(half * z - torch.expm1(-h / 2) * u, middle)
                    z = guided_2 - (-h).exp() * u_2 + (-h).exp() * z
                else:
                    correction = 0
                    if u_old is not None and not torch.isinf(levels[i - 1]):
                        r = (levels[i - 1] / here).log() / h
                        correction = torch.expm1(-h) / (2 * r) * (u - u_old)
                    z = guided - (-h).exp() * u - correction + (-h).exp() * z
                if down != after:
                    z = z + draw(here, after) * (after**2 - down**2) ** 0.5
                u_old = u
        return (z * signal(sigmas[-1])).float()

    run.__name__ = f"sample_{METHODS[method][2]}"  # by which the pack knows how often it calls the model in a step
    return comfy.samplers.KSAMPLER(run)


# ---- formulas


@kinds
@every_method
def test_the_official_form_is_the_loop_written_out(kind, method):
    expected = sample(model(kind), cfg=LAM, sampler=literal(kind, method))
    assert distance(sample(model(kind), cfg=LAM, sampler=ours(method)), expected) < EXACT


@pytest.mark.parametrize("eta", [0.0, 0.4])
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_eta_says_how_much_noise_is_fresh(kind, eta):
    expected = sample(model(kind), cfg=LAM, sampler=literal(kind, "2S", eta))
    assert distance(sample(model(kind), cfg=LAM, sampler=ours("2S", eta=eta)), expected) < EXACT


@kinds
@every_method
def test_as_the_host_it_is_the_hosts_own_sampler(kind, method):
    theirs = sample(model(kind), cfg=LAM, sampler=hosts(method))
    assert distance(sample(model(kind), cfg=LAM, sampler=ours(method, "as the host")), theirs) < 1e-5
    assert distance(sample(model(kind), cfg=LAM, sampler=ours(method)), theirs) > 0.01


@pytest.mark.parametrize("options", [{"eta": 0.0}, {"eta": 0.5, "s_noise": 1.1}], ids=str)
def test_as_the_host_with_its_options_too(options):
    theirs = sample(model(), cfg=LAM, sampler=hosts("2S", **options))
    assert distance(sample(model(), cfg=LAM, sampler=ours("2S", "as the host", **options)), theirs) < 1e-5


@every_form
def test_a_model_of_larger_noise_has_that_noise_drawn(form):
    sampling = copy.copy(model().get_model_object("model_sampling"))
    sampling.noise_scale = 1.5
    scaled = model().clone()
    scaled.add_object_patch("model_sampling", sampling)
    drawn = sample(scaled, cfg=LAM, sampler=ours("2S", form, s_noise=0.8))
    assert distance(drawn, sample(model(), cfg=LAM, sampler=ours("2S", form, s_noise=1.2))) < EXACT
    assert distance(drawn, sample(model(), cfg=LAM, sampler=ours("2S", form, s_noise=0.8))) > 0.01


@every_form
def test_of_two_steps_2m_is_the_hosts_euler_cfg_pp_in_the_official_form(form):
    """There is one step without a past and one to 0, neither of which is corrected."""
    for kind in ("eps", "flow"):
        theirs = sample(model(kind), cfg=LAM, sampler="euler_cfg_pp", steps=2)
        apart = distance(sample(model(kind), cfg=LAM, sampler=ours("2M", form), steps=2), theirs)
        assert apart > 0.01 if (kind, form) == ("flow", "as the host") else apart < EXACT


@pytest.mark.parametrize(("method", "plain"), [("2M", "dpmpp_2m"), ("2S", "dpmpp_2s_ancestral")])
@pytest.mark.parametrize("kind", ["eps", "edm"])
def test_where_both_prompts_are_one_it_is_the_sampler_without_cfgpp(kind, method, plain):
    same = {"positive": text(1), "negative": text(1)}
    theirs = sample(model(kind), cfg=1.0, sampler=plain, **same)
    assert distance(sample(model(kind), cfg=LAM, sampler=ours(method), **same), theirs) < EXACT


def test_for_flow_models_too_from_the_second_step_on():
    """The host's first step takes a second call near t = 1, and its dpmpp_2m a VE model's formulas."""
    same = {"positive": text(1), "negative": text(1), "sigmas": sigmas_of(model("flow"), 8)[1:]}
    theirs = sample(model("flow"), cfg=1.0, sampler="dpmpp_2s_ancestral", **same)
    assert distance(sample(model("flow"), cfg=LAM, sampler=ours("2S"), **same), theirs) < EXACT


# ---- runs


@every_method
def test_a_flow_run_from_pure_noise_is_finite(method):
    sigmas = sigmas_of(model("flow"), 4)
    assert sigmas[0] == 1.0
    latent = sample(model("flow"), cfg=LAM, sampler=ours(method), sigmas=sigmas)
    assert latent.isfinite().all()
    sigmas = torch.cat([torch.tensor([1.0000001]), sigmas[1:]])  # as the shift of a schedule may round it
    assert distance(sample(model("flow"), cfg=LAM, sampler=ours(method), sigmas=sigmas), latent) < EXACT


@pytest.mark.parametrize(("method", "calls"), [("2M", [2] * 6), ("2S", [2] * 11)])
def test_its_passes(method, calls):
    assert passes(model(), cfg=1.0, sampler=ours(method)) == calls
    expected = calls[1:] if method == "2S" else calls
    assert passes(model("flow"), cfg=LAM, sampler=ours(method)) == expected  # the step from t = 1 has no middle


@every_method
@every_form
def test_lists_that_end_above_0_or_begin_late_or_pause(method, form):
    sigmas = sigmas_of(model(), 6)
    for part in (sigmas[:4], sigmas[2:], sigmas[[0, 1, 1, 3, 6]], sigmas[-2:]):
        latent = sample(model(), cfg=LAM, sampler=ours(method, form), sigmas=part)
        assert latent.isfinite().all()
        if form == "as the host" and part.unique().numel() == part.numel():  # its own makes infinities of a pause
            theirs = sample(model(), cfg=LAM, sampler=hosts(method), sigmas=part)
            assert distance(latent, theirs) < 1e-5


@every_method
@every_form
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_rising_sigmas_are_refused_in_a_sentence(method, form, kind):
    sigmas = sigmas_of(model(kind), 4).flip(0)
    with pytest.raises(ValueError, match=r"CFG\+\+ Sampler .*: the sigmas rise .* use the sampler euler"):
        sample(model(kind), cfg=LAM, sampler=ours(method, form), sigmas=sigmas)


@every_method
def test_a_sample_does_not_depend_on_its_neighbours(method):
    options = {"eta": 0.0} if method == "2S" else {}
    sampler, x = ours(method, **options), noise(3)
    whole = sample(model(), cfg=LAM, sampler=sampler, x=x)
    for i in range(3):
        alone = sample(model(), cfg=LAM, sampler=sampler, x=x[i : i + 1])
        assert distance(alone[0], whole[i]) < 1e-4


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_latent_keeps_its_type_and_nothing_of_the_caller_is_written(method, dtype):
    x = noise().to(dtype)
    kept, seen = x.clone(), []

    class Net:
        inner_model = guider_of(model("flow"))
        latent_image = None

        def __call__(self, x, sigma, **more):
            seen.append((x.dtype, sigma.dtype))
            for note in more["model_options"]["sampler_post_cfg_function"]:
                pair = {"cond_denoised": 0.3 * x, "uncond_denoised": 0.2 * x}
                note({**pair, "denoised": x / 4, "uncond": [{}], "cond_scale": 0.5, "sigma": sigma})
            return x / 4

    extra_args = {"model_options": {}, "seed": 1}
    sampler = ours(method)
    sigmas = sigmas_of(model("flow"), 4)
    out = sampler.sampler_function(Net(), x, sigmas, extra_args=extra_args, disable=True, **sampler.extra_options)
    assert out.dtype == dtype and out.isfinite().all()
    assert set(seen) == {(dtype, dtype)}
    assert torch.equal(x, kept) and extra_args == {"model_options": {}, "seed": 1}


@every_method
def test_the_callback_is_told_what_the_hosts_samplers_tell(method):
    told = {}
    for name, sampler in (("ours", ours(method, "as the host")), ("theirs", hosts(method))):
        steps = told[name] = []
        function = sampler.sampler_function

        def watched(*args, callback=None, function=function, steps=steps, **more):
            return function(*args, callback=lambda step: (steps.append(step), callback and callback(step)), **more)

        sampler.sampler_function = watched
        sample(model(), cfg=LAM, sampler=sampler)
    assert len(told["ours"]) == 6
    for own, other in zip(told["ours"], told["theirs"], strict=True):
        assert own.keys() == other.keys()
        assert own["i"] == other["i"] and own["sigma"] == other["sigma"] and own["sigma_hat"] == other["sigma_hat"]
        assert distance(own["x"], other["x"]) < EXACT and distance(own["denoised"], other["denoised"]) < EXACT


@every_method
def test_the_run_after_an_interrupted_one_is_as_a_fresh_one(method):
    sampler, guider = ours(method), guider_of(stack(model(), "apg_custom", "compose"), LAM)

    def run(**more):
        return guider.sample(
            noise(), torch.zeros_like(noise()), sampler, sigmas_of(model(), 6), disable_pbar=True, seed=3, **more
        )

    first = run()
    with pytest.raises(Interruption):
        run(callback=stop_at(2))
    assert torch.equal(run(), first)
    assert guider.cfg == LAM


@every_method
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_inpainting_keeps_what_is_outside_its_mask(method, strength):
    kept, mask = noise(seed=9), torch.zeros(1, 1, 8, 8)
    mask[..., :4] = strength
    latent = sample(model(), cfg=LAM, sampler=ours(method), latent=kept, mask=mask)
    assert distance(latent[..., 4:], kept[..., 4:]) < 1e-5
    assert distance(latent[..., :4], kept[..., :4]) > 0.01


def test_inpainting_in_a_list_that_ends_above_0_leaves_the_noise_of_the_start_outside():
    kept, mask, sigmas = noise(seed=9), torch.zeros(1, 1, 8, 8), sigmas_of(model(), 6)[:4]
    mask[..., :4] = 1.0
    latent = sample(model(), cfg=LAM, sampler=ours("2M"), latent=kept, mask=mask, sigmas=sigmas)
    sampling = model().get_model_object("model_sampling")
    start = sampling.noise_scaling(sigmas[:1], noise(), model().model.process_latent_in(kept), True)
    outside = model().model.process_latent_in(kept)
    expected = model().model.process_latent_out(outside + sigmas[-1] / sigmas[0] * (start - outside))
    assert distance(latent[..., 4:], expected[..., 4:]) < EXACT


def test_inpainting_with_a_mask_that_changes_from_step_to_step():
    """As by the host's Differential Diffusion: what a call keeps is kept in all its predictions."""
    found, raw, gradient = [], [], torch.linspace(0, 1, 8).expand(1, 1, 8, 8).clone()

    def once(net, x, sigmas, extra_args=None, callback=None, disable=None):
        with torch.no_grad():
            found.extend([sampler_loops.Predictor(net, extra_args, keeps_pair=True)(x, 3.0), net.latent_image])
        return x

    patched = watch(model(), raw)
    patched.set_model_denoise_mask_function(lambda sigma, mask, extra_options: (mask >= sigma[0] / 6).to(mask))
    sample(patched, cfg=LAM, sampler=comfy.samplers.KSAMPLER(once), latent=noise(seed=9), mask=gradient)
    prediction, kept = (found[0], found[1].cpu())
    mask = (gradient >= 0.5).float()
    for ours_is, key in ((prediction.guided, "denoised"), (prediction.cond, "cond_denoised")):
        assert torch.equal(ours_is.cpu(), raw[0][key] * mask + kept * (1 - mask))
    assert torch.equal(prediction.uncond.cpu(), raw[0]["uncond_denoised"] * mask + kept * (1 - mask))
    latent = sample(patched, cfg=LAM, sampler=ours("2M"), latent=noise(seed=9), mask=gradient)
    assert latent.isfinite().all()


# ---- bad input


@pytest.mark.parametrize("bad", ["upside down", None, 3], ids=str)
def test_an_option_that_does_not_exist_is_refused_with_those_that_do(bad):
    with pytest.raises(ValueError, match=r"CFG\+\+ Sampler .*, input method: .*; choose one of DPM\+\+ 2M"):
        run_node(cfgpp_dpmpp.CFGPPSampler, "official", {"method": bad})
    with pytest.raises(ValueError, match=r"CFG\+\+ Sampler .*, input form: .*; choose one of official"):
        run_node(cfgpp_dpmpp.CFGPPSampler, bad, {"method": "DPM++ 2M"})
    with pytest.raises(ValueError, match="input method: got no option that it knows"):
        run_node(cfgpp_dpmpp.CFGPPSampler, "official")


@pytest.mark.parametrize(("name", "bad"), [("eta", 1.5), ("eta", float("nan")), ("s_noise", -1.0), ("s_noise", None)])
def test_a_number_that_cannot_be_is_refused(name, bad):
    with pytest.raises(ValueError, match=rf"CFG\+\+ Sampler .*, input {name}: .*(from 0 to|finite number)"):
        ours("2S", **{name: bad})


# ---- beside the rest of the pack


@pytest.mark.parametrize("name", ["adg", "apg", "compose", "partial", "pag", "mimic", "rescale", "tcfg", "cads"])
@every_method
def test_methods_on_the_model_act_and_see_the_raw_negative(name, method):
    lam = 1.6  # more than is meant, so that rules act that rest at weights up to 1
    with_it = sample(BY_NAME[name].on(model()), cfg=lam, sampler=ours(method))
    assert with_it.isfinite().all()
    assert distance(with_it, sample(model(), cfg=lam, sampler=ours(method))) > 1e-3
    expected = sample(BY_NAME[name].on(model()), cfg=lam, sampler=literal("eps", method))
    assert distance(with_it, expected) < 10 * EXACT


@every_method
def test_the_pack_knows_it_for_a_cfgpp_sampler(method, said):
    patched = BY_NAME["adaptive"].on(model(), threshold=0.0)
    assert torch.equal(sample(patched, cfg=LAM, sampler=ours(method)), sample(model(), cfg=LAM, sampler=ours(method)))
    assert set(passes(patched, cfg=LAM, sampler=ours(method))) == {2}
    name = METHODS[method][2]
    assert any(f"has no effect: {name} wants the negative's prediction" in sentence for sentence in said())
    weighed = BY_NAME["cfgpp"].on(model(), lam=LAM)
    assert torch.equal(sample(weighed, cfg=7.0, sampler=ours(method)), sample(model(), cfg=LAM, sampler=ours(method)))
    assert any("CFG++ sampler already" in sentence for sentence in said())
    assert not any("is meant to be 0 to 1" in sentence for sentence in said())


@every_method
def test_a_cfg_of_the_usual_size_is_warned_of_once(method, said):
    sample(model(), cfg=7.0, sampler=ours(method))
    about = [sentence for sentence in said() if "weight 7 for lambda" in sentence]
    assert len(about) == 1 and "set its cfg to 0.4 to 0.8" in about[0]
    sample(model(), cfg=2.0, sampler=ours(method))
    assert len([sentence for sentence in said() if "for lambda" in sentence]) == 1


# ---- guiders


def host_reference(make, method, kind="eps"):
    return sample(model(kind), make=make, sampler=hosts(method))


@pytest.mark.parametrize(
    "make",
    [cfg_guider(LAM), dual("regular", cfg1=0.5, cfg2=LAM), dual("nested", cfg1=LAM, cfg2=0.5), dual_model(LAM)],
    ids=["CFG Guider", "Dual CFG Guider", "Dual CFG Guider (nested)", "Dual Model CFG Guider"],
)
@every_method
def test_under_each_guider_it_reads_the_pair_that_the_host_reads(make, method, said):
    theirs = host_reference(make, method)
    assert distance(sample(model(), make=make, sampler=ours(method, "as the host")), theirs) < EXACT
    assert distance(sample(model(), make=make, sampler=ours(method)), theirs) > 0.01
    assert not said()


@every_method
def test_under_the_perp_neg_guider_the_noise_is_that_of_the_empty_prompt(method):
    without = perp_neg(LAM, neg_scale=0.0)
    expected = sample(model(), make=cfg_guider(LAM, negative=7), sampler=ours(method))
    assert distance(sample(model(), make=without, sampler=ours(method)), expected) < EXACT
    assert distance(sample(model(), make=perp_neg(LAM), sampler=ours(method)), expected) > 0.01


@pytest.mark.parametrize(("method", "plain"), [("2M", "dpmpp_2m"), ("2S", "dpmpp_2s_ancestral")])
@pytest.mark.parametrize("make", [basic, dual_model(1.0)], ids=["Basic Guider", "Dual Model CFG Guider at cfg 1"])
def test_without_a_negative_it_takes_plain_steps_and_says_so(method, plain, make, said):
    latent = sample(model(), make=make, sampler=ours(method))
    about = [sentence for sentence in said() if "takes plain DPM++ steps" in sentence]
    assert len(about) == 1 and "Guider makes no negative prediction; use a CFG Guider" in about[0]
    assert distance(latent, sample(model(), make=basic, sampler=plain)) < EXACT


def test_a_negative_whose_time_range_has_ended_is_none(said):
    timed = [[text(2)[0][0], {**text(2)[0][1], "start_percent": 0.0, "end_percent": 0.3}]]
    latent = sample(model(), cfg=LAM, negative=timed, sampler=ours("2M"))
    assert any("takes plain DPM++ steps" in sentence for sentence in said())
    reach = model().get_model_object("model_sampling").percent_to_sigma(0.3)
    sigmas = sigmas_of(model(), 6)
    late = sigmas[(sigmas < reach).nonzero()[0, 0] :]
    assert 2 < len(late) < 7
    tail = sample(model(), cfg=1.0, x=noise(), positive=text(1), negative=timed, sampler="dpmpp_2m", sigmas=late)
    ours_tail = sample(model(), cfg=LAM, x=noise(), negative=timed, sampler=ours("2M"), sigmas=late)
    assert distance(ours_tail, tail) < EXACT
    assert latent.isfinite().all()


def test_the_two_passes_of_a_distilled_model_are_a_pair_under_the_basic_guider(said):
    patched = BY_NAME["distilled_pair"].on(architecture(flux), guidance=LAM)
    how = {"x": tensor(5, 1, 16, 8, 8), "make": basic}
    expected = sample(patched, sampler=literal("flow", "2M"), **how)
    assert distance(sample(patched, sampler=ours("2M"), **how), expected) < EXACT
    assert not any("plain DPM++" in sentence for sentence in said())


def without_a_negative(cfg):
    """A CFG Guider that somebody has given an empty list; the host then contrasts zeros."""

    def make(patched):
        guider = comfy.samplers.CFGGuider(patched)
        guider.set_conds(text(1), [])
        guider.set_cfg(cfg)
        return guider

    return make


def test_with_an_empty_negative_it_takes_plain_steps():
    plain = sample(model(), make=without_a_negative(1.0), sampler="dpmpp_2m")
    assert distance(sample(model(), make=without_a_negative(LAM), sampler=ours("2M")), plain) < EXACT


@every_method
def test_steps_behind_the_first_zero_are_refused(method):
    with pytest.raises(ValueError, match="the sigmas go on after 0; remove the steps"):
        sample(model(), cfg=LAM, sampler=ours(method), sigmas=torch.tensor([3.0, 1.0, 0.0, 0.0]))


@every_method
def test_a_flow_that_begins_with_two_steps_at_1_is_one_that_begins_with_one(method):
    """The noise of a step without length is left as it is."""
    levels = [1.0, 0.7, 0.3, 0.0]
    options = {"eta": 0.0} if method == "2S" else {}
    lists = torch.tensor(levels), torch.tensor([1.0, *levels])
    once, twice = (sample(model("flow"), cfg=LAM, sampler=ours(method, **options), sigmas=sigmas) for sigmas in lists)
    assert distance(twice, once) < EXACT
    assert sample(model("flow"), cfg=LAM, sampler=ours(method), sigmas=lists[1]).isfinite().all()
