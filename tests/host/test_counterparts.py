"""The host's own nodes that have a counterpart here: the same where they are right, else apart by what is said.

More of them in the tests of their methods: RescaleCFG, TCFG, CFG-Zero*, CFGNorm, RenormCFG, Epsilon Scaling, TSR, PAG,
SLG, SAG and the CFG++ samplers.
"""

import pytest
import torch
from architectures import dit
from azimuth import guidance
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_cfg import CFGNorm
from comfy_extras.nodes_fresca import FreSca
from comfy_extras.nodes_lumina2 import RenormCFG
from comfy_extras.nodes_model_advanced import RescaleCFG
from comfy_extras.nodes_perpneg import PerpNeg
from comfy_extras.nodes_perpneg import perp_neg as hosts_perp_neg
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_sd3 import SkipLayerGuidanceSD3
from comfy_extras.nodes_slg import SkipLayerGuidanceDiT
from comfy_extras.nodes_tcfg import TCFG
from comfy_extras.nodes_video_model import VideoLinearCFGGuidance, VideoTriangleCFGGuidance
from features import FRESCA, PRE_CFG, need
from methods import BY_NAME, stack
from ranks import RANKS, setting
from tiny import (
    EMPTY,
    alone,
    architecture,
    custom,
    distance,
    dual,
    model,
    noise,
    passes,
    perp_neg,
    predict,
    run_node,
    sample,
    sigmas_of,
    tensor,
    text,
    watch,
)

W = 5.0
EXACT = 1e-4


def at(kind, batch=2):
    """A call of one of the models, with noise of its level; the second sample is louder than the first."""
    sigma = 0.6 if kind == "flow" else 3.0
    return {"sigma": sigma, "x": noise(batch) * sigma * torch.tensor([1.0, 3.0])[:batch].view(-1, 1, 1, 1)}


def pair_of(patched, **how):
    """The predictions for the positive and the negative, and the noisy latent."""
    seen = []
    predict(watch(patched, seen), **how)
    return (seen[0][key] for key in ("cond_denoised", "uncond_denoised", "input"))


def dot(a, b, over):
    return (a * b).sum(over, keepdim=True)


# ---- APG


def hosts_apg(patched, eta=0.2, threshold=3.0, momentum=0.0):
    return run_node(APG, patched, eta, threshold, momentum)


def apg(patched, eta=0.2, threshold=3.0, momentum=0.0):
    preset = {"preset": "custom", "eta": eta, "norm_threshold": threshold, "momentum": momentum}
    return BY_NAME["apg_custom"].on(patched, preset=preset, strength=1.0)


def projected(c, u, over, eta=0.2):
    """What the host pushes with, for a projection over these dimensions and no threshold."""
    delta = c - u
    return delta + (eta - 1.0) * dot(delta, c, over) / dot(c, c, over) * c


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize(("eta", "threshold"), [(0.0, 0.0), (0.2, 3.0), (1.0, 3.0), (0.0, 100.0)])
def test_apg_is_the_hosts_at_a_weight_one_lower(kind, eta, threshold):
    theirs = predict(hosts_apg(model(kind), eta, threshold), cfg=W - 1.0, **at(kind))
    assert distance(predict(apg(model(kind), eta, threshold), cfg=W, **at(kind)), theirs) < EXACT
    assert distance(predict(model(kind), cfg=W, **at(kind)), theirs) > 0.01


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_a_run_of_apg_with_momentum_is_the_hosts(kind):
    theirs = sample(hosts_apg(model(kind), momentum=-0.6), cfg=W - 1.0, x=noise(2))
    assert distance(sample(apg(model(kind), momentum=-0.6), cfg=W, x=noise(2)), theirs) < 1e-3
    assert distance(sample(apg(model(kind)), cfg=W, x=noise(2)), theirs) > 0.01


