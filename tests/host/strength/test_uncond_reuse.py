"""Uncond Reuse: the passes it leaves out are really not made, and what stands for them is what it says."""

import itertools

import comfy.model_sampling
import comfy.samplers
import node_helpers
import pytest
import torch
from architectures import flux, packed, video
from attached import control_net, lora
from azimuth import guidance
from azimuth.nodes.engine import stages
from azimuth.nodes.look import report
from comfy_extras.nodes_sag import SelfAttentionGuidance
from context_windows import windowed
from interrupted import interrupt
from methods import BY_NAME, stack
from other_nodes import making_all_predictions, pag
from packed_latents import sample_pair
from tiny import (
    alone,
    architecture,
    base_model,
    basic,
    cfg_guider,
    distance,
    dual,
    dual_model,
    model,
    noise,
    passes,
    perp_neg,
    run_node,
    sample,
    sigmas_of,
    tensor,
    text,
    turns,
    watch,
)

STEPS, W, S = 6, 5.0, 1.5
EXACT = 1e-4
LOGGED = "Uncond Reuse skipped"


def reusing(patched, every=2, frozen="x0", start=0.0, end=1.0):
    return BY_NAME["uncond_reuse"].on(patched, every=every, frozen=frozen, start=start, end=end)


class Direct(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.X0):
    pass


# ---- an independent reference: the host makes every pass, and a hand puts the held ones in their place


def unit(frozen, kind, sigma):
    """How much of what is held there is in one unit of a difference of x0."""
    if frozen == "x0":
        return 1.0
    if kind == "flow":
        return (1 - sigma) / sigma if frozen == "eps" else 1 / sigma
    return 1 / sigma if frozen == "eps" else (1 + sigma**2) ** 0.5 / sigma


@pytest.fixture
def by_hand(monkeypatch):
    """by_hand(full, sigmas, ...): from now on the host's predictions are those of a run whose steps with these indices
    make all passes."""
    original = comfy.samplers.calc_cond_batch

    def install(full, sigmas, frozen="x0", kind="eps", positive=0, sampler="euler"):
        calls = itertools.cycle(turns(sampler, len(sigmas) - 1))
        held, found = {}, {}

        def calculate(net, conds, x, timestep, options):
            out = original(net, conds, x, timestep, options)
            if conds[positive] is None or len(conds) == 1:
                return out
            sigma = timestep[0].item()
            step, begins = next(calls)
            if begins:
                held.update(found)
            others = [i for i, cond in enumerate(conds) if cond is not None and i != positive]
            if step in full:
                if begins:
                    found.update({i: (sigma, out[positive] - out[i]) for i in others})
                return out
            for i in others:
                last, difference = held[i]
                share = unit(frozen, kind, last) / unit(frozen, kind, sigma)
                out[i] = out[positive] - share * difference
            return out

        monkeypatch.setattr(comfy.samplers, "calc_cond_batch", calculate)

    yield install
    monkeypatch.undo()


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("frozen", ["x0", "eps", "velocity"])
def test_it_is_the_run_that_holds_a_difference_by_hand(kind, frozen, by_hand):
    sigmas = sigmas_of(model(kind), 8)[1:]  # eps of a flow model at t = 1 has a rule of its own
    ours = sample(reusing(model(kind), 3, frozen), sigmas=sigmas)
    plain = sample(model(kind), sigmas=sigmas)
    by_hand({0, 3, 6}, sigmas, frozen, kind)
    assert distance(ours, sample(model(kind), sigmas=sigmas)) < EXACT
    assert distance(ours, plain) > 1e-2


@pytest.mark.parametrize(
    ("kind", "quantity"), [("eps", "eps"), ("v", "velocity"), ("edm", "velocity"), ("flow", "velocity")]
)
def test_by_itself_it_holds_what_the_model_predicts(kind, quantity):
    assert torch.equal(sample(reusing(model(kind), 2, "auto")), sample(reusing(model(kind), 2, quantity)))
    others = {"eps", "velocity", "x0"} - {quantity}
    for other in others:
        assert distance(sample(reusing(model(kind), 2, other)), sample(reusing(model(kind), 2, "auto"))) > 1e-3


def test_a_model_that_predicts_x0_holds_that():
    patched = model().clone()
    patched.add_object_patch("model_sampling", Direct(base_model().model_config))
    assert torch.equal(sample(reusing(patched, 2, "auto")), sample(reusing(patched, 2, "x0")))


