"""The two passes of Distilled Guidance beside everything else: terms, weights, saved passes, functions of others."""

import comfy.samplers
import pytest
import torch
from azimuth import guidance
from azimuth.nodes.engine import stages
from azimuth.nodes.engine.run import RUN
from azimuth.nodes.samplers.rectified_cfgpp import RectifiedCFGPP
from distilled_flux import AT, EXACT, HIGH, LOW, W, X, at_guidance, embedded, literal_pair, net, paired, run
from features import need
from methods import BY_NAME, METHODS
from rows import weaker
from tiny import basic, custom, distance, passes, predict, run_node, sample, scales, tensor, text, watch

MAKES = pytest.mark.parametrize("make", [None, basic], ids=["KSampler", "Basic Guider"])


def on(name, patched, **changes):
    """A method that acts, with blocks that this model has."""
    if BY_NAME[name].acting.get("blocks", "auto") != "auto":
        changes["blocks"] = "0"
    return BY_NAME[name].on(patched, **changes)


def kind_of(method):
    return type(method.on(net()).model_options[stages.OPTION][-1])


TERMS = [method.name for method in METHODS if kind_of(method) is stages.Add]


# ---- added terms


@pytest.mark.parametrize("name", TERMS)
def test_a_term_beside_the_pair_is_that_of_one_pass_at_high(name):
    alone = predict(on(name, net()), cfg=1.0, positive=text(1, guidance=HIGH), **AT)
    term = alone - at_guidance(HIGH)
    assert distance(predict(on(name, paired(guidance=HIGH)), cfg=1.0, **AT), alone) < EXACT
    assert term.abs().max() > 1e-3
    if not BY_NAME[name].acting.get("rescale"):
        for make in (None, basic):
            ours = predict(on(name, paired()), cfg=1.0, make=make, **AT)
            assert distance(ours, predict(paired(), cfg=1.0, **AT) + term) < EXACT


NEARLY_OFF = {
    "pag": {"strength": 1e-5, "scale": 3.0},
    "seg": {"blur": 1e-3, "scale": 3.0},
    "sag": {"blur": 1e-3, "scale": 3.0},
    "autoguidance": {"weak_model": lambda patched: patched, "scale": 1.0},
}


@pytest.mark.parametrize("name", NEARLY_OFF)
def test_a_term_that_compares_the_model_with_itself_changes_nothing(name):
    ours = predict(on(name, paired(), **NEARLY_OFF[name]), cfg=1.0, **AT)
    assert distance(ours, predict(paired(), cfg=1.0, **AT)) < EXACT


@pytest.fixture
def told():
    """What the network of the weaker model is told: one list of guidance numbers per forward pass."""
    found = []
    hook = weaker(net()).model.diffusion_model.register_forward_pre_hook(
        lambda module, args, kwargs: found.append(kwargs["guidance"].tolist()), with_kwargs=True
    )
    yield found
    hook.remove()


def test_a_weaker_model_of_another_file_hears_what_the_first_pass_hears(told):
    run(on("autoguidance", paired(end=0.5)), steps=2)
    run(on("autoguidance", paired(guidance=1.0)), steps=1)
    run(on("autoguidance", embedded(guidance=2.0)), steps=1)
    assert told == [[HIGH], [3.5], [1.0], [2.0]]


def test_a_term_of_another_node_compares_with_a_pass_that_is_made_at_guidance_1(said):
    seen = []

    def term(args):
        pairs = ((args["cond"], args["cond_denoised"]), (args["uncond"], args["uncond_denoised"]))
        for conds, prediction in pairs:
            own = comfy.samplers.calc_cond_batch(
                args["model"], [conds], args["input"], args["sigma"], {"transformer_options": {}}
            )[0]
            seen.append((conds[0]["model_conds"]["guidance"].cond.tolist(), prediction, own))
        return args["denoised"] + 3.0 * (seen[0][1] - seen[0][2])

    def with_term(patched):
        patched = patched.clone()
        patched.set_model_sampler_post_cfg_function(term)
        return patched

    for patched in (with_term(paired(low=1.0)), paired(with_term(net()), low=1.0)):
        seen.clear()
        ours = predict(patched, cfg=1.0, **AT)
        assert distance(ours, predict(paired(low=1.0), cfg=1.0, **AT)) < EXACT
        assert [numbers for numbers, _, _ in seen] == [[1.0], [0.0]]
        assert distance(seen[1][2], at_guidance(0.0)) < EXACT
    predict(with_term(paired()), cfg=1.0, **AT)
    assert distance(seen[-2][1], literal_pair()[0]) < EXACT and distance(seen[-2][2], at_guidance(1.0)) < EXACT
    sentences = [sentence for sentence in said() if "of other nodes" in sentence]
    assert len(sentences) == 3 and "passes that functions of other nodes (test_a_term_of_another_node" in sentences[0]