def test_departure_at_the_same_weight_the_hosts_apg_pushes_once_more():
    c, u, _ = pair_of(model(), **at("eps"))
    theirs = predict(hosts_apg(model(), threshold=0.0), **at("eps"))
    ours = predict(apg(model(), threshold=0.0), **at("eps"))
    assert distance(theirs - ours, projected(c, u, (1, 2, 3))) < 1e-3


def test_departure_at_weight_1_the_hosts_apg_projects_on_a_missing_negative():
    c = predict(model(), cfg=1.0, **at("eps"))
    theirs = predict(hosts_apg(model(), eta=0.5, threshold=0.0), cfg=1.0, **at("eps"))
    assert distance(theirs, 1.5 * c) < EXACT  # D_c - 0 lies along D_c
    assert torch.equal(predict(apg(model(), eta=0.5, threshold=0.0), cfg=1.0, **at("eps")), c)


def test_departure_at_weight_0_the_hosts_apg_divides_by_it():
    assert not predict(hosts_apg(model()), cfg=0.0, **at("eps")).isfinite().any()
    c, u, _ = pair_of(model(), **at("eps"))
    ours = predict(apg(model(), threshold=0.0), cfg=0.0, **at("eps"))
    assert distance(ours, c - projected(c, u, (1, 2, 3))) < EXACT


def test_departure_the_hosts_momentum_moves_on_in_every_evaluation_and_into_the_next_run():
    theirs, ours = hosts_apg(model(), 0.0, 0.0, -0.6), apg(model(), 0.0, 0.0, -0.6)
    c = alone(text(1), **at("eps"))
    first, second = (predict(theirs, cfg=W - 1.0, **at("eps")) - c for _ in range(2))
    assert distance(second, 0.4 * first) < EXACT
    mine = [predict(ours, **at("eps")) for _ in range(2)]
    assert distance(mine[0], c + first) < EXACT and torch.equal(mine[1], mine[0])
    with pytest.raises(RuntimeError):  # the average of a batch of two meets one of three
        predict(theirs, cfg=W - 1.0, sigma=3.0, x=noise(3) * 3.0)
    assert predict(ours, sigma=3.0, x=noise(3) * 3.0).isfinite().all()
    heun = [sample(patched, cfg=cfg, sampler="heun", steps=4) for patched, cfg in ((theirs, W - 1.0), (ours, W))]
    assert distance(*heun) > 0.01


@RANKS
def test_departure_the_hosts_apg_takes_the_last_three_dimensions_whatever_they_are(kind):
    net, how = setting(kind, batch=2)
    how["sigma"] = 0.6
    c, u, _ = pair_of(net, **how)
    theirs = predict(hosts_apg(net, threshold=0.0), cfg=W - 1.0, **how)
    assert distance(theirs, c + (W - 1.0) * projected(c, u, (-3, -2, -1))) < EXACT
    ours = predict(apg(net, threshold=0.0), cfg=W, **how)
    assert distance(ours, c + (W - 1.0) * projected(c, u, tuple(range(1, c.ndim)))) < EXACT
    # Of a sound those are the whole batch, of a video each channel.
    if kind == "image, 4-D":
        assert distance(ours, theirs) < EXACT
    else:
        assert distance(ours, theirs) > 1e-3


# ---- RescaleCFG, TCFG


def rescaled(guided, c):
    ratio = (c.flatten(1).std(1) / guided.flatten(1).std(1)).view(-1, 1, 1, 1)
    return (0.7 * ratio + 0.3) * guided


def test_departure_of_a_flow_model_the_hosts_rescale_takes_the_v_of_another_family_or_x0():
    """The first up to 0.32, the second since; ours takes the v of flow models, or x0."""
    net, how = model("flow"), at("flow")
    c, u, x = pair_of(net, **how)
    t, guided = how["sigma"], u + W * (c - u)

    def elsewhere(d):
        return (x / (t * t + 1.0) - d) * (t * t + 1.0) ** 0.5 / t

    def back(v):
        return x / (t * t + 1.0) - v * t / (t * t + 1.0) ** 0.5

    theirs = predict(RescaleCFG().patch(net, 0.7)[0], **how)
    earlier, mended = back(rescaled(elsewhere(guided), elsewhere(c))), rescaled(guided, c)
    assert min(distance(theirs, earlier), distance(theirs, mended)) < EXACT
    assert distance(predict(BY_NAME["rescale"].on(net, space="x0"), **how), mended) < EXACT
    assert distance(predict(BY_NAME["rescale"].on(net), **how), x - rescaled(x - guided, x - c)) < EXACT


