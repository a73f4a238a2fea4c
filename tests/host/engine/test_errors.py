"""Bad input: refused where it can be known, in a sentence that helps; and everything is as it was afterwards."""

import inspect
import math
import re

import azimuth.nodes
import comfy.samplers
import pytest
import torch
from azimuth import guidance
from azimuth.nodes.engine import pipeline, stages
from azimuth.nodes.engine.run import RUN
from azimuth.nodes.look import report
from azimuth.nodes.strength import schedule
from comfy.patcher_extension import WrappersMP
from comfy_api.latest import io
from methods import BY_NAME, ELSEWHERE, METHODS, stack
from places import CHOICES, NUMBERS, PLACES, SCHEDULED, once, options
from tiny import count_passes, guider_of, model, noise, run_node, sample, sigmas_of, text

from specimens.rules.dynamic_thresholding import MIMIC


def each(places):
    return pytest.mark.parametrize("place", places, ids=lambda place: place.id)


def names(error, place):
    return place.node in str(error.value) and f"input {place.name}" in str(error.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "7", None, [7.0], True, 7j], ids=str)
@each(NUMBERS)
def test_what_is_no_number_is_refused_in_the_node(place, bad):
    with pytest.raises(ValueError) as error:
        place.on(model(), bad)
    assert names(error, place) and guidance.quoted(bad) in str(error.value)


@each(NUMBERS)
def test_what_is_out_of_range_is_refused_with_the_limits(place):
    low, high = place.range
    for bad in (low - 0.1, high + 0.1):
        with pytest.raises(ValueError) as error:
            place.on(model(), bad)
        assert names(error, place) and f"{low:g} to {high:g}" in str(error.value)
    for good in (low, high):
        try:
            place.on(model(), good)
        except ValueError as refused:  # beside another number, as a start at 1 is before an end at 0.8
            assert names_another(str(refused), place)


def names_another(words, place):
    """Whether a refusal is about two numbers of a node."""
    others = {other.name for other in NUMBERS if other.method is place.method} - {place.name}
    return "out of range" not in words and any(re.search(rf"\b{other}\b", words) for other in others)


@each(CHOICES)
def test_an_option_that_does_not_exist_is_refused_with_those_that_do(place):
    left_out = place.group and place.given.optional  # the host fills in None for it
    for bad in ("upside down",) if left_out else ("upside down", None):
        with pytest.raises(ValueError) as error:
            place.on(model(), bad)
        assert names(error, place) and (repr(bad) if bad else "no option that it knows") in str(error.value)
        assert [option for option in options(place) if option not in str(error.value)] == []


def first_of_each_node(methods):
    return {method.node: method for method in reversed(methods)}.values()


def inputs_of(node):
    return {given.id for given in node.define_schema().inputs}


PRESETS = [method for method in first_of_each_node(METHODS) if "preset" in inputs_of(method.node)]


@pytest.mark.parametrize("method", PRESETS, ids=lambda method: method.node.__name__)
def test_a_preset_that_does_not_exist_is_refused_with_those_that_do(method):
    rest = {} if method.group else method.acting
    for chosen in ({"preset": "upside down"}, None):
        with pytest.raises(ValueError, match="input preset: (there is|got) no .*; choose one of .*, custom"):
            run_node(method.node, model(), **{**rest, "preset": chosen})


WINDOWED = [method for method in first_of_each_node(METHODS + ELSEWHERE) if {"start", "end"} <= inputs_of(method.node)]


@pytest.mark.parametrize("method", WINDOWED, ids=lambda method: method.node.__name__)
def test_a_window_that_starts_after_its_end_is_refused_before_the_run_and_in_it(method):
    node = method.node
    with pytest.raises(ValueError, match=r"input start: .*0\.8.*0\.2") as before:
        node.validate_inputs(start=0.8, end=0.2)
    with pytest.raises(ValueError) as error:
        method.on(model(), start=0.8, end=0.2)
    assert str(error.value) == str(before.value)
    assert node.validate_inputs(start=0.2, end=0.8) is True
    assert node.validate_inputs(start=None, end=0.1) is True  # start is linked
    for bad in (math.nan, -0.1, 1.1, "0"):
        with pytest.raises(ValueError, match="input end"):
            method.on(model(), end=bad)