def test_eps_of_a_flow_model_from_pure_noise_is_held_as_x0_until_the_next_full_step(by_hand):
    sigmas = sigmas_of(model("flow"), 4)
    assert sigmas[0] == 1.0
    ours = sample(reusing(model("flow"), 2, "eps"), sigmas=sigmas[:3])
    by_hand({0}, sigmas[:3], "x0", "flow")
    assert distance(ours, sample(model("flow"), sigmas=sigmas[:3])) < EXACT


@pytest.mark.parametrize("sampler", ["heun", "dpm_2", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m", "res_multistep"])
@pytest.mark.filterwarnings("ignore:Should have t")
def test_a_second_call_of_a_step_does_as_the_first(sampler, by_hand):
    patched = reusing(model(), 2, "eps", start=0.2)
    ours, counted = sample(patched, sampler=sampler), passes(patched, sampler=sampler)
    every_call = passes(model(), sampler=sampler)
    by_hand({0, 1, 3, 5}, sigmas_of(model()), "eps", sampler=sampler)
    assert distance(ours, sample(model(), sampler=sampler)) < EXACT
    assert len(counted) == len(every_call) and set(counted) == {1, 2}


def test_heun_makes_all_passes_at_both_calls_of_a_full_step_and_one_at_both_of_another():
    assert passes(reusing(model()), sampler="heun") == [2, 2, 1, 1, 2, 2, 1, 1, 2, 2, 1]


@pytest.mark.parametrize(
    "sampler", ["euler_cfg_pp", "euler_ancestral_cfg_pp", "dpmpp_2m_cfg_pp", "res_multistep_cfg_pp"]
)
@pytest.mark.parametrize("cfg", [W, 1.0])
def test_a_cfg_pp_sampler_reads_the_reused_negative(sampler, cfg, by_hand, said):
    patched = reusing(model(), 2, "eps")
    assert passes(patched, sampler=sampler, cfg=cfg) == [2, 1] * 3
    ours = sample(patched, sampler=sampler, cfg=cfg)
    assert not any("no effect" in sentence for sentence in said())
    by_hand({0, 2, 4}, sigmas_of(model()), "eps")
    assert distance(ours, sample(model(), sampler=sampler, cfg=cfg)) < EXACT


# ---- passes


def test_every_nth_step_of_the_window_makes_all_passes_and_its_first_one_does(said):
    assert passes(reusing(model(), 2)) == [2, 1, 2, 1, 2, 1]
    assert passes(reusing(model(), 3)) == [2, 1, 1, 2, 1, 1]
    assert passes(reusing(model(), 20)) == [2, 1, 1, 1, 1, 1]
    assert passes(reusing(model(), 3, start=0.4)) == [2, 2, 2, 1, 1, 2]
    assert passes(reusing(model(), 20, start=0.2, end=0.7)) == [2, 2, 1, 1, 2, 2]
    assert passes(reusing(model(), 1)) == [2] * 6
    assert [s for s in said() if LOGGED in s] == [
        f"{LOGGED} {n} of {m} negative passes." for n, m in ((3, 6), (4, 6), (5, 6), (2, 4), (2, 3))
    ]


def test_steps_that_make_no_negative_pass_are_not_counted_and_what_is_too_old_is_not_used(said):
    weights = guidance.Steps((4.0, 4.0, 1.0, 4.0, 1.0, 4.0))
    patched = BY_NAME["scheduled_cfg"].on(reusing(model()), scale=weights)
    assert passes(patched) == [2, 1, 1, 2, 1, 2]
    assert passes(BY_NAME["scheduled_cfg"].on(reusing(model(), 3), scale=weights)) == [2, 1, 1, 2, 1, 1]
    assert f"{LOGGED} 1 of 4 negative passes." in said() and f"{LOGGED} 2 of 4 negative passes." in said()


def test_at_cfg_1_there_is_nothing_to_reuse_and_it_says_so(said):
    patched = reusing(model())
    assert torch.equal(sample(patched, cfg=1.0), sample(model(), cfg=1.0))
    assert passes(patched, cfg=1.0) == [1] * 6
    assert any("Uncond Reuse has no effect at weight 1" in s for s in said())


def test_a_negative_whose_time_range_has_ended(said):
    negative = text(2, start_percent=0.0, end_percent=0.5)
    patched = reusing(model())
    assert passes(patched, negative=negative) == [2, 1, 2, 1, 1, 1]
    assert f"{LOGGED} 1 of 3 negative passes." in said()


def test_areas_masks_hooks_and_controls_of_the_negative_are_in_its_difference(by_hand):
    control = control_net().set_cond_hint(tensor(8, 1, 3, 64, 64), 0.3)
    negatives = {
        "area": text(2, area=(4, 8, 0, 0)) + text(3),
        "mask": text(2, mask=torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))) + text(3),
        "hook": text(2, hooks=lora()),
        "control": node_helpers.conditioning_set_values(text(2), {"control": control}),
    }
    ours = {name: sample(reusing(model(), 2, "eps"), negative=n) for name, n in negatives.items()}
    assert sum(passes(reusing(model()), negative=negatives["hook"])) == 9
    by_hand({0, 2, 4}, sigmas_of(model()), "eps")
    for name, negative in negatives.items():
        assert distance(ours[name], sample(model(), negative=negative)) < EXACT, name


