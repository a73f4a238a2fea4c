"""Every rule and every correction has a window, and a strength that may vary from step to step."""

import functools
import inspect

import pytest
import torch
from azimuth import guidance
from azimuth.nodes.engine import stages
from azimuth.nodes.look import report
from comfy_api.latest import io
from methods import BY_NAME, ELSEWHERE, METHODS, stack
from tiny import distance, model, sample, sigmas_of, watch

KINDS = (stages.Combine, stages.Baseline, stages.Correct)
MADE = [(method, type(stages.of(method.on(model()))[0])) for method in METHODS + ELSEWHERE]
# The first setting of each node, and of each kind of stage that it makes.
FIRST = {(method.node, kind): method for method, kind in reversed(MADE) if kind in KINDS}
BLENDED = list(FIRST.values())
NODES = list(dict.fromkeys(method.node for method in BLENDED))
each = pytest.mark.parametrize("method", BLENDED, ids=lambda method: method.name)
each_node = pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)

STEPS = 4  # at progress 0, 1/3, 2/3 and 1
INNER = {"start": 0.3, "end": 0.9}  # holds the second step and the third
VARYING = guidance.Linear(0.6, 0.6)  # a schedule that is no Constant


def run(patched, **how):
    return sample(patched, steps=STEPS, **how)


@functools.cache
def plain():
    return run(model())


def calls(patched, **how):
    seen = []
    run(watch(patched, seen), **how)
    return seen


def is_plain(args) -> bool:
    """Whether a call ended, to the last bit, with what the host alone makes of its predictions."""
    cond, uncond = args["cond_denoised"], args["uncond_denoised"]
    return torch.equal(args["denoised"], uncond + (cond - uncond) * args["cond_scale"])


def test_rules_baselines_and_corrections_are_found():
    assert {kind for _, kind in FIRST} == set(KINDS)
    assert len(NODES) >= 19


# ---- the inputs


@each_node
def test_the_last_inputs_are_a_strength_and_a_window_at_their_neutral_values(node):
    last = {given.id: given for given in node.define_schema().inputs[-3:]}
    assert {name: given.as_dict()["default"] for name, given in last.items()} == {"start": 0, "end": 1, "strength": 1}
    assert last["strength"].get_io_type() == "FLOAT,GUIDANCE_SCHEDULE"
    assert all(given.get_io_type() == io.Float.io_type for given in (last["start"], last["end"]))


@each_node
def test_what_came_later_is_optional_and_at_the_end(node):
    """So a workflow that was saved without it means what it meant."""
    given, taken = node.define_schema().inputs, inspect.signature(node.execute).parameters
    later = [each for each in given if each.optional]
    assert given[len(given) - len(later) :] == later
    defaults = {name: each.default for name, each in taken.items() if each.default is not inspect.Parameter.empty}
    groups = {each.id for each in given if isinstance(each, io.DynamicCombo.Input)}
    assert {name: value for name, value in defaults.items() if name not in groups} == {
        each.id: each.as_dict()["default"] for each in later
    }


# ---- what they do


@each
def test_outside_its_window_every_step_is_the_hosts_to_the_last_bit(method):
    assert [is_plain(args) for args in calls(model())] == [True] * STEPS
    inside = [not is_plain(args) for args in calls(method.on(model(), **INNER))]
    assert not inside[0] and not inside[3] and any(inside)


@each
def test_a_window_without_a_step_is_no_node_at_all(method):
    assert torch.equal(run(method.on(model(), start=0.4, end=0.6)), plain())


@each
def test_a_schedule_of_one_number_is_that_number(method):
    number, varying = method.on(model(), strength=0.6), method.on(model(), strength=VARYING)
    assert torch.equal(run(varying), run(number))
    assert not torch.equal(run(number), plain())


@each
def test_a_strength_of_1_and_then_0_is_a_window(method):
    """Of steps or of noise levels; and a memory stays as it was at a step at 0."""
    sigmas = sigmas_of(model(), STEPS).tolist()
    window = run(method.on(model(), **INNER, strength=1.0))
    for inner in (
        guidance.Steps((0.0, 1.0, 1.0, 0.0)),
        guidance.SigmaInterval(1.0, 0.0, sigmas[3], sigmas[1]),
    ):
        assert torch.equal(run(method.on(model(), strength=inner)), window)


@pytest.mark.parametrize("name", ["adg", "tcfg", "rescale"])
def test_every_step_gets_the_share_of_that_step(name):
    shares = (0.25, 0.0, 1.0, 0.5)
    for args, share in zip(calls(BY_NAME[name].on(model(), strength=guidance.Steps(shares))), shares, strict=True):
        cond, uncond = args["cond_denoised"], args["uncond_denoised"]
        host = uncond + (cond - uncond) * args["cond_scale"]
        at = {"cond": cond, "uncond": uncond, "x": args["input"], "sigma": args["sigma"], "sigmas": ()}
        at["network"] = guidance.Parametrisation()
        (stage,) = stages.of(BY_NAME[name].on(model()))
        value = stage.schedule.weight(0.0, 0.0)
        ours = stage.rule(stages.Moment(**at, scale=args["cond_scale"], value=value, guided=host))
        if name == "tcfg":
            ours = ours + (cond - ours) * args["cond_scale"]
        assert distance(args["denoised"], torch.lerp(host, ours, share)) < 1e-4