@pytest.mark.parametrize("name", [m.name for m in METHODS if "negative" in m.acting])
def test_an_empty_conditioning_is_refused(name):
    with pytest.raises(ValueError, match="input negative: the conditioning is empty") as error:
        BY_NAME[name].on(model(), negative=[])
    assert stages.of(BY_NAME[name].on(model()))[0].node in str(error.value)


BLOCKS = [place for place in PLACES if place.name == "blocks"]


@pytest.mark.parametrize("bad", ["", "  ", None, 7, "seven", "7,", "9-7", "middle", "input 4; 5", "0-5000"], ids=repr)
def test_blocks_that_name_nothing_are_refused(bad):
    assert {place.method.name for place in BLOCKS} >= {"pag", "seg", "tpg", "slg"}
    for place in BLOCKS:
        with pytest.raises(ValueError, match="input blocks.*(write|first)"):
            place.on(model(), bad)


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"count": 0}, "input count: 0 is out of range"),
        ({"count": 1.5}, "input count: got 1.5"),
        ({"seed": -1}, "input seed: -1 is out of range"),
        ({"preset": "upside down"}, "input preset: there is no 'upside down'; choose one of SLG: SD3.5 medium, "),
        ({"preset": None}, "input preset"),
    ],
)
def test_a_choice_of_blocks_that_cannot_be_is_refused(changes, about):
    with pytest.raises(ValueError) as error:
        BY_NAME["s2"].on(model(), **changes)
    assert about in str(error.value)


# ---- what only a run can know


REFUSED = [
    ("scheduled_cfg", {"scale": guidance.Steps((7.0, 5.0))}, "Scheduled CFG, input scale", "2 values.*6 steps"),
    ("compose", {"weight": guidance.Steps((1.0,) * 7)}, "Negative Guidance, input weight", "7 values.*6 steps"),
    ("cfgpp", {"lam": guidance.Linear(0.2, 7.0)}, "CFG++, input lam", "1.56 at step 2.*0 to 1"),
    ("partial", {"weight": guidance.Linear(2.0, 0.0)}, "Negative Guidance, input weight", "2 at step 1.*0 to 1"),
    ("adg", {"max_angle": guidance.Interval(100.0, 0.0, 0.5)}, "(ADG), input max_angle", "100 at step 4.*0 to 90"),
    ("momentum", {"alpha": guidance.Linear(0.0, 3.0)}, "(MG), input alpha", "2.4 at step 5.*0 to 2"),
    ("higs", {"weight": guidance.Linear(0.0, 6.0)}, "(HiGS), input weight", "6 at step 6.*0 to 5"),
    ("smc", {"gain": guidance.Steps((0.2,))}, "(SMC-CFG), input gain", "1 value .*6 steps"),
    ("mimic", {"mimic_scale": guidance.Steps((3.0,))}, "Dynamic Thresholding, input mimic_scale", "1 value .*6 steps"),
]


@pytest.mark.parametrize(("method", "changes", "where", "why"), REFUSED, ids=[row[2] + row[3] for row in REFUSED])
def test_a_schedule_that_does_not_fit_the_run_is_refused_before_the_first_pass(method, changes, where, why):
    counted = []
    bad = BY_NAME[method].on(BY_NAME["perpendicular"].on(model()), **changes)
    options = dict(bad.model_options)
    guider = guider_of(count_passes(bad, counted))
    x = noise()
    with pytest.raises(ValueError, match=f"(?s){why}") as error:
        sampler = comfy.samplers.sampler_object("euler")
        guider.sample(x, torch.zeros_like(x), sampler, sigmas_of(model(), 6), disable_pbar=True)
    assert where in str(error.value)
    assert counted == []
    assert guider.cfg == 5.0 and RUN not in guider.model_options
    assert bad.model_options == options
    assert torch.equal(sample(model()), sample(BY_NAME["scheduled_cfg"].on(model(), scale=5.0)))


ON_MOST_MODELS = [place for place in once(SCHEDULED) if place.method in METHODS]


@each(ON_MOST_MODELS)
def test_a_schedule_that_leaves_the_range_or_has_too_few_values_is_refused_before_the_first_pass(place):
    low, high = place.range
    for bad, why in ((guidance.Linear(low, high + 1.0), "is out of range"), (guidance.Steps((low,)), "1 value ")):
        counted = []
        patched = count_passes(place.on(model(), bad), counted)
        with pytest.raises(ValueError, match=why) as error:
            sample(patched)
        assert names(error, place) and counted == []