def test_packed_latents(by_hand):
    sampled = sample_pair(reusing(architecture(packed), 2, "velocity"), steps=4)
    by_hand({0, 2}, sigmas_of(architecture(packed), 4), "velocity", "flow")
    for ours, theirs in zip(sampled.unbind(), sample_pair(architecture(packed), steps=4).unbind(), strict=True):
        assert distance(ours, theirs) < EXACT


def test_a_run_that_starts_late_starts_with_all_passes():
    assert passes(reusing(model(), 3), sigmas=sigmas_of(model(), 8)[4:]) == [2, 1, 1, 2]


def test_unsampling():
    sigmas = torch.cat([torch.tensor([0.1]), sigmas_of(model(), 4).flip(0)[1:]])
    start = {"x": torch.zeros_like(noise()), "latent": noise(), "sigmas": sigmas}
    assert passes(reusing(model()), **start) == [2, 1, 2, 1]
    assert torch.isfinite(sample(reusing(model(), frozen="velocity"), **start)).all()


def test_a_sampler_that_goes_back_makes_all_passes_there():
    def restart(net, x, sigmas, extra_args=None, callback=None, disable=None):
        for i in (0, 1, 0, 1, 2, 3, 1, 2, 3, 4):
            x = net(x, sigmas[i].expand(x.shape[0]).clone(), **extra_args) + 0 * x
        return x

    with torch.no_grad():
        batches = passes(reusing(model(), 3), sampler=comfy.samplers.KSAMPLER(restart))
    assert batches == [2, 1, 2, 1, 1, 2, 2, 1, 1, 2]


def test_an_interrupted_run_says_what_it_had_left_out_and_leaves_nothing_behind(said):
    patched = reusing(model())
    fresh = sample(patched)
    interrupt(patched, 3)
    assert said()[-1] == f"{LOGGED} 2 of 4 negative passes."
    assert torch.equal(sample(patched), fresh) and torch.equal(sample(patched), fresh)


# ---- with other stages


@pytest.mark.parametrize("name", ["adg", "apg_custom", "scheduled_cfg", "rescale", "tcfg", "tangential", "momentum"])
@pytest.mark.parametrize("first", [True, False], ids=["before it", "behind it"])
def test_other_stages_see_the_reused_pair_at_the_weight_of_the_step(name, first, by_hand):
    if first:
        patched = reusing(stack(model(), name), 2, "eps")
    else:
        patched = stack(reusing(model(), 2, "eps"), name)
    ours = sample(patched)
    assert passes(patched) == [2, 1] * 3
    by_hand({0, 2, 4}, sigmas_of(model()), "eps")
    assert distance(ours, sample(stack(model(), name))) < EXACT


def differences(seen):
    return [args["cond_denoised"] - args["uncond_denoised"] for args in seen]


def predict_alone(conditioning, args):
    return alone(conditioning, x=args["input"], sigma=args["sigma"][0].item())


def perpendicular(c, u, n):
    p, q = c - u, n - u
    return u + W * p - W * S * (q - (q * p).sum() / (p * p).sum() * p)


FORMULAS = {
    "compose": lambda c, u, n: u + W * (c - u) - S * (n - u),
    "perpendicular": perpendicular,
    "partial": lambda c, u, n: c + (W - 1) * (c - (u + n) / 2),
}


