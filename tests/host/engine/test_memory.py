"""Rules with a memory on the real host: every step against the paper's loop, written out; and what the log says."""

import functools

import pytest
import torch
from azimuth import guidance
from azimuth.nodes.engine import stages
from azimuth.nodes.rules import smc as smc_node
from methods import BY_NAME, METHODS, stack
from tiny import basic, distance, model, sample, turns, watch

# The host's SDE noise asks for a time that is out of its range by a rounding; its deis gives a tensor to numpy.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Should have t"),
    pytest.mark.filterwarnings("ignore:__array_wrap__"),
]

EXACT = 1e-4


def plain(args):
    c, u, w = args["cond_denoised"], args["uncond_denoised"], args["cond_scale"]
    return c if args["uncond"] is None else u + w * (c - u)


def level(kind, sigma):
    return sigma if kind == "flow" else sigma / (1 + sigma)


def momentum(args, m, kind, alpha, beta, t_min, t_max):
    d, sigma = plain(args), args["sigma"][0].item()
    v = (args["input"] - d) / sigma
    m = v if m is None else m
    inside = t_min <= level(kind, args.get("begun", sigma)) <= t_max
    return d - inside * alpha * sigma * (v - m), (1 - beta) * v + beta * m


def dct(n):
    k, j = torch.arange(n).double()[:, None], torch.arange(n).double()
    rows = torch.cos(torch.pi * (j + 0.5) * k / n) * (2 / n) ** 0.5
    rows[0] /= 2**0.5
    return rows.float()


def higs(args, g, kind, weight, average, eta, t_min, t_max, bias_correction):
    d, t = plain(args), level(kind, args.get("begun", args["sigma"][0].item()))
    if g is None:
        return d, average * d
    r = d - g
    along = (r * d).sum() / (d * d).sum() * d
    h, w = d.shape[-2:]
    radius = torch.hypot(torch.arange(h)[:, None] / h, torch.arange(w) / w)
    wave = torch.sigmoid(50 * (radius - 0.05)) * (dct(h) @ (r - along + eta * along) @ dct(w).T)
    now = weight * ((t - t_min) / (t_max - t_min)) ** 0.5 if t_min < t <= t_max else 0.0
    return d + now * (dct(h).T @ wave @ dct(w)), average * d + (1 - average) * g


def smc(args, p, kind, gain, lam, gain_unit, chatter_free, strength):
    c, u, sigma = args["cond_denoised"], args["uncond_denoised"], args["sigma"][0].item()
    error = (c - u) / sigma
    surface = error + (lam - 1) * (error if p is None else p)
    left = error - gain * error.abs().mean() * surface.sign()
    return u + args["cond_scale"] * sigma * left, left


LITERAL = {"momentum": momentum, "higs": higs, "smc": smc}
CORRECTIONS = ["momentum", "higs"]


def followed(name, kind, sampler, steps=6, **how):
    """The largest distance of what a call ended with from the literal rule, and the number of calls and of states."""
    seen, patched = [], BY_NAME[name].on(model(kind))
    sample(watch(patched, seen), sampler=sampler, steps=steps, **how)
    literal = functools.partial(LITERAL[name], kind=kind, **BY_NAME[name].acting)
    apart, before, latest, states, begun = 0.0, None, None, 0, None
    for args, (_, begins) in zip(seen, turns(sampler, steps), strict=True):
        before, begun = (latest, args["sigma"][0].item()) if begins else (before, begun)
        expected, kept = literal({**args, "begun": begun}, before)
        latest, states = (kept, states + 1) if begins else (latest, states)
        apart = max(apart, distance(args["denoised"], expected))
    return apart, len(seen), states


@pytest.mark.parametrize(
    ("kind", "sampler", "calls"),
    [
        ("eps", "euler", 6),
        ("flow", "euler", 6),
        ("eps", "heun", 11),
        ("flow", "heun", 11),
        ("v", "dpmpp_2s_ancestral", 11),
        ("eps", "dpmpp_sde", 11),
    ],
)
@pytest.mark.parametrize("name", LITERAL)
def test_every_step_is_the_papers_and_the_memory_advances_once_a_step(name, kind, sampler, calls):
    apart, seen, states = followed(name, kind, sampler)
    assert (seen, states) == (calls, 6)
    assert apart < EXACT