def test_nothing_of_a_pair_is_kept_after_its_call():
    seen = []
    run(watch(paired(), seen), steps=2)
    assert seen[0]["model_options"][RUN].call.first_pass is None


# ---- weight 1


@MAKES
def test_at_weight_1_the_pair_is_one_pass_at_guidance_1(make, heard, said):  # noqa: F811
    assert passes(paired(guidance=guidance.Steps((W, 1.0, W))), cfg=1.0, x=X, steps=3, make=make) == [2, 1, 2]
    assert [sorted(numbers) for numbers in heard] == [[LOW, HIGH], [1.0], [LOW, HIGH]]
    assert said()[0].endswith("2 of 3 steps make two passes.")
    assert distance(predict(paired(guidance=1.0), cfg=1.0, make=make, **AT), at_guidance(1.0)) < EXACT
    c = predict(paired(guidance=1.0 + 1e-4, low=1.0), cfg=1.0, **AT)
    assert distance(predict(paired(guidance=1.0, low=1.0), cfg=1.0, **AT), c) < 1e-3


@MAKES
def test_an_interval_of_scheduled_cfg_saves_the_passes_outside_it(make):
    patched = BY_NAME["scheduled_cfg"].on(paired(), scale=5.0, start=0.2, end=0.7)
    how = {"cfg": 1.0, "x": X, "make": make}
    assert scales(patched, **how) == [1.0, 5.0, 5.0, 5.0, 1.0, 1.0]
    assert passes(patched, **how) == [1, 2, 2, 2, 1, 1]


def test_a_sampler_that_wants_the_negative_has_the_pair_at_weight_1_too(said):
    patched = paired(guidance=1.0)
    assert passes(patched, cfg=1.0, x=X, sampler="euler_cfg_pp") == [2] * 6
    assert said()[0].endswith("6 of 6 steps make two passes.")
    seen = []
    run(watch(patched, seen), sampler="euler_cfg_pp", steps=1)
    x, sigma = seen[0]["input"], seen[0]["sigma"][0].item()
    for name, expected in zip(("cond", "uncond"), literal_pair(x=x, sigma=sigma), strict=True):
        assert distance(seen[0][f"{name}_denoised"], expected) < EXACT


@pytest.mark.parametrize("changes", [{"guidance": 1.0}, {"start": 0.4, "end": 0.4}], ids=["weight 1", "no window"])
def test_a_rule_that_has_no_pair_anywhere_says_so(changes, said):
    patched = BY_NAME["adg"].on(paired(**changes))
    assert torch.equal(run(patched), run(paired(**changes)))
    [sentence] = [sentence for sentence in said() if "no effect" in sentence]
    assert sentence.startswith("Angle Domain Guidance")
    assert sentence.endswith("raise guidance of Distilled Guidance (Flux) or widen its window.")


# ---- Adaptive Guidance


def adaptive(patched, threshold=0.0):
    return BY_NAME["adaptive"].on(patched, threshold=threshold)


@MAKES
def test_adaptive_guidance_leaves_the_pass_at_high_alone(make, heard, said):  # noqa: F811
    how = {"cfg": 1.0, "x": X, "make": make}
    assert passes(adaptive(paired()), **how) == [2, 1, 1, 1, 1, 1]
    assert [sorted(numbers) for numbers in heard] == [[LOW, HIGH]] + [[HIGH]] * 5
    assert "Adaptive Guidance skipped 5 of 6 negative passes." in said()
    by_hand = paired(BY_NAME["distilled"].on(net(), guidance=HIGH), end=0.2)
    assert distance(run(adaptive(paired()), make=make), run(by_hand, make=make)) < EXACT


def test_plain_cfg_of_the_pair_at_high_loses_nothing_by_adaptive_guidance():
    assert distance(run(adaptive(paired(guidance=HIGH))), run(net(), positive=text(1, guidance=HIGH))) < EXACT


def test_adaptive_guidance_saves_the_passes_of_the_rectified_sampler(said):
    sampler = run_node(RectifiedCFGPP, 3.5, 0.0, 0.5)
    assert passes(adaptive(paired()), x=X, make=basic, sampler=sampler) == [2] * 2 + [1] * 10
    assert "Adaptive Guidance skipped 10 of 12 negative passes." in said()


