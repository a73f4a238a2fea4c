"""Distilled Guidance on a tiny Flux: the embedding of every step, and the pair of two passes."""

import comfy.conds
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import comfy_extras.nodes_flux as host_flux
import pytest
import torch
from architectures import flux, schnell
from azimuth import guidance
from azimuth.nodes.engine import conditioning
from azimuth.nodes.look import report
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_model_advanced import RescaleCFG
from comfy_extras.nodes_perpneg import PerpNegGuider
from distilled_flux import AT, EXACT, HIGH, LOW, W, X, at_guidance, embedded, literal_pair, net, paired, run
from methods import BY_NAME, ELSEWHERE
from tiny import (
    alone,
    architecture,
    basic,
    custom,
    distance,
    initialise,
    model,
    noise,
    passes,
    predict,
    run_node,
    sample,
    scales,
    sigmas_of,
    tensor,
    text,
    watch,
)

ROWS = [pytest.param(method, i, id=f"{method.name}-{i}") for method in ELSEWHERE for i in range(len(method.neutral(1)))]


# ---- schedule


def test_the_model_hears_the_number_of_every_step(heard):
    run(embedded(guidance=guidance.Linear(5.0, 2.0)), steps=4)
    assert heard == [[5.0], [4.0], [3.0], [2.0]]


@pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])
def test_a_schedule_is_flux_guidance_step_by_step(make):
    steps = guidance.Steps((2.0, 6.0))
    sigmas = torch.tensor([0.9, 0.5, 0.1])
    seen = []
    run(watch(embedded(guidance=steps), seen), sigmas=sigmas, make=make)
    for args, value in zip(seen, steps.values, strict=True):
        expected = at_guidance(value, x=args["input"], sigma=args["sigma"][0].item())
        assert torch.equal(args["denoised"], expected)
    assert distance(seen[0]["denoised"], at_guidance(3.5, x=seen[0]["input"], sigma=0.9)) > 0.01


@pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])
def test_a_constant_is_flux_guidance_to_the_last_bit(make):
    theirs = run_node(host_flux.FluxGuidance, text(1), 2.5)
    expected = run(net(), positive=theirs)
    assert torch.equal(run(embedded(guidance=2.5), make=make), expected)
    assert distance(expected, run(net())) > 0.01


@pytest.mark.parametrize(("method", "i"), ROWS)
@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_a_neutral_setting_changes_nothing(method, i, cfg):
    neutral = method.off(net(), cfg)[i]
    assert torch.equal(run(neutral, cfg), run(net(), cfg))
    assert passes(neutral, cfg=cfg, x=X) == passes(net(), cfg=cfg, x=X)


def test_outside_its_window_the_conditionings_own_number_stands(heard):
    run(embedded(guidance=2.0, start=0.4, end=0.7), positive=text(1, guidance=5.0), steps=6)
    assert heard == [[5.0], [5.0], [2.0], [2.0], [5.0], [5.0]]


def test_two_windows_share_a_run(heard):
    twice = BY_NAME["distilled"].on(embedded(guidance=2.0, end=0.5), guidance=6.0, start=0.5)
    run(twice, steps=4)
    assert heard == [[2.0], [2.0], [6.0], [6.0]]


def test_with_a_negative_all_passes_hear_it_or_the_positive_alone(heard):
    how = {"cfg": 5.0, "steps": 1, "negative": text(2, guidance=1.0)}
    run(embedded(guidance=2.0), **how)
    run(embedded(guidance=2.0, passes="positive"), **how)
    run(BY_NAME["compose"].on(embedded(guidance=2.0)), **how)
    run(BY_NAME["compose"].on(embedded(guidance=2.0, passes="positive")), **how)
    assert [sorted(numbers) for numbers in heard] == [[2.0, 2.0], [1.0, 2.0], [2.0, 2.0, 2.0], [1.0, 2.0, 3.5]]


@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_a_schedule_costs_nothing(cfg):
    assert passes(embedded(), cfg=cfg, x=X) == passes(net(), cfg=cfg, x=X)


def test_a_corrector_hears_the_number_of_the_step_that_it_belongs_to(heard):
    run(embedded(guidance=guidance.Steps((5.0, 4.0, 3.0))), steps=3, sampler="heun")
    assert heard == [[5.0], [5.0], [4.0], [4.0], [3.0]]