def test_departure_the_hosts_rescale_fails_for_a_sound():
    net, how = setting("audio, 3-D")
    with pytest.raises(IndexError):
        predict(RescaleCFG().patch(net, 0.7)[0], sigma=0.6, **how)
    assert predict(BY_NAME["rescale"].on(net), sigma=0.6, **how).isfinite().all()


@RANKS
def test_tcfg_is_the_hosts_at_every_rank(kind):
    net, how = setting(kind, batch=2)
    how["sigma"] = 0.6
    theirs = predict(run_node(TCFG, net), **how)
    assert distance(predict(BY_NAME["tcfg"].on(net), **how), theirs) < 1e-3
    assert distance(predict(net, **how), theirs) > 0.01


# ---- FreSca


def fresca(patched, low, high, cutoff):
    return BY_NAME["fresca"].on(patched, mode={"mode": "FreSca", "low": low, "high": high, "cutoff": cutoff})


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("box", [4, 20])
def test_fresca_is_the_hosts_where_all_is_low(kind, box):
    theirs = predict(run_node(FreSca, model(kind), 0.6, 2.0, box), **at(kind))
    assert distance(predict(fresca(model(kind), 0.6, 2.0, 1.5), **at(kind)), theirs) < EXACT
    assert distance(predict(model(kind), cfg=0.6 * W, **at(kind)), theirs) < EXACT


def test_departure_a_share_of_nyquist_acts_on_latents_that_the_hosts_box_of_lines_holds_whole():
    plain = predict(model(), **at("eps"))
    assert distance(predict(run_node(FreSca, model(), 1.0, 1.25, 20), **at("eps")), plain) < EXACT
    assert distance(predict(fresca(model(), 1.0, 1.25, 0.3), **at("eps")), plain) > 0.01


@RANKS
def test_departure_on_the_border_of_the_hosts_box_the_gain_is_the_mean_of_both(kind):
    if kind != "image, 4-D":
        need(FRESCA)
    net, how = setting(kind)
    how["sigma"] = 0.6
    c, u, _ = pair_of(net, **how)
    # Of a sound the host takes the channels for rows.
    lines = [torch.fft.fftfreq(n, 1.0 / n) for n in c.shape[-2:]]
    within = ((lines[0] >= -1) & (lines[0] < 1))[:, None] & ((lines[1] >= -1) & (lines[1] < 1))
    gain = torch.where(within, 0.6, 2.0)
    mirrored = gain.flip(0, 1).roll((1, 1), (0, 1))
    filtered = torch.fft.ifft2(torch.fft.fft2(c - u) * (gain + mirrored) / 2.0).real
    assert distance(predict(run_node(FreSca, net, 0.6, 2.0, 1), **how), u + W * filtered) < EXACT
    assert (gain - mirrored).abs().max() == 1.4
    assert distance(predict(fresca(net, 0.6, 2.0, 0.3), **how), u + W * filtered) > 0.01


# ---- Perp-Neg


def perpendicular(patched, **changes):
    return BY_NAME["perpendicular"].on(patched, negative=text(2), weight=0.8, **changes)


HOSTS_PERP_NEG = {
    "guider": lambda net, **how: predict(net, make=perp_neg(W, 0.8), **how),
    "node": lambda net, **how: predict(run_node(PerpNeg, net, EMPTY, 0.8), **how),
}


