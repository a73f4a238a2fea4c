"""Promise 2: other nodes' functions keep working beside ours, and none is replaced without a word."""

import comfy.samplers
import comfy.supported_models
import pytest
import torch
from architectures import dit
from azimuth import guidance
from azimuth.nodes.engine import pipeline
from azimuth.nodes.look import report
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_cfg import CFGZeroStar
from comfy_extras.nodes_slg import SkipLayerGuidanceDiT, SkipLayerGuidanceDiTSimple
from features import need
from methods import BY_NAME, METHODS, stack
from other_nodes import making_all_predictions, pag, rescale, tcfg
from tiny import (
    alone,
    architecture,
    custom,
    distance,
    model,
    passes,
    predict,
    sample,
    text,
    watch,
)

EXACT = 1e-4
W, S = 5.0, 1.5


def apg(patched):
    return APG.execute(patched, 0.5, 15.0, 0.0).args[0]


def zero_star(patched):
    return CFGZeroStar.execute(patched).args[0]


def once(patched, **how):
    """The first call's raw pair and result."""
    seen = []
    predict(watch(patched, seen), **how)
    return seen[0]["cond_denoised"], seen[0]["uncond_denoised"], seen[0]["denoised"]


FOREIGN = {"RescaleCFG": rescale, "PAG": pag, "TCFG": tcfg, "APG": apg, "CFG-Zero*": zero_star}
ADDING = BY_NAME["compose"]


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_a_further_negative_adds_to_what_stands(foreign, before):
    patched = ADDING.on(foreign(model())) if before else foreign(ADDING.on(model()))
    theirs = predict(foreign(model()))
    _, u, ours = once(patched)
    assert distance(theirs, predict(model())) > 1e-3
    expected = theirs - S * (alone(text(3)) - u)
    if foreign is zero_star and not before:
        return  # it reads no `denoised` of ours that it would not also change
    assert distance(ours, expected) < EXACT


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_schedule_is_what_foreign_functions_see(foreign):
    schedule = BY_NAME["scheduled_cfg"]
    expected = predict(foreign(model()), cfg=3.0)
    assert distance(predict(foreign(schedule.on(model(), scale=3.0))), expected) < 1e-6
    assert distance(predict(schedule.on(foreign(model()), scale=3.0)), expected) < 1e-6


def overriding(patched, cfg=3.0, end=1.0):
    need("CFG Override")
    return custom.CFGOverride.execute(patched, cfg, 0.0, end).args[0]


@pytest.mark.parametrize("name", ["scheduled_cfg", "cfgpp"])
def test_a_weight_of_ours_replaces_that_of_a_node_before_it_and_says_so(name, said):
    assert torch.equal(sample(BY_NAME[name].on(overriding(model()))), sample(BY_NAME[name].on(model())))
    [node] = pipeline.stages.of(BY_NAME[name].on(model()))
    assert [s for s in said() if f"another node sets the weight of some steps; {node.node} replaces it" in s]


def test_a_weight_of_a_node_after_ours_stands_and_ours_says_so(said):
    patched = overriding(BY_NAME["scheduled_cfg"].on(model()))
    assert torch.equal(sample(patched), sample(model(), cfg=3.0))
    lost = "Scheduled CFG has no effect on the steps of which another node sets the weight"
    assert len([s for s in said() if s.startswith(lost)]) == 1


def test_a_node_after_ours_that_sets_the_weight_takes_the_saving_from_adaptive_guidance(said):
    adaptive = BY_NAME["adaptive"]
    ours = sample(overriding(adaptive.on(model())))
    assert distance(ours, sample(adaptive.on(overriding(model())))) < 1e-5
    assert passes(overriding(adaptive.on(model()))) == [2] * 6
    assert [s for s in said() if s.startswith("Adaptive Guidance saves no pass on the steps")]


def test_what_has_no_weight_of_its_own_takes_that_of_another_node(said):
    for patched in (overriding(BY_NAME["compose"].on(model())), BY_NAME["compose"].on(overriding(model()))):
        assert distance(sample(patched), sample(BY_NAME["compose"].on(model()), cfg=3.0)) < 1e-5
    assert not [s for s in said() if "has no effect" in s]


def adg(c, u):
    return guidance.angle_domain(c, u, scale=W)


