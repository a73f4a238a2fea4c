"""What a run costs: forward passes, counted as the model sees them."""

import pytest
from azimuth import guidance
from methods import BY_NAME
from tiny import conds, custom, model, passes, sigmas_of, text

INTERVAL = guidance.Interval(6.0, 1.0, 0.2, 0.7)


def scheduled(scale, **changes):
    return BY_NAME["scheduled_cfg"].on(model(), scale=scale, **changes)


def cfg_guider(cfg):
    return lambda patched: custom.CFGGuider.execute(patched, *conds(), cfg).args[0]


@pytest.mark.parametrize("make", [None, cfg_guider(5.0)], ids=["KSampler", "CFGGuider"])
def test_a_step_at_weight_1_costs_one_pass(make):
    assert passes(scheduled(INTERVAL), make=make) == [1, 2, 2, 2, 1, 1]
    assert passes(scheduled(6.0, start=0.2, end=0.7), make=make) == [1, 2, 2, 2, 1, 1]
    assert passes(scheduled(guidance.Steps((4, 1, 4, 1, 1, 4))), make=make) == [2, 1, 2, 1, 1, 2]
    assert passes(scheduled(1.0), make=make) == [1] * 6


def test_schedules_that_leave_steps_at_weight_1_save_their_passes():
    assert passes(scheduled(guidance.Interval(6.0, 1.0, 0.0, 0.5))) == [2, 2, 2, 1, 1, 1]  # CFG truncation at r = 0.5
    assert passes(scheduled(guidance.Compressed(4.0, 0.5))) == [2, 1] * 3
    assert passes(scheduled(guidance.Compressed(4.0, 0.5, 2.0))) == [2, 1, 2, 1, 1, 1]
    assert passes(scheduled(guidance.Exponential(4.0, 0.5))) == [2] * 6


@pytest.mark.parametrize("make", [None, cfg_guider(1.0)], ids=["KSampler", "CFGGuider"])
def test_a_schedule_makes_the_negative_pass_of_a_sampler_at_cfg_1(make):
    assert passes(scheduled(INTERVAL), make=make, cfg=1.0) == [1, 2, 2, 2, 1, 1]


def test_outside_its_window_a_schedule_can_leave_the_weight_to_the_sampler():
    patched = scheduled(1.0, start=0.2, end=0.7, outside="sampler cfg")
    assert passes(patched) == [2, 1, 1, 1, 2, 2]


def test_a_cfg_pp_sampler_keeps_both_passes_at_weight_1():
    assert passes(scheduled(INTERVAL), sampler="euler_cfg_pp") == [2] * 6


def test_a_node_that_asks_for_both_passes_keeps_them():
    patched = scheduled(INTERVAL)
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"], disable_cfg1_optimization=True)
    assert passes(patched) == [2] * 6


def test_further_negatives_share_the_forward_pass_and_cost_nothing_where_they_do_not_count():
    one = BY_NAME["compose"].on(model())
    assert passes(one) == [3] * 6
    assert passes(BY_NAME["perpendicular"].on(one, negative=text(4))) == [4] * 6
    assert passes(BY_NAME["compose"].on(model(), start=0.2, end=0.7)) == [2, 3, 3, 3, 2, 2]
    weights = guidance.Steps((0.0, 1.0, 0.0, 0.0, 2.0, 0.0))
    assert passes(BY_NAME["compose"].on(model(), weight=weights)) == [2, 3, 2, 2, 3, 2]


def test_a_further_negative_is_not_evaluated_at_weight_1():
    assert passes(BY_NAME["compose"].on(scheduled(INTERVAL))) == [1, 3, 3, 3, 1, 1]
    assert passes(BY_NAME["compose"].on(model()), cfg=1.0) == [1] * 6


def test_under_a_cfg_pp_sampler_a_further_negative_counts_at_weight_1_too(said):
    assert passes(BY_NAME["compose"].on(model()), cfg=1.0, sampler="euler_cfg_pp") == [3] * 6
    assert not any("no effect" in sentence for sentence in said())


def test_a_whole_partial_negative_makes_no_third_pass():
    assert passes(BY_NAME["partial"].on(model(), weight=1.0)) == [2] * 6
    assert passes(BY_NAME["partial"].on(model(), weight=0.5)) == [3] * 6
    delayed = BY_NAME["partial"].on(model(), weight=1.0, start=0.4, end=0.7)
    assert passes(delayed) == [2] * 6


@pytest.mark.parametrize("name", ["mimic", "adg", "imagen", "cfgpp", "rotation"])
def test_the_other_methods_cost_no_pass(name):
    assert passes(BY_NAME[name].on(model())) == [2] * 6


def test_a_run_from_a_later_step():
    sigmas = sigmas_of(model(), 8)[3:]
    assert passes(scheduled(guidance.Interval(6.0, 1.0, 0.0, 0.3)), sigmas=sigmas) == [2, 2, 1, 1, 1]
