"""Weights of at most 1, as lambda is under CFG++ samplers: what does nothing there says so, and what to do about it."""

import functools

import pytest
from azimuth import guidance
from azimuth.nodes.engine.stages import of, up_to_1
from methods import BY_NAME, METHODS, stack
from tiny import distance, dual, model, sample

PLACES = {f"{kind}, {sampler}": (kind, sampler) for kind in ("eps", "flow") for sampler in ("euler", "euler_cfg_pp")}
NEED_MORE = [m.name for m in METHODS if any(getattr(s, "faint", None) is up_to_1 for s in of(m.on(model())))]
SAME = 1e-4


def test_the_rules_that_need_more_are_found():
    assert {"adg", "rotation", "skimmed", "skimmed_as_published", "pmc"} <= set(NEED_MORE)


def about(said, name):
    """What the log says of a node's having no effect, or hardly any."""
    node = BY_NAME[name].node.define_schema().display_name
    return [s for s in said() if s.startswith(f"{node} has no effect")]


@functools.cache
def plain(kind, sampler, cfg=0.6):
    return sample(model(kind), sampler=sampler, cfg=cfg, steps=3)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", [method.name for method in METHODS if method.name not in ("cfgpp", *NEED_MORE)])
def test_what_changes_nothing_says_so(name, place, said):
    kind, sampler = PLACES[place]
    without = plain(kind, sampler)
    got = sample(BY_NAME[name].on(model(kind)), sampler=sampler, cfg=0.6, steps=3)
    assert distance(got, without) > SAME or about(said, name)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NEED_MORE)
def test_a_rule_that_needs_weights_above_1_says_so(name, place, said):
    kind, sampler = PLACES[place]
    without = plain(kind, sampler)
    assert distance(sample(BY_NAME[name].on(model(kind)), sampler=sampler, cfg=0.6, steps=3), without) < SAME
    (sentence,) = about(said, name)
    remedy = "use a sampler that is not CFG++" if sampler == "euler_cfg_pp" else "raise the sampler's cfg"
    assert "at weights of at most 1; " in sentence and remedy in sentence and "bypass the node" in sentence
    assert ("cfg" in sentence.partition(";")[2].replace("cfg_pp", "")) == (sampler == "euler")


@pytest.mark.parametrize("name", [*NEED_MORE, "norm_limit", "norm_limit_pixel", "mimic"])
def test_above_1_and_switched_off_it_says_nothing(name, said):
    sample(BY_NAME[name].on(model()), steps=3)
    weights = guidance.Steps((0.6, 0.6, 5.0))
    sample(stack(BY_NAME["scheduled_cfg"].on(model(), scale=weights), name), cfg=0.6, steps=3)
    sample(BY_NAME[name].on(model(), strength=0.0), cfg=0.6, steps=3)
    assert not about(said, name)


def test_the_remedy_is_where_the_weight_comes_from(said):
    cases = [
        (BY_NAME["scheduled_cfg"].on(model(), scale=0.8), {}, "raise scale of Scheduled CFG"),
        (BY_NAME["scheduled_cfg"].on(model(), scale=0.8, start=0.5), {}, "raise scale of Scheduled CFG"),
        (BY_NAME["cfgpp"].on(model(), lam=0.2), {"steps": 2}, "raise lambda of CFG++"),
        (BY_NAME["cfgpp"].on(model(), lam=0.2), {"sampler": "euler_cfg_pp"}, "use a sampler that is not CFG++"),
        (model(), {"make": dual("regular", cfg2=0.5)}, "raise the sampler's cfg"),
    ]
    for patched, how, remedy in cases:
        heard = len(said())
        sample(stack(patched, "adg"), **{"steps": 3, **how})
        found = [s for s in said()[heard:] if s.startswith("Angle Domain Guidance (ADG) has no effect")]
        assert len(found) == 1 and remedy in found[0], (remedy, found)


def test_at_weight_1_the_remedy_is_where_the_weight_comes_from(said):
    sample(stack(BY_NAME["scheduled_cfg"].on(model(), scale=1.0), "apg"), steps=2)
    assert [s for s in said() if "no effect at weight 1, " in s and "raise scale of Scheduled CFG" in s]
    sample(stack(model(), "apg"), sampler="euler_cfg_pp", cfg=1.0, steps=2)
    assert [s for s in said() if "no effect at weight 1, " in s and "use a sampler that is not CFG++" in s]


def test_a_limit_that_has_something_to_limit_says_nothing(said):
    for patched in (
        BY_NAME["norm_limit"].on(model(), limit=0.9),
        stack(model(), "norm_limit", "pag"),
        stack(model(), "norm_limit", "compose"),
        stack(model(), "norm_limit", "raag"),
    ):
        sample(patched, cfg=0.6, steps=2)
    assert not about(said, "norm_limit")


def test_a_contrast_to_mimic_above_the_weight_says_so(said):
    knobs = {"mimic_scale": 8.0, "percentile": 1.0, "per_channel": False}
    for kind in ("eps", "flow"):
        got = sample(BY_NAME["mimic"].on(model(kind), **knobs), steps=3)
        assert distance(got, sample(model(kind), steps=3)) < 0.02
    assert (
        len(about(said, "mimic")) == 2 and "below its mimic_scale; raise the sampler's cfg" in about(said, "mimic")[0]
    )
    for changes in ({"mimic_scale": 5.0}, {"mimic_scale": 4.0}, {"mimic_scale": 8.0, "measure": "std"}):
        sample(BY_NAME["mimic"].on(model(), **changes), steps=2)
    assert len(about(said, "mimic")) == 2


# ---- a weight that another takes the place of


@pytest.mark.parametrize("name", ["scheduled_cfg", "cfgpp"])
def test_a_rule_with_a_weight_of_its_own_says_which_weight_it_replaces(name, said):
    alone = sample(stack(model("flow"), "raag"), steps=3)
    assert distance(sample(stack(model("flow"), name, "raag"), steps=3), alone) < SAME
    node = BY_NAME[name].node.define_schema().display_name
    found = [s for s in said() if f"replaces the weight that {node} sets" in s]
    assert len(found) == 1 and f"; set its weight to sampler cfg or bypass {node}." in found[0]
    assert not [s for s in said() if f"{node} sets the weight to" in s]


def test_a_rule_that_takes_the_weight_of_the_step_replaces_none(said):
    for changes in ({"weight": "sampler cfg"}, {"strength": 0.5}, {"strength": 0.0}):
        sample(BY_NAME["raag"].on(stack(model("flow"), "scheduled_cfg"), **changes), steps=2)
    in_a_window = BY_NAME["scheduled_cfg"].on(model("flow"), scale=5.0, end=0.5)
    sample(stack(in_a_window, "raag"), cfg=5.0, steps=4)
    assert not [s for s in said() if "replaces the weight" in s]
    assert len([s for s in said() if "Scheduled CFG sets the weight to" in s]) == 4