@pytest.mark.parametrize("hosts", HOSTS_PERP_NEG.values(), ids=HOSTS_PERP_NEG)
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_a_perpendicular_negative_is_the_hosts_for_one_sample(kind, hosts):
    theirs = hosts(model(kind), **at(kind, 1))
    ours = predict(perpendicular(model(kind)), negative=EMPTY, **at(kind, 1))
    assert distance(ours, theirs) < EXACT
    assert distance(theirs, predict(model(kind), negative=EMPTY, **at(kind, 1))) > 0.01


@pytest.mark.parametrize("hosts", HOSTS_PERP_NEG.values(), ids=HOSTS_PERP_NEG)
def test_departure_the_hosts_perp_neg_projects_a_whole_batch_at_once(hosts):
    how = at("eps")
    c, u, n = (alone(text(i), **how) for i in (1, 7, 2))

    def literal(over):
        p, q = c - u, n - u
        return u + W * (p - 0.8 * (q - dot(q, p, over) / dot(p, p, over) * p))

    theirs, ours = hosts(model(), **how), predict(perpendicular(model()), negative=EMPTY, **how)
    assert distance(theirs, literal((0, 1, 2, 3))) < EXACT
    assert distance(ours, literal((1, 2, 3))) < EXACT
    assert distance(ours, theirs) > 1e-3


def test_departure_the_hosts_perp_neg_is_nan_where_the_positive_says_nothing():
    u, n = (alone(text(i), **at("eps", 1)) for i in (7, 2))
    assert hosts_perp_neg(None, u, n, u, 0.8, W).isnan().all()
    ours = predict(perpendicular(model()), positive=EMPTY, negative=EMPTY, **at("eps", 1))
    assert distance(ours, u - W * 0.8 * (n - u)) < EXACT


# ---- guiders and weights


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize(("style", "scale", "weight"), [("regular", 6.0, 2.5), ("nested", 21.0, 17.5)])
def test_a_further_negative_is_the_hosts_dual_guider(kind, style, scale, weight):
    """Regular: N + 3.5 (M - N) + 6 (P - M). Nested: N + 3.5 ((M + 6 (P - M)) - N). M is the further negative."""
    theirs = predict(model(kind), make=dual(style, cfg1=6.0, cfg2=3.5, middle=4), **at(kind))
    ours = BY_NAME["compose"].on(model(kind), negative=text(4), weight=weight)
    assert distance(predict(ours, cfg=scale, **at(kind)), theirs) < EXACT
    assert distance(predict(model(kind), cfg=scale, **at(kind)), theirs) > 0.01


VIDEO = {
    "linear": (VideoLinearCFGGuidance, [1.0, 2.0, 3.0, 4.0, 5.0]),
    "triangle": (VideoTriangleCFGGuidance, [1.0, 3.0, 5.0, 3.0, 1.0]),
}


@pytest.mark.parametrize(("node", "scales"), VIDEO.values(), ids=VIDEO)
def test_a_weight_for_each_sample_is_the_hosts_weight_for_each_frame(node, scales):
    c, u, _ = pair_of(model(), x=noise(5) * 3.0)
    theirs = predict(node().patch(model(), 1.0)[0], x=noise(5) * 3.0)
    assert distance(guidance.cfg(c, u, scale=torch.tensor(scales)), theirs) < EXACT