@pytest.mark.parametrize("mode", ["compose", "perpendicular", "partial"])
def test_further_negatives_are_reused_as_the_main_one_is(mode):
    patched = BY_NAME[mode].on(model())
    ours = reusing(patched, 3, "eps")
    assert passes(patched) == [3] * 6
    assert passes(ours) == [3, 1, 1] * 2
    seen = []
    sample(watch(ours, seen))
    full = seen[0]
    c, u, n = (full["cond_denoised"], full["uncond_denoised"], predict_alone(text(3), full))
    for args in seen[1:3]:
        share = args["sigma"][0] / full["sigma"][0]
        c_now = args["cond_denoised"]
        assert distance(c_now, predict_alone(text(1), args)) < EXACT
        expected = FORMULAS[mode](c_now, c_now - share * (c - u), c_now - share * (c - n))
        assert distance(args["denoised"], expected) < EXACT


def test_a_further_negative_that_was_not_predicted_with_the_last_ones_makes_a_full_step():
    late = BY_NAME["compose"].on(model(), start=0.4)
    assert passes(reusing(late, 4)) == [2, 1, 3, 1, 1, 1]
    ended = BY_NAME["compose"].on(model(), end=0.4)
    assert passes(reusing(ended, 4)) == [3, 1, 1, 1, 2, 1]


def test_a_whole_partial_negative_is_another_negative():
    delayed = BY_NAME["partial"].on(model(), weight=1.0, start=0.4)
    assert passes(delayed) == [2] * 6
    assert passes(reusing(delayed, 6)) == [2, 1, 2, 1, 1, 1]


def test_terms_of_ours_and_of_other_nodes_keep_their_passes(by_hand, said):
    assert passes(stack(reusing(model()), "pag")) == [2, 1, 1, 1] * 3
    assert passes(pag(reusing(model()))) == [2, 1, 1, 1] * 3
    ours = sample(reusing(pag(model())))
    named = [s for s in said() if "see the reused one" in s]
    assert len(named) == 2 and all("PerturbedAttentionGuidance" in s for s in named)
    by_hand({0, 2, 4}, sigmas_of(model()))
    # PAG evaluates the positive alone, which the hand leaves as it is.
    assert distance(ours, sample(pag(model()))) < EXACT


def test_foreign_cfg_functions_see_the_weight_of_the_step():
    scales = []

    def cfg_function(args):
        scales.append((args["cond_scale"], args["uncond"].abs().max() > 0, args["input_uncond"] is not None))
        return args["uncond"] + args["cond_scale"] * (args["cond"] - args["uncond"])

    patched = model().clone()
    patched.set_model_sampler_cfg_function(cfg_function)
    assert distance(sample(reusing(patched)), sample(reusing(model()))) < EXACT
    assert scales == [(W, True, True)] * 6


def test_beside_adaptive_guidance_only_what_was_predicted_is_measured(said):
    both = stack(reusing(model(), 3), "adaptive")
    assert passes(both) == [2, 1, 1, 1, 1, 1]
    assert "Adaptive Guidance skipped 5 of 6 negative passes." in said()
    late = BY_NAME["adaptive"].on(reusing(model(), 2), start=0.5)
    # Index 3 is in the window, but reused; what is predicted at 4 settles, and counts from 5 on.
    assert passes(late) == [2, 1, 2, 1, 2, 1]
    assert "Adaptive Guidance skipped 1 of 6 negative passes." in said()
    assert f"{LOGGED} 2 of 5 negative passes." in said()
    # Behind the window of the one, all that the other sees is predicted.
    assert passes(BY_NAME["adaptive"].on(reusing(model(), 2, end=0.4), start=0.5)) == [2, 1, 2, 2, 1, 1]


def test_batches_hold_a_difference_for_each_sample():
    patched = reusing(model(), 3, "velocity")
    together = sample(patched, x=noise(3))
    for i in range(3):
        assert distance(together[i : i + 1], sample(patched, x=noise(3)[i : i + 1])) < EXACT
    assert passes(patched, x=noise(3)) == [6, 3, 3] * 2


def test_a_video_in_context_windows():
    net = windowed(architecture(video))
    how = {"x": tensor(5, 1, 16, 8, 4, 4), "steps": 4}
    full = passes(net, **how)
    halves = len(full) // 4
    assert full == [2] * 4 * halves
    assert passes(reusing(net), **how) == ([2] * halves + [1] * halves) * 2
    assert passes(windowed(reusing(architecture(video))), **how) == ([2] * halves + [1] * halves) * 2