@pytest.mark.parametrize("how", [{"cfg": 1.0}, {"make": basic}], ids=["cfg 1", "Basic Guider"])
@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_correction_with_a_memory_needs_no_negative(name, how, said):
    apart, seen, _ = followed(name, "flow", "heun", **how)
    assert seen == 11 and apart < EXACT
    patched = BY_NAME[name].on(model())
    assert distance(sample(patched, **how), sample(model(), **how)) > 0.01
    assert not said()


def test_under_a_basic_guider_a_correction_that_is_off_changes_nothing():
    for name, changes in (("momentum", {"alpha": 0.0}), ("higs", {"weight": 0.0})):
        patched = BY_NAME[name].on(model(), **changes)
        assert torch.equal(sample(patched, make=basic), sample(model(), make=basic))


def test_without_a_run_in_its_window_a_correction_changes_nothing():
    for name in CORRECTIONS:
        patched = BY_NAME[name].on(model("flow"), t_min=0.0, t_max=0.05)
        assert torch.equal(sample(patched), sample(model("flow")))


def test_steps_at_weight_1_leave_the_memory_of_a_combine_rule_as_it_was():
    seen = []
    weights = guidance.Steps((5.0, 1.0, 5.0))
    patched = BY_NAME["smc"].on(BY_NAME["scheduled_cfg"].on(model("flow"), scale=weights))
    sample(watch(patched, seen), steps=3)
    literal = functools.partial(smc, kind="flow", **BY_NAME["smc"].acting)
    first, kept = literal(seen[0], p=None)
    third, _ = literal(seen[2], p=kept)
    assert distance(seen[0]["denoised"], first) < EXACT and distance(seen[2]["denoised"], third) < EXACT
    assert torch.equal(seen[1]["denoised"], seen[1]["cond_denoised"])
    assert distance(third, literal(seen[2], p=None)[0]) > 0.01


@pytest.mark.parametrize(("name", "number"), [("momentum", "alpha"), ("higs", "weight"), ("smc", "gain")])
def test_the_number_of_a_rule_with_a_memory_may_vary_over_the_run(name, number):
    """A step at 0 is plain CFG, and the memory stays as it was."""
    values, seen, before, apart = (0.6, 0.0, 0.3, 0.9), [], None, []
    changes = {"t_min": 0.0, "t_max": 1.0} if name in CORRECTIONS else {}
    patched = BY_NAME[name].on(model("flow"), **changes, **{number: guidance.Steps(values)})
    sample(watch(patched, seen), steps=4)
    for args, value in zip(seen, values, strict=True):
        expected = plain(args)
        if value:
            how = {**BY_NAME[name].acting, **changes, number: value}
            expected, before = LITERAL[name](args, before, kind="flow", **how)
        assert distance(args["denoised"], expected) < EXACT
        apart.append(distance(expected, plain(args)))
    assert apart[2] > 1e-3 and apart[3] > 1e-3


@pytest.mark.parametrize("name", LITERAL)
def test_the_share_of_a_rule_with_a_memory_may_vary_over_the_run(name):
    """A step at 0, or outside the window, is plain CFG and leaves the memory as it was."""
    changes = {"t_min": 0.0, "t_max": 1.0} if name in CORRECTIONS else {}
    how, shares = {**BY_NAME[name].acting, **changes, "strength": 1.0}, (1.0, 0.0, 0.5, 1.0, 0.0)
    seen, before = [], None
    patched = BY_NAME[name].on(model("flow"), **changes, strength=guidance.Steps((1.0, 0.0, 0.5, 1.0, 1.0)), end=0.9)
    sample(watch(patched, seen), steps=5)
    if name in CORRECTIONS:
        del how["strength"]
    for args, share in zip(seen, shares, strict=True):
        expected = plain(args)
        if share:
            ours, before = LITERAL[name](args, before, kind="flow", **how)
            expected = torch.lerp(expected, ours, share)
        assert distance(args["denoised"], expected) < EXACT
    assert distance(seen[3]["denoised"], plain(seen[3])) > 1e-3


# ---- what the log says


MULTISTEP = ["dpmpp_2m", "dpmpp_3m_sde", "lms", "ipndm", "deis", "uni_pc", "uni_pc_bh2", "res_multistep"]
MULTISTEP += ["gradient_estimation", "er_sde", "sa_solver", "dpmpp_2m_cfg_pp"]