def test_a_combine_rule_replaces_a_foreign_cfg_function_and_says_so(said):
    patched = BY_NAME["adg"].on(rescale(model()))
    c, u, ours = once(patched)
    assert distance(ours, adg(c, u)) < 1e-6
    assert [s for s in said() if "replaces the cfg function RescaleCFG" in s]


@pytest.mark.parametrize(("foreign", "name"), [(pag, "PerturbedAttentionGuidance"), (zero_star, "CFGZeroStar")])
def test_a_combine_rule_keeps_what_earlier_post_functions_added_and_says_so(foreign, name, said):
    c, u, ours = once(BY_NAME["adg"].on(foreign(model())))
    added = predict(foreign(model())) - predict(model())
    assert added.abs().max() > 0.1
    assert distance(ours, adg(c, u) + added) < EXACT
    assert [s for s in said() if "keeps the difference made by" in s and name in s]


def test_a_combine_rule_replaces_both_where_they_cannot_be_told_apart_and_says_so(said):
    c, u, ours = once(BY_NAME["adg"].on(pag(rescale(model()))))
    assert distance(ours, adg(c, u)) < 1e-6
    assert [s for s in said() if "replaces the cfg function RescaleCFG" in s]
    assert [s for s in said() if "replaces the earlier post-CFG function PerturbedAttentionGuidance" in s]


def test_later_post_functions_run_after_ours():
    c, u, ours = once(pag(BY_NAME["adg"].on(model())))
    added = predict(pag(model())) - predict(model())
    assert distance(ours, adg(c, u) + added) < EXACT


def test_pre_cfg_functions_come_first():
    _, u, ours = once(BY_NAME["adg"].on(tcfg(model())))
    assert distance(u, alone(text(2))) > 1e-3
    assert distance(ours, adg(alone(text(1)), u)) < EXACT


def test_a_neutral_combine_rule_replaces_nothing_and_says_nothing(said):
    patched = BY_NAME["adg"].on(pag(rescale(model())), strength=0.0)
    assert torch.equal(sample(patched), sample(pag(rescale(model()))))
    assert not said()


@pytest.mark.parametrize("name", [m.name for m in METHODS])
def test_foreign_functions_that_watch_are_all_called(name):
    calls = []

    def pre(args):
        calls.append("pre")
        return args["conds_out"]

    def post(args):
        calls.append("post")
        return args["denoised"]

    patched = model().clone()
    patched.set_model_sampler_pre_cfg_function(pre)
    patched.set_model_sampler_post_cfg_function(post)
    patched = BY_NAME[name].on(patched)
    patched.set_model_sampler_post_cfg_function(lambda args: post(args))
    sample(patched)
    assert calls == ["pre", "post", "post"] * 6


@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_skip_layer_guidance(before):
    def slg(patched):
        return SkipLayerGuidanceDiT.execute(patched, 2.0, 0.0, 1.0, double_layers="0", single_layers="").args[0]

    net, sigma = architecture(dit), 0.7
    at = {"sigma": sigma, "x": torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))}
    added = predict(slg(net), **at) - predict(net, **at)
    assert added.abs().max() > 1e-3
    patched = BY_NAME["adg"].on(slg(net)) if before else slg(BY_NAME["adg"].on(net))
    c, u, ours = once(patched, **at)
    assert distance(ours, adg(c, u) + added) < EXACT
    negative = BY_NAME["compose"].on(slg(net)) if before else slg(BY_NAME["compose"].on(net))
    c, u, ours = once(negative, **at)
    n = alone(text(3), patched=net, **at)
    assert distance(ours, u + W * (c - u) - S * (n - u) + added) < EXACT


def test_the_simple_form_of_skip_layer_guidance_evaluates_our_negative_too():
    net = architecture(dit)
    at = {"sigma": 0.7, "x": torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))}
    slg = SkipLayerGuidanceDiTSimple.execute(net, 0.0, 1.0, double_layers="0", single_layers="").args[0]
    _, u, ours = once(ADDING.on(slg), **at)
    n = alone(text(3), patched=net, **at)
    assert distance(ours, predict(slg, **at) - S * (n - u)) < EXACT


def test_a_node_that_makes_the_predictions_itself_is_named(said):
    patched = making_all_predictions(ADDING.on(model()))
    assert torch.equal(sample(patched, steps=3), sample(model(), steps=3))
    assert len([s for s in said() if "Negative Guidance has no effect" in s]) == 1