def test_the_rectified_sampler_has_the_weight_of_the_pair():
    sampler = run_node(RectifiedCFGPP, 1.0, 0.0, 0.5)
    assert scales(paired(), x=X, make=basic, sampler=sampler, steps=2) == [W] * 4


@pytest.mark.parametrize("names", [(), ("norm_limit",), ("pag",), ("momentum",)], ids=str)
def test_a_sample_that_has_settled_does_not_wait_for_its_neighbours(names):
    x = torch.stack([tensor(i, 16, 8, 8) for i in (1, 2)])
    seen = []
    run(watch(paired(), seen), x=x, steps=4)
    args = seen[0]
    p, q = (
        (args["input"] - (1 - args["sigma"].view(-1, 1, 1, 1)) * args[f"{name}_denoised"]).flatten(1)
        for name in ("cond", "uncond")
    )
    between = torch.cosine_similarity(p, q).sort().values.mean().item()  # the first step settles one of the two
    patched = adaptive(paired(), between)
    for name in names:
        patched = on(name, patched)
    together = run(patched, x=x, steps=4)
    apart = torch.cat([run(patched, x=x[i : i + 1], steps=4) for i in range(2)])
    assert distance(together, apart) < EXACT
    batches = [passes(patched, cfg=1.0, x=x[i : i + 1], steps=4) for i in range(2)]
    assert names == ("pag",) or sum(batches[0]) != sum(batches[1])


# ---- a weight of another node


def override(patched):
    need("CFG Override")
    return run_node(custom.CFGOverride, patched, 3.0, 0.0, 0.6)


@pytest.mark.parametrize("first", [True, False], ids=["before ours", "after ours"])
@MAKES
def test_the_weight_of_another_node_is_that_of_the_pair(first, make, said):
    patched = paired(override(net())) if first else override(paired())
    how = {"cfg": 1.0, "x": X, "make": make, "steps": 4}
    found = scales(patched, **how)
    assert found == [3.0, 3.0, 3.0, W]
    literal = run(paired(guidance=guidance.Steps(tuple(found))), steps=4, make=make)
    assert distance(run(patched, steps=4, make=make), literal) < EXACT
    about = [sentence for sentence in said() if "another node sets the weight" in sentence]
    assert set(about) == {
        "Azimuth: another node sets the weight of some steps; it stands for that of Distilled Guidance (Flux) there."
    }


def test_another_nodes_weight_of_1_after_ours_is_that_of_the_pair_in_two_passes():
    need("CFG Override")
    patched = run_node(custom.CFGOverride, paired(), 1.0, 0.0, 1.0)
    assert distance(predict(patched, cfg=1.0, **AT), literal_pair()[0]) < EXACT


def test_outside_the_window_of_the_pair_the_weight_of_another_node_is_the_samplers(said):
    patched = paired(override(net()), end=0.3)
    assert scales(patched, cfg=1.0, x=X, steps=4) == [3.0, 3.0, 3.0, 1.0]
    assert scales(patched, x=X, steps=4, make=basic) == [3.0, 1.0, 1.0, 1.0]  # it has no negative to contrast
    assert any(sentence.endswith("it stands for the sampler's there.") for sentence in said())
    timed = text(2, start_percent=0.0, end_percent=0.3)
    assert torch.isfinite(run(patched, negative=timed, steps=4)).all()


# ---- beside everything


NEUTRAL = [
    pytest.param(method, i, id=f"{method.name}-{i}") for method in METHODS for i in range(len(method.neutral(W)))
]


@pytest.mark.parametrize(("method", "i"), NEUTRAL)
def test_a_neutral_setting_changes_nothing_on_the_pair(method, i):
    neutral = method.off(paired(), W)[i]
    assert torch.equal(run(neutral), run(paired()))
    assert passes(neutral, cfg=1.0, x=X) == [2] * 6


@pytest.mark.parametrize("method", [pytest.param(method, id=method.name) for method in METHODS])
def test_an_acting_setting_does_change_the_result_of_the_pair(method):
    ours = sample(on(method.name, paired()), cfg=1.0, x=X, steps=3)
    assert torch.isfinite(ours).all() and distance(ours, run(paired(), steps=3)) > 1e-3


def test_the_log_counts_the_steps_of_a_schedule_that_the_pair_leaves_it(said):
    run(paired(embedded(), end=0.5), steps=4)
    assert said()[0].endswith("(2 of 4 steps).") and said()[1].endswith("2 of 4 steps make two passes.")


def test_a_cfg_that_is_1_up_to_rounding_is_1(said):
    assert passes(paired(), cfg=1.0000001, x=X, steps=2) == [2, 2]
    assert not any("no effect" in sentence for sentence in said())