def test_a_constant_schedule_is_checked_in_the_node():
    with pytest.raises(ValueError, match=r"CFG\+\+, input lam.*0 to 1"):
        BY_NAME["cfgpp"].on(model(), lam=guidance.Constant(7.0))


def test_an_error_in_the_model_leaves_the_guider_as_it_was():
    def fail(apply_model, args):
        raise RuntimeError("out of memory")

    patched = stack(model(), "scheduled_cfg", "compose", "mimic")
    patched.set_model_unet_function_wrapper(fail)
    guider = guider_of(patched)
    x = noise()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            sampler = comfy.samplers.sampler_object("euler")
            guider.sample(x, torch.zeros_like(x), sampler, sigmas_of(model(), 3), disable_pbar=True)
        assert guider.cfg == 5.0
        assert torch.equal(guider.conds["negative"][0]["cross_attn"].cpu(), text(2)[0][0])
        assert RUN not in guider.model_options


def test_an_error_while_the_model_is_loaded_leaves_the_guider_as_it_was():
    def fail(executor, *args, **kwargs):
        raise RuntimeError("no memory to load")

    patched = stack(model(), "scheduled_cfg", "compose")
    patched.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "fail", fail)
    guider = guider_of(patched)
    with pytest.raises(RuntimeError, match="no memory to load"):
        sample(patched, guider=guider)
    assert guider.cfg == 5.0 and RUN not in guider.model_options


# ---- predictions that are not finite


def breaking(patched, sample_index, value, step):
    """The MODEL with one value of one sample's prediction broken at one step, in every pass of it."""
    levels = []

    def wrapper(apply_model, args):
        out = apply_model(args["input"], args["timestep"], **args["c"])
        if args["timestep"][0] not in levels:
            levels.append(args["timestep"][0])
        if len(levels) - 1 == step:
            samples = out.shape[0] // len(args["cond_or_uncond"])
            out = out.clone()
            out[sample_index::samples, 0, 0, 0] = value
        return out

    patched = patched.clone()
    patched.set_model_unet_function_wrapper(wrapper)
    return patched


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", [m.name for m in METHODS])
def test_a_broken_sample_passes_through_and_harms_no_other(name, value, said):
    patched = BY_NAME[name].on(model())
    whole = sample(patched, x=noise(3), steps=4)
    broken = sample(breaking(patched, 1, value, step=2), x=noise(3), steps=4)
    assert torch.equal(broken[0], whole[0]) and torch.equal(broken[2], whole[2])
    assert not torch.isfinite(broken[1]).all()
    warnings = [sentence for sentence in said() if "NaN or infinity" in sentence]
    assert len(warnings) == 1 and "step 3 of 4" in warnings[0]


def test_a_broken_further_negative_harms_its_own_sample_alone(said):
    patched = BY_NAME["perpendicular"].on(model())
    nan = text(3)[0][0].clone()
    nan[0, 0, 0] = math.nan
    broken = BY_NAME["perpendicular"].on(model(), negative=[[nan, text(3)[0][1]]])
    assert not torch.isfinite(sample(broken, steps=2)).all()
    assert len([sentence for sentence in said() if "step 1 of 2" in sentence]) == 1
    assert torch.isfinite(sample(patched, steps=2)).all()


def test_an_unbroken_run_warns_of_nothing(said):
    sample(stack(model(), "scheduled_cfg", "mimic"), steps=2)
    assert not any("NaN" in sentence for sentence in said())


# ---- the schedule node


def chosen(shape, **values):
    return {"shape": shape, **values}