@pytest.mark.parametrize("sampler", MULTISTEP)
def test_a_sampler_that_reuses_steps_is_warned_of_once(sampler, said):
    sample(BY_NAME["momentum"].on(model()), sampler=sampler, steps=4)
    warnings = [s for s in said() if "reuses earlier steps" in s]
    assert len(warnings) == 1 and warnings[0].startswith("Momentum Guidance (MG): the sampler")


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2s_ancestral", "dpmpp_sde", "ddim", "dpm_2"])
def test_other_samplers_are_not(sampler, said):
    sample(BY_NAME["momentum"].on(model()), sampler=sampler, steps=4)
    assert not said()


def test_higs_is_warned_of_above_half(said):
    for weight in (0.5, guidance.Steps((0.5, 0.1))):
        sample(BY_NAME["higs"].on(model(), weight=weight), sampler="dpmpp_2m", steps=2)
    assert not said()
    sample(BY_NAME["higs"].on(model(), weight=guidance.Steps((0.0, 0.55))), sampler="dpmpp_2m", steps=2)
    assert len(said()) == 1 and said()[0].startswith("History Guidance (HiGS): the sampler dpmpp_2m")
    assert "0.5 at most" in said()[0]


def test_a_correction_that_is_off_warns_of_nothing(said):
    for off in (0.0, guidance.Steps((0.0, 0.0))):
        sample(BY_NAME["momentum"].on(model(), alpha=off), sampler="dpmpp_2m", steps=2)
    assert not said()


@pytest.mark.parametrize("name", CORRECTIONS)
def test_the_momentum_of_apg_is_warned_of(name, said):
    def warnings():
        return [s for s in said() if "momentum of Adaptive Projected Guidance (APG)" in s]

    sample(stack(model(), "apg_custom", name), steps=2)
    assert len(warnings()) == 1
    sample(BY_NAME[name].on(BY_NAME["apg_custom"].on(model(), strength=0.0)), steps=2)
    assert len(warnings()) == 1


def test_an_absolute_gain_is_for_flow_models(said):
    absolute = {"gain_unit": smc_node.ABSOLUTE}
    sample(BY_NAME["smc"].on(model("flow"), **absolute), steps=2)
    for off in ({"gain": 0.0}, {"gain": guidance.Steps((0.0, 0.0))}, {"strength": 0.0}):
        sample(BY_NAME["smc"].on(model(), **absolute, **off), steps=2)
    assert not said()
    sample(BY_NAME["smc"].on(model(), **absolute), steps=2)
    assert len(said()) == 1 and "input gain_unit" in said()[0] and "choose relative" in said()[0]


# ---- what is refused


@pytest.mark.parametrize(("first", "second"), [("momentum", "higs"), ("higs", "momentum"), ("higs", "higs")])
def test_two_corrections_with_a_history_are_an_error_that_names_both(first, second):
    with pytest.raises(ValueError) as error:
        stack(model(), first, "imagen", second)
    for name in (first, second):
        assert stages.of(BY_NAME[name].on(model()))[0].node in str(error.value)


BY_LEVEL = [method.name for method in METHODS if {"t_min", "t_max"} <= method.acting.keys()]


@pytest.mark.parametrize("name", BY_LEVEL)
def test_noise_levels_in_the_wrong_order_are_refused_before_the_run_and_in_it(name):
    node = BY_NAME[name].node
    with pytest.raises(ValueError, match=r"input t_min: .*0\.8.*0\.2") as before:
        node.validate_inputs(t_min=0.8, t_max=0.2)
    with pytest.raises(ValueError) as error:
        BY_NAME[name].on(model(), t_min=0.8, t_max=0.2)
    assert str(error.value) == str(before.value)
    assert node.validate_inputs(t_min=None, t_max=0.1) is True  # t_min is linked
    for bad in (float("nan"), -0.1, 1.1, "0"):
        with pytest.raises(ValueError, match="input t_max"):
            BY_NAME[name].on(model(), t_max=bad)


def test_soft_thresholding_has_no_memory():
    patched = BY_NAME["smc"].on(model("flow"), chatter_free=True)
    assert not stages.of(patched)[0].remembers
    seen = []
    sample(watch(patched, seen), steps=3)
    for args in seen:
        c, u = args["cond_denoised"], args["uncond_denoised"]
        soft = torch.nn.functional.softshrink(c - u, (0.2 * (c - u).abs().mean()).item())
        assert distance(args["denoised"], u + args["cond_scale"] * soft) < EXACT