def test_in_half_precision_the_model_hears_the_nearest_number_that_it_can():
    config = flux()
    config.set_inference_dtype(torch.bfloat16, None)
    half = comfy.model_patcher.ModelPatcher(
        initialise(config.get_model({}, device="cpu")).to(torch.bfloat16).eval(),
        comfy.model_management.get_torch_device(),
        torch.device("cpu"),
    )
    found = []
    half.model.diffusion_model.register_forward_pre_hook(
        lambda module, args, kwargs: found.append(kwargs["guidance"]), with_kwargs=True
    )
    run(BY_NAME["distilled"].on(half, guidance=guidance.Steps((3.51, 4.51))), steps=2)
    assert [g.dtype for g in found] == [torch.bfloat16] * 2
    assert [g.item() for g in found] == [3.515625, 4.5]  # the grid is 1/64 below 4, and 1/32 above


# ---- two passes


@pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])
def test_plain_cfg_of_the_pair_extends_the_line_of_the_two(make):
    low, high = at_guidance(LOW), at_guidance(HIGH)
    expected = low + (W - LOW) / (HIGH - LOW) * (high - low)
    assert distance(predict(paired(), cfg=1.0, make=make, **AT), expected) < EXACT
    assert distance(predict(paired(guidance=HIGH), cfg=1.0, make=make, **AT), high) < EXACT


def test_the_two_passes_are_one_batch_of_the_positive(heard):
    run(paired(), steps=2)
    assert [sorted(numbers) for numbers in heard] == [[LOW, HIGH]] * 2
    assert passes(paired(), cfg=1.0, x=X) == [2] * 6
    assert passes(paired(), make=basic, x=X) == [2] * 6
    assert passes(paired(start=0.2, end=0.7), cfg=1.0, x=X) == [1, 2, 2, 2, 1, 1]


RULES = {
    "adg": lambda c, u, w: guidance.angle_domain(c, u, scale=w),
    "apg_custom": lambda c, u, w: torch.lerp(u + w * (c - u), guidance.apg(c, u, scale=w, eta=0.2), 0.8),
    "mimic": lambda c, u, w: guidance.mimic_threshold(c, u, scale=w, mimic_scale=3.0, percentile=0.99),
    "imagen": lambda c, u, w: guidance.dynamic_threshold(u + w * (c - u), percentile=0.99),
}


@pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("first", [True, False], ids=["wired first", "wired last"])
def test_every_rule_acts_on_the_pair(name, first, make, said):
    patched = paired(BY_NAME[name].on(net())) if first else BY_NAME[name].on(paired())
    expected = RULES[name](*literal_pair(), W)
    assert distance(predict(patched, cfg=1.0, make=make, **AT), expected) < EXACT
    assert distance(predict(paired(), cfg=1.0, **AT), expected) > 1e-3
    assert not any("no effect" in sentence for sentence in said())


@pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])
def test_a_weight_stage_sets_the_weight_of_the_pair(make, said):
    patched = BY_NAME["scheduled_cfg"].on(paired(start=0.0, end=0.8), scale=guidance.Linear(7.0, 2.0))
    assert scales(patched, cfg=1.0, x=X, make=make) == [7.0, 6.0, 5.0, 4.0, 1.0, 1.0]
    assert any("in place of that of Distilled Guidance (Flux)" in sentence for sentence in said())