def test_pag_does_not_pay_for_our_negatives():
    assert passes(ADDING.on(pag(model()))) == [3, 1] * 6
    assert passes(pag(ADDING.on(model()))) == [3, 1] * 6


# ---- what is installed


FOUR = ("scheduled_cfg", "compose", "mimic", "imagen")


def test_four_stages_leave_one_hook_of_each_kind():
    patched = stack(pag(model()), *FOUR)
    for place in WrappersMP.__dict__.values():
        if isinstance(place, str) and patched.get_wrappers(place, pipeline.KEY):
            assert patched.get_wrappers(place, pipeline.KEY) == [pipeline.WRAPPERS[place]]
    for place in pipeline.WRAPPERS:
        assert len(patched.get_wrappers(place, pipeline.KEY)) == 1
    functions = patched.model_options["sampler_post_cfg_function"]
    assert functions.count(pipeline.guide) == 1
    assert len(functions) == 2
    assert len(pipeline.stages.of(patched)) == 4


def test_one_run_calls_each_hook_once(monkeypatch):
    calls = []
    patched = stack(model(), *FOUR)
    for place, wrapper in pipeline.WRAPPERS.items():

        def count(executor, *args, place=place, wrapper=wrapper, **kwargs):
            calls.append(place)
            return wrapper(executor, *args, **kwargs)

        patched.wrappers[place][pipeline.KEY] = [count]
    sample(patched, steps=1)
    assert sorted(calls) == sorted(pipeline.WRAPPERS)


def test_siblings_do_not_share_stages():
    trunk = BY_NAME["scheduled_cfg"].on(model(), scale=3.0)
    left, right = BY_NAME["adg"].on(trunk), BY_NAME["compose"].on(trunk)
    assert [stage.node for stage in pipeline.stages.of(trunk)] == ["Scheduled CFG"]
    assert len(pipeline.stages.of(left)) == len(pipeline.stages.of(right)) == 2
    assert not model().model_options.get(pipeline.stages.OPTION)
    before = sample(trunk)
    sample(left)
    sample(right)
    assert torch.equal(sample(trunk), before)
    assert torch.equal(before, sample(model(), cfg=3.0))


@pytest.mark.parametrize(("first", "second"), [("adg", "mimic"), ("mimic", "adg"), ("adg", "rotation")])
def test_two_combine_rules_are_an_error_that_names_both(first, second):
    with pytest.raises(ValueError) as error:
        stack(model(), first, "compose", second)
    for name in (first, second):
        assert pipeline.stages.of(BY_NAME[name].on(model()))[0].node in str(error.value)


@pytest.mark.parametrize(("first", "second"), [("cfgpp", "scheduled_cfg"), ("scheduled_cfg", "cfgpp")])
def test_cfgpp_and_a_schedule_are_an_error_that_names_both(first, second):
    with pytest.raises(ValueError, match=r"(?s)CFG\+\+.*Scheduled CFG|Scheduled CFG.*CFG\+\+"):
        stack(model(), first, second)


def test_two_schedules_stack_and_the_later_wins_inside_its_window():
    early = BY_NAME["scheduled_cfg"].on(model(), scale=3.0)
    both = BY_NAME["scheduled_cfg"].on(early, scale=7.0, start=0.5, outside="sampler cfg")
    seen = []
    sample(watch(both, seen))
    assert [args["cond_scale"] for args in seen] == [3.0, 3.0, 3.0, 7.0, 7.0, 7.0]


def test_what_is_in_the_model_options_survives_the_hosts_copies():
    patched = stack(model(), *FOUR)
    copied = comfy.model_patcher.create_model_options_clone(patched.model_options)
    assert copied[pipeline.stages.OPTION] is patched.model_options[pipeline.stages.OPTION]
    assert pipeline.stages.of(patched.clone().clone()) == pipeline.stages.of(patched)


def test_the_report_names_every_stage_and_every_foreign_function():
    words = report.report(stack(pag(rescale(model())), *FOUR), 7.0)
    for stage in pipeline.stages.of(stack(model(), *FOUR)):
        assert stage.node in words
    assert "RescaleCFG (replaced)" in words
    assert "PerturbedAttentionGuidance (runs before Azimuth)" in words