@each
def test_only_what_varies_makes_the_run_look_at_its_step(method):
    """Reading the step means waiting for the device."""
    (stage,) = stages.of(method.on(model(), strength=1.0, start=0.0, end=1.0))
    steady = isinstance(stage.schedule, guidance.Constant) and getattr(stage, "steady", True)
    assert stage.constant == (steady and not stage.remembers)
    for changes in (INNER, {"strength": VARYING}):
        assert not stages.of(method.on(model(), **changes))[0].constant


# ---- what the log and the report say


def about(said, part):
    return [sentence for sentence in said() if part in sentence]


def test_a_stage_says_its_strength_and_its_window():
    patched = BY_NAME["adg"].on(model(), strength=guidance.Linear(0.0, 1.0), end=0.5)
    text = report.report(patched, 5.0)
    assert f"strength {guidance.Linear(0.0, 1.0)} while progress is 0 to 0.5" in text


def test_a_rule_with_a_weight_of_its_own_replaces_that_of_its_window_alone(said):
    weighted = BY_NAME["scheduled_cfg"].on(model("flow"), scale=guidance.Linear(2.0, 5.0))
    run(BY_NAME["raag"].on(weighted, **INNER))
    assert about(said, "replaces the weight that Scheduled CFG sets, at 2 of 4 steps, by its w_max")
    assert about(said, "Scheduled CFG sets the weight to 2 to 5 over 2 steps, in place of the sampler's 5.")


def test_a_rule_replaces_a_cfg_function_in_its_window_alone(said):
    def louder(args):
        return args["uncond"] + 2 * args["cond_scale"] * (args["cond"] - args["uncond"])

    foreign = model().clone()
    foreign.set_model_sampler_cfg_function(louder)
    patched = BY_NAME["adg"].on(foreign, **INNER)
    ours, theirs = calls(patched), calls(foreign)
    assert torch.equal(ours[0]["denoised"], theirs[0]["denoised"])
    assert about(said, "replaces the cfg function test_a_rule_replaces_a_cfg_function_in_its_window_alone at 2 of 4")
    assert "(replaced while progress is 0.3 to 0.9)" in report.report(patched, 5.0)


def test_a_momentum_is_warned_of_where_both_act(said):
    momentum = BY_NAME["apg_custom"].on(model(), end=0.5)
    run(BY_NAME["higs"].on(momentum, start=0.5))
    assert not about(said, "momentum of")
    run(BY_NAME["higs"].on(momentum, start=0.3))
    assert about(said, "momentum of Adaptive Projected Guidance (APG)")


def test_half_of_a_weight_is_half_the_danger(said):
    run(BY_NAME["higs"].on(model(), weight=1.0, strength=0.5), sampler="dpmpp_2m")
    run(BY_NAME["higs"].on(model(), weight=1.0, start=0.4, end=0.4), sampler="dpmpp_2m")
    assert not said()
    run(BY_NAME["higs"].on(model(), weight=1.0, strength=guidance.Steps((0, 0, 0, 0.7))), sampler="dpmpp_2m")
    assert about(said, "(HiGS): the sampler dpmpp_2m reuses earlier steps")


@pytest.mark.parametrize("nowhere", [{"start": 0.4, "end": 0.6}, {"strength": guidance.Linear(0.0, 0.0)}], ids=str)
@pytest.mark.parametrize("name", ["raag", "smc", "zero_star", "momentum"])
def test_a_rule_that_is_nowhere_warns_of_nothing(name, nowhere, said):
    changes = {"gain_unit": "absolute, flow only"} if name == "smc" else {}
    sampler = "dpmpp_2m" if name == "momentum" else "euler_ancestral"
    run(BY_NAME[name].on(model(), **changes), sampler=sampler)
    assert said()
    before = len(said())
    run(BY_NAME[name].on(model(), **changes, **nowhere), sampler=sampler)
    assert len(said()) == before


def test_zero_init_warns_of_nothing_where_the_window_leaves_out_its_steps(said):
    run(BY_NAME["zero_star"].on(model("flow"), start=0.3), sampler="euler_ancestral")
    assert not said()
    run(BY_NAME["zero_star"].on(model("flow"), end=0.3), sampler="euler_ancestral")
    assert about(said, "zero_init_steps leaves too much noise with euler_ancestral")


def test_a_rule_is_faint_if_it_is_at_all_steps_of_its_window(said):
    weights = guidance.Steps((7.0, 0.5, 0.5, 7.0))
    run(BY_NAME["adg"].on(BY_NAME["scheduled_cfg"].on(model(), scale=weights)))
    assert not about(said, "no effect at weights of at most 1")
    run(BY_NAME["adg"].on(BY_NAME["scheduled_cfg"].on(model(), scale=weights), **INNER))
    assert about(said, "no effect at weights of at most 1")


def test_windows_part_two_corrections_on_one_model():
    """What stands in a window of its own acts there alone, whatever else is wired."""
    early, late = {"end": 0.3}, {"start": 0.9}
    seen = calls(BY_NAME["norm_limit"].on(BY_NAME["rescale"].on(model(), **early), **late))
    assert [is_plain(args) for args in seen] == [False, True, True, False]
    assert torch.equal(seen[0]["denoised"], calls(stack(model(), "rescale"))[0]["denoised"])