def test_a_schedule_is_the_weight_of_the_pair():
    weights = guidance.Linear(6.0, 1.0)
    assert scales(paired(guidance=weights), cfg=1.0, x=X) == pytest.approx([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    c, u = literal_pair()
    assert distance(predict(paired(guidance=1.001), cfg=1.0, **AT), c + 0.001 * (c - u)) < EXACT
    assert distance(predict(paired(guidance=0.0), cfg=1.0, **AT), u) < EXACT


def test_other_packs_see_the_pair():
    seen = []
    before = net().clone()
    before.set_model_sampler_pre_cfg_function(lambda args: seen.append(args["conds_out"]) or args["conds_out"])
    predict(paired(before), cfg=1.0, **AT)
    for ours, expected in zip(seen[0], literal_pair(), strict=True):
        assert distance(ours, expected) < EXACT
    rescaled = predict(RescaleCFG().patch(paired(), 0.7)[0], cfg=1.0, **AT)
    assert distance(rescaled, predict(paired(), cfg=1.0, **AT)) > 1e-3


def test_a_cfg_pp_sampler_reads_the_unconditional_prediction_of_the_pair():
    sigmas = torch.tensor([0.8, 0.5])
    pair = {"x": (1 - 0.8) * torch.zeros_like(X) + 0.8 * X, "sigma": 0.8}
    c, u = literal_pair(**pair)
    lam = 0.6
    ours = run(paired(guidance=lam), sigmas=sigmas, sampler="euler_cfg_pp")
    noise_of_u = (pair["x"] - (1 - 0.8) * u) / 0.8
    clean = u + lam * (c - u)
    expected = (1 - 0.5) * clean + 0.5 * noise_of_u
    last = net().model.process_latent_in(ours) * (1 - 0.5)  # the host divides the last state by 1 - t
    assert distance(last, expected) < EXACT


def test_a_further_negative_acts_on_the_pair(said):
    negative = text(3, guidance=1.0)
    patched = BY_NAME["compose"].on(paired(), negative=negative, weight=1.5)
    c, u = literal_pair()
    n = alone(negative, net(), **AT)
    assert distance(predict(patched, cfg=1.0, **AT), u + W * (c - u) - 1.5 * (n - u)) < EXACT
    assert passes(patched, make=basic, x=X, steps=2) == [3, 3]
    whole = BY_NAME["partial"].on(paired(), negative=negative, weight=1.0)
    assert distance(predict(whole, cfg=1.0, **AT), n + W * (c - n)) < EXACT
    assert not any("no effect" in sentence for sentence in said())


def test_a_negative_with_a_time_range_is_not_asked_for():
    negative = text(2, start_percent=0.0, end_percent=0.3)
    assert torch.equal(run(paired(), negative=negative), run(paired()))


def test_adapters_and_caches_see_two_different_passes_of_a_positive():
    seen = []

    def look(executor, *args, **kwargs):
        options = next(a for a in (*args, *kwargs.values()) if isinstance(a, dict) and "cond_or_uncond" in a)
        seen.append((options["cond_or_uncond"], options["uuids"]))
        return executor(*args, **kwargs)

    def looked_at(patched):
        patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "look", look)
        run(patched, steps=2)

    looked_at(paired())
    assert [roles for roles, _ in seen] == [[0, 0]] * 2
    assert len(set(seen[0][1])) == 2 and seen[0][1] == seen[1][1]
    seen.clear()
    looked_at(BY_NAME["compose"].on(paired()))
    assert [sorted(roles) for roles, _ in seen] == [[0, 0, 1]] * 2


def test_areas_of_the_positive_are_those_of_both_passes():
    halves = [*text(1, area=(8, 4, 0, 0)), *text(4, area=(8, 4, 0, 4))]

    def at(value):
        return predict(net(), cfg=1.0, positive=[[t, {**d, "guidance": value}] for t, d in halves], **AT)

    expected = at(LOW) + (W - LOW) / (HIGH - LOW) * (at(HIGH) - at(LOW))
    assert distance(predict(paired(), cfg=1.0, positive=halves, **AT), expected) < EXACT


# ---- where it cannot act


@pytest.mark.parametrize("mode", ["schedule", "two passes"])
@pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])
def test_a_model_without_the_embedding_is_left_alone_and_the_log_says_so(mode, make, said):
    for plain, x in ((architecture(schnell), X), (model("flow"), noise())):
        patched = BY_NAME["distilled"].on(plain, mode=mode)
        assert torch.equal(run(patched, x=x, make=make), run(plain, x=x, make=make))
        assert passes(patched, cfg=1.0, x=x, make=make) == passes(plain, cfg=1.0, x=x, make=make)
    about = [sentence for sentence in said() if "which has no guidance embedding" in sentence]
    assert len(about) == 4 and len(set(about)) == 1


@pytest.mark.parametrize("mode", ["schedule", "two passes"])
def test_a_model_without_the_embedding_is_not_told_to_change_its_cfg(mode, said):
    sample(BY_NAME["distilled"].on(model("flow"), mode=mode), cfg=5.0, steps=2)
    [sentence] = said()
    assert "which has no guidance embedding" in sentence and "set the sampler's cfg to 1" not in sentence


def test_chroma_has_none():
    assert "guidance_embed" not in comfy.supported_models.Chroma.unet_config
    assert issubclass(comfy.model_base.Chroma, comfy.model_base.Flux)


@pytest.mark.parametrize("mode", ["schedule", "two passes"])
def test_a_disabled_guidance_stays_disabled_and_the_log_says_so(mode, heard, said):
    disabled = run_node(host_flux.FluxDisableGuidance, text(1))
    patched = BY_NAME["distilled"].on(net(), mode=mode)
    assert torch.equal(run(patched, positive=disabled), run(net(), positive=disabled))
    assert set(map(str, heard)) == {"None"}
    assert len([sentence for sentence in said() if "guidance is disabled" in sentence]) == 1


def perp_neg(patched):
    return run_node(PerpNegGuider, patched, text(1), text(2), text(3), 1.0, 0.8)