def test_the_two_passes_of_distilled_guidance():
    net = architecture(flux)
    how = {"x": tensor(1, 1, 16, 8, 8), "cfg": 1.0, "steps": 4, "sigmas": sigmas_of(net, 5)[1:]}
    patched = reusing(BY_NAME["distilled_pair"].on(net), 2, "velocity")
    assert passes(patched, **how) == [2, 1, 2, 1]
    seen = []
    sample(watch(patched, seen), **how)
    for i in (1, 3):
        share = seen[i]["sigma"][0] / seen[i - 1]["sigma"][0]
        assert distance(differences(seen)[i], share * differences(seen)[i - 1]) < EXACT
        assert seen[i]["cond_scale"] == 4.0


# ---- who wants the pass itself


def test_self_attention_guidance_looks_into_the_negatives_pass(said):
    patched = BY_NAME["sag"].on(reusing(model()), start=0.0, end=0.5)
    assert passes(patched) == [2, 1] * 3 + [2, 1, 2]
    assert len([s for s in said() if "leaves no pass out beside Self-Attention Guidance" in s]) == 1
    assert not any("has no effect" in s for s in said())


def test_so_does_the_hosts_and_every_node_that_asks_for_the_negative_at_cfg_1(said):
    theirs = run_node(SelfAttentionGuidance, model(), 0.5, 2.0)
    assert torch.equal(sample(reusing(theirs)), sample(theirs))
    assert passes(reusing(theirs)) == passes(theirs)
    assert len([s for s in said() if "leaves no pass out beside a node that asks" in s]) == 2
    assert not any(LOGGED in s for s in said())


def test_a_node_that_makes_the_predictions_itself_is_named(said):
    patched = making_all_predictions(reusing(model()))
    assert torch.equal(sample(patched, steps=3), sample(model(), steps=3))
    about = [s for s in said() if "leaves no pass out beside" in s]
    assert len(about) == 1 and "make_them_all" not in about[0] and "of another node" in about[0]


# ---- guiders


@pytest.mark.parametrize(
    ("make", "count", "positive"),
    [
        (cfg_guider(), 2, 0),
        (perp_neg(), 3, 0),
        (perp_neg(neg_scale=0.0), 2, 0),
        (dual("regular"), 3, 2),
        (dual("nested"), 3, 2),
    ],
    ids=["CFG Guider", "Perp-Neg", "Perp-Neg without negative", "Dual CFG", "Dual CFG nested"],
)
def test_under_every_guider_of_one_model_the_positive_alone_is_predicted_between(make, count, positive, by_hand, said):
    patched = reusing(model(), 2, "eps")
    ours = sample(patched, make=make, steps=4)
    assert passes(patched, make=make, steps=4) == [count, 1] * 2
    assert f"{LOGGED} {2 * (count - 1)} of {4 * (count - 1)} negative passes." in said()
    by_hand({0, 2}, sigmas_of(model(), 4), "eps", positive=positive)
    assert distance(ours, sample(model(), make=make, steps=4)) < EXACT


@pytest.mark.parametrize(
    ("make", "name"), [(dual_model(), "Dual Model CFG Guider"), (basic, "Basic Guider")], ids=["Dual Model", "Basic"]
)
def test_under_the_others_it_says_that_it_has_no_effect(make, name, said):
    patched = reusing(model())
    assert torch.equal(sample(patched, make=make, steps=3), sample(model(), make=make, steps=3))
    assert passes(patched, make=make, steps=3) == passes(model(), make=make, steps=3)
    assert len([s for s in said() if f"Uncond Reuse has no effect under the {name}" in s]) == 2


# ---- words


def test_two_of_them_are_an_error():
    with pytest.raises(ValueError, match="already carries Uncond Reuse"):
        reusing(reusing(model()))


@pytest.mark.parametrize("bad", [0, 21, 1.5, "2", None, True, float("nan")], ids=str)
def test_a_number_of_steps_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match="Uncond Reuse, input every"):
        reusing(model(), every=bad)


def test_the_report_says_what_is_held():
    words = report.report(reusing(model(), 3, "velocity", start=0.2), 7.0, sigmas_of(model(), 3))
    assert "predicted at one step in 3, its difference in velocity held between while progress is 0.2 to 1" in words
    assert "before Uncond Reuse skips any" in words
    assert isinstance(stages.of(reusing(model()))[0], stages.Reuse)