@pytest.mark.parametrize("override", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_a_schedule_is_the_hosts_override(kind, override):
    need("CFG Override")
    net = model(kind)
    theirs = run_node(custom.CFGOverride, net, override, 0.3, 0.6)
    sampling = net.get_model_object("model_sampling")
    high, low = (sampling.percent_to_sigma(percent) for percent in (0.3, 0.6))
    weights = [override if low <= sigma <= high else W for sigma in sigmas_of(net)[:-1].tolist()]
    assert 0 < weights.count(override) < 6
    ours = BY_NAME["scheduled_cfg"].on(net, scale=guidance.Steps(tuple(weights)))
    assert torch.equal(sample(ours), sample(theirs))
    assert passes(ours) == passes(theirs)


def test_departure_outside_its_window_the_hosts_renorm_cfg_pays_for_a_negative_that_it_throws_away():
    net = model("flow")
    sigmas = sigmas_of(net).tolist()
    theirs = run_node(RenormCFG, net, (sigmas[1] + sigmas[2]) / 2.0, 1.0)
    ours = BY_NAME["norm_limit"].on(BY_NAME["scheduled_cfg"].on(net, scale=W, start=0.4))
    assert distance(sample(ours), sample(theirs)) < 1e-3
    assert (passes(ours), passes(theirs)) == ([1, 1, 2, 2, 2, 2], [2] * 6)


# ---- the norm of the noise


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_energy_preserved_pixel_by_pixel_is_the_hosts_cfg_norm_before_the_combination(strength):
    """A latent of one pixel is a sample of its own."""
    need(PRE_CFG)
    how = {"x": noise() * 3.0, "sigma": 3.0}
    c, u, x = pair_of(model(), **how)
    c, u, x = (t.flatten(2).permute(2, 1, 0)[..., None] for t in (c, u, x))
    guided = u + W * (c - u)
    ours = torch.lerp(guided, guidance.energy_preserving(guided, c, x=x), strength)
    theirs = predict(run_node(CFGNorm, model(), strength, True), **how)
    assert distance(ours[..., 0].permute(2, 1, 0).view_as(theirs), theirs) < EXACT


# ---- weaker models

AT_DIT = {"sigma": 0.7, "x": tensor(1, 1, 16, 8, 8)}
HOSTS_SLG = {
    "SkipLayerGuidanceDiT": lambda net, *window: run_node(SkipLayerGuidanceDiT, net, 2.0, *window, "1", "", 0.0),
    "SkipLayerGuidanceSD3": lambda net, *window: run_node(SkipLayerGuidanceSD3, net, "1", 2.0, *window),
}


@pytest.mark.parametrize("hosts", HOSTS_SLG.values(), ids=HOSTS_SLG)
def test_a_window_of_slg_is_the_hosts_at_the_levels_of_its_steps(hosts):
    net = architecture(dit)
    sampling = net.get_model_object("model_sampling")
    high, low = (sampling.percent_to_sigma(percent) for percent in (0.2, 0.6))
    weights = [2.0 if low <= sigma <= high else 0.0 for sigma in sigmas_of(net)[:-1].tolist()]
    assert 0 < weights.count(2.0) < 6
    choice = {"choice": "fixed", "blocks": "1"}
    ours = BY_NAME["slg"].on(net, choice=choice, scale=guidance.Steps(tuple(weights)))
    theirs = hosts(net, 0.2, 0.6)
    assert distance(sample(ours, x=AT_DIT["x"]), sample(theirs, x=AT_DIT["x"])) < 1e-3
    assert passes(ours, x=AT_DIT["x"]) == passes(theirs, x=AT_DIT["x"])


@pytest.mark.parametrize(("size", "hosts"), [(4, "nothing"), (7, "another"), (8, "the same")])
def test_departure_a_small_picture_has_fewer_taps_where_the_hosts_sag_leaves_it_out(size, hosts):
    how = {"x": noise(size=size) * 3.0}
    theirs = predict(run_node(SelfAttentionGuidance, model(), 0.7, 2.0), **how)
    ours, plain = predict(BY_NAME["sag"].on(model()), **how), predict(model(), **how)
    assert distance(ours, plain) > 1e-3
    assert torch.equal(theirs, plain) == (hosts == "nothing")
    assert (distance(ours, theirs) < EXACT) == (hosts == "the same")


# ---- the best that one workflow of theirs can be


def test_a_chain_of_the_hosts_nodes_is_the_chain_of_ours():
    theirs = RescaleCFG().patch(run_node(TCFG, model()), 0.7)[0]
    ours = stack(model(), "tcfg", "rescale")
    assert distance(sample(ours, x=noise(2)), sample(theirs, x=noise(2))) < 1e-3