def dual(patched):
    return run_node(custom.DualCFGGuider, patched, text(1), text(4), text(2), 1.0, 1.0, "regular")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"cfg": 5.0}, "at cfg 5, where the sampler's negative is contrasted"),
        ({"make": perp_neg}, "under the Perp-Neg Guider"),
        ({"make": dual}, "under the Dual CFG Guider"),
    ],
)
def test_where_a_negative_is_contrasted_there_is_no_pair_and_the_log_says_so(how, why, said):
    assert torch.equal(run(paired(), **how), run(net(), **how))
    assert passes(paired(), x=X, **how) == passes(net(), x=X, **how)
    assert len([sentence for sentence in said() if why in sentence]) == 2  # once in each of the two runs


def test_at_cfg_above_1_a_combine_rule_contrasts_the_samplers_negative():
    patched = BY_NAME["adg"].on(paired())
    c, u = (alone(text(i), net(), **AT) for i in (1, 2))
    assert distance(predict(patched, cfg=5.0, **AT), guidance.angle_domain(c, u, scale=5.0)) < EXACT


def test_two_pairs_are_refused():
    with pytest.raises(ValueError, match="one pair only"):
        paired(paired())


def test_a_schedule_that_two_passes_leave_no_step_says_so(said):
    def overruled():
        return [sentence for sentence in said() if "the schedule has no effect" in sentence]

    assert torch.equal(run(paired(embedded()), steps=3), run(paired(), steps=3))
    assert len(overruled()) == 1
    assert distance(run(paired(embedded(), end=0.5), steps=3), run(paired(end=0.5), steps=3)) > 1e-3
    assert len(overruled()) == 1


def test_low_must_be_below_high():
    with pytest.raises(ValueError, match=r"\(Flux\), input low: 3.5 is not below high"):
        paired(low=3.5)
    embedded(low=3.5)  # the schedule has no use for it


# ---- promises of the pipeline


def test_a_run_tells_what_it_does_once(said):
    run(embedded())
    run(paired(start=0.0, end=0.5))
    assert said() == [
        "Distilled Guidance (Flux): guidance embedding linear 5 to 2 (6 of 6 steps).",
        "Distilled Guidance (Flux): weight 4 from two passes, at guidance 1.5 and 3.5 while progress is 0 to 0.5; 3 of "
        "6 steps make two passes.",
    ]


@pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
def test_a_guider_run_twice_is_the_same(make, sampler):
    patched = BY_NAME["apg"].on(paired(embedded()))
    guider = (make or (lambda m: None))(patched)
    guider = guider or custom.CFGGuider.execute(patched, text(1), text(2), 1.0).args[0]
    kept = dict(guider.original_conds)
    first, second = (run(patched, guider=guider, sampler=sampler, steps=3) for _ in range(2))
    assert torch.equal(first, second) and torch.isfinite(first).all()
    assert guider.cfg == 1.0 and set(guider.original_conds) == set(kept)
    assert torch.equal(first, run(BY_NAME["apg"].on(paired(embedded())), make=make, sampler=sampler, steps=3))


@pytest.mark.parametrize("patched", [embedded, paired], ids=["schedule", "two passes"])
def test_a_sample_does_not_depend_on_its_neighbours(patched):
    x = torch.stack([tensor(i, 16, 8, 8) for i in range(3)])
    together = run(patched(), x=x, steps=3)
    one_by_one = torch.cat([run(patched(), x=x[i : i + 1], steps=3) for i in range(3)])
    plain = run(net(), x=x, steps=3)
    apart = torch.cat([run(net(), x=x[i : i + 1], steps=3) for i in range(3)])
    assert distance(together, one_by_one) <= 8 * max(distance(plain, apart), 1e-6)


def test_the_report_names_it_and_counts_its_passes():
    sigmas = sigmas_of(net(), 4)
    words = report.report(paired(embedded(), end=0.5), 1.0, sigmas)
    assert "Conditioning:\n  - Distilled Guidance (Flux): guidance embedding linear 5 to 2" in words
    assert "Pair, at cfg 1:\n  - Distilled Guidance (Flux): weight 4 from two passes" in words
    assert "Weights over 4 steps (euler, cfg 1): 4 4 1 1" in words and "Passes: 6 in place of 4" in words
    assert "Passes: 8 in place of 8" in report.report(paired(), 5.0, sigmas)
    assert "(no effect on this model" in report.report(BY_NAME["distilled"].on(model("flow")), 1.0, sigmas)


def test_conditionings_of_the_guider_are_never_written_to():
    regular = comfy.conds.CONDRegular(torch.tensor([3.5]))
    cond = {"model_conds": {"guidance": regular}, "uuid": 1}
    changed = conditioning.with_guidance(cond, 2.0)
    assert changed["model_conds"]["guidance"].cond.tolist() == [2.0]
    assert cond["model_conds"]["guidance"] is regular and regular.cond.tolist() == [3.5]