@pytest.mark.parametrize(
    ("values", "about"),
    [
        (chosen("linear", first=math.nan, last=2.0), "input first"),
        (chosen("linear", first=2.0, last=101.0), "input last: 101 is out of range"),
        (chosen("linear", first="2", last=2.0), "input first"),
        (chosen("interval", inside=7.0, outside=1.0, start=0.8, end=0.2), "input start: 0.8 is above end, 0.2"),
        (chosen("sigma interval", inside=7.0, outside=1.0, sigma_low=6.0, sigma_high=2.0), "sigma_low"),
        (chosen("exponential", scale=5.0, rate=math.inf), "input rate"),
        (chosen("compressed", scale=4.0, share=0.0, exponent=1.0), "input share: 0 is out of range"),
        (chosen("per step", weights=""), "input weights: it holds 0 weights"),
        (chosen("per step", weights=" , ;\n"), "input weights: it holds 0 weights"),
        (chosen("per step", weights="7 six"), "input weights: 'six' is no number"),
        (chosen("per step", weights="7 nan"), "nan"),
        (chosen("triangle", mean=1.0, low=2.0), "input low: 2 is above mean, 1"),
        (chosen("triangle", mean=5.0, low=1.0, mean_over="t"), "input mean_over: there is no 't'"),
        (chosen("curve", curve=[], low=1.0, high=7.0), "input curve: got an empty list, not points"),
        (chosen("curve", curve=[(0.0, 0.0), (1.0, 1.0)], low=8.0, high=7.0), "low"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_at_validation_and_in_the_node(values, about):
    with pytest.raises(ValueError) as before:
        schedule.GuidanceSchedule.validate_inputs(shape=values)
    with pytest.raises(ValueError) as error:
        schedule.GuidanceSchedule.execute(values)
    assert about in str(error.value) and str(error.value).startswith("Guidance Schedule, input ")
    assert str(error.value) == str(before.value)


def test_an_unknown_shape_is_refused_with_those_that_there_are():
    unknown = chosen("upside down")
    assert schedule.GuidanceSchedule.validate_inputs(shape=unknown) is True
    with pytest.raises(ValueError, match="input shape: there is no 'upside down'; choose one of interval, sigma"):
        schedule.GuidanceSchedule.execute(unknown)


def test_weights_of_a_list_are_limited_like_any_other():
    values = chosen("per step", weights="7 5000")
    with pytest.raises(ValueError, match="input weights: 5000 is out of range; use a number from 0 to 100"):
        schedule.GuidanceSchedule.validate_inputs(shape=values)


@pytest.mark.parametrize("shape", schedule.SHAPES, ids=lambda shape: shape.name)
def test_the_defaults_of_every_shape_make_a_schedule(shape):
    values = chosen(shape.name, **{field.id: field.default for field in shape.inputs})
    assert schedule.GuidanceSchedule.validate_inputs(shape=values) is True
    made = run_node(schedule.GuidanceSchedule, values)
    steps = 20
    bound = made.for_run(tuple(14.6 * (1 - i / steps) for i in range(steps + 1)), "ve")
    assert all(0.0 <= bound.weight(i / (steps - 1), 1.0) <= 100.0 for i in range(steps))


def test_a_triangle_that_was_saved_without_its_last_input_has_its_mean_over_the_steps():
    made = run_node(schedule.GuidanceSchedule, chosen("triangle", mean=5.0, low=1.0))
    assert made == schedule.Triangle(5.0, 1.0, over="steps")
    assert schedule.GuidanceSchedule.validate_inputs(shape=chosen("triangle", mean=5.0, low=1.0)) is True


def test_a_report_of_an_empty_run(said):
    words = report.report(stack(model(), "scheduled_cfg", "adg"), 7.0, torch.tensor([]))
    assert "No steps" in words


def test_the_report_gives_the_weight_of_every_step():
    words = report.report(BY_NAME["scheduled_cfg"].on(model()), 7.0, sigmas_of(model(), 3))
    assert "9 5.5 2" in words


def test_two_combine_rules_leave_the_model_as_it_was():
    first = BY_NAME["adg"].on(model())
    with pytest.raises(ValueError, match="one combine rule"):
        BY_NAME["mimic"].on(first)
    assert len(pipeline.stages.of(first)) == 1
    assert MIMIC["mode"] == "mimic" and not pipeline.stages.of(model())


def groups(node):
    return {i.id for i in node.define_schema().inputs if isinstance(i, io.DynamicCombo.Input)}


VALIDATING = [n for n in azimuth.nodes.NODES if "validate_inputs" in vars(n) and groups(n)]


@pytest.mark.parametrize("node", VALIDATING, ids=lambda node: node.__name__)
def test_a_node_that_validates_takes_its_dynamic_groups_by_name(node):
    """The host hands every dynamic group to `validate_inputs`, and refuses the prompt if it does not take one."""
    bound = inspect.signature(node.validate_inputs).bind(**dict.fromkeys(groups(node)))
    assert bound.arguments
