"""Promise 6: every rank of latent, every kind of prediction, on the host's own architectures; and per sample."""

import functools

import comfy.context_windows
import comfy.nested_tensor
import comfy.utils
import pytest
import torch
from architectures import packed, video
from azimuth import guidance
from azimuth.nodes.engine.run import RUN
from azimuth.nodes.engine.stages import Moment
from context_windows import FRAMES, windowed
from methods import BY_NAME, METHODS, stack
from packed_latents import pair, sample_pair
from ranks import LATENTS, RANKS, setting
from tiny import (
    alone,
    architecture,
    distance,
    model,
    noise,
    passes,
    predict,
    sample,
    sigmas_of,
    text,
    watch,
)

W, S = 5.0, 1.5
EXACT = 1e-4


def further(kind, patched, mode="compose", weight=S):
    return BY_NAME[mode].on(patched, negative=text(3, width=LATENTS[kind][2]), weight=weight)


def flat(t):
    return t.flatten(1)


def perpendicular(c, u, n):
    p, q = flat(c - u), flat(n - u)
    along = (q * p).sum(1, keepdim=True) / (p * p).sum(1, keepdim=True)
    return u + W * (c - u) - S * W * (q - along * p).view_as(u)


@RANKS
def test_the_formulas_hold_at_every_rank(kind):
    patched, how = setting(kind, batch=2)
    at = {"x": how["x"], "negative": how["negative"], "sigma": 0.6, "patched": patched}
    width = LATENTS[kind][2]
    c, u, n = (alone(text(i, width=width), **at) for i in (1, 2, 3))
    at = {**how, "sigma": 0.6}
    assert distance(predict(further(kind, patched), **at), u + W * (c - u) - S * (n - u)) < EXACT
    assert distance(predict(further(kind, patched, "perpendicular"), **at), perpendicular(c, u, n)) < EXACT
    turned = predict(BY_NAME["rotation"].on(patched, strength=1.0), **at)
    assert torch.allclose(flat(turned).norm(dim=1), flat(c).norm(dim=1), rtol=1e-4)


@RANKS
@pytest.mark.parametrize("name", [m.name for m in METHODS if not m.pictures])
def test_every_method_runs_at_every_rank(kind, name):
    patched, how = setting(kind)
    changes = {"negative": text(3, width=LATENTS[kind][2])} if "negative" in BY_NAME[name].acting else {}
    ours = sample(BY_NAME[name].on(patched, **changes), steps=2, **how)
    theirs = sample(patched, steps=2, **how)
    assert ours.shape == theirs.shape and torch.isfinite(ours).all()
    assert (ours - theirs).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["v", "edm", "flow"])
def test_every_kind_of_prediction(kind):
    patched = stack(model(kind), "scheduled_cfg", "compose", "mimic")
    seen = []
    latent = sample(watch(patched, seen), steps=4)
    assert torch.isfinite(latent).all()
    for args, w in zip(seen, (9.0, 20 / 3, 13 / 3, 2.0), strict=True):
        c, u = args["cond_denoised"], args["uncond_denoised"]
        n = alone(text(3), patched=model(kind), x=args["input"], sigma=args["sigma"][0].item())
        literal = guidance.mimic_threshold(c, u, scale=w, mimic_scale=3.0, percentile=0.99) - S * (n - u)
        assert distance(args["denoised"], literal) < EXACT


# ---- packed latents: a video with its sound


FURTHER = {"negative": text(3, width=128)}


@pytest.mark.parametrize("name", [m.name for m in METHODS if not m.pictures])
def test_every_method_runs_on_packed_latents(name):
    method = BY_NAME[name]
    ours = sample_pair(method.on(architecture(packed), **FURTHER if "negative" in method.acting else {}))
    theirs = sample_pair(architecture(packed))
    for part, plain in zip(ours.unbind(), theirs.unbind(), strict=True):
        assert part.shape == plain.shape and torch.isfinite(part).all()
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(ours.unbind(), theirs.unbind(), strict=True))


@pytest.mark.parametrize(
    "name", ["perpendicular", "mimic_std", "imagen", "adg", "rotation", "partial", "apg", "beta_cfg"]
)
def test_a_picture_is_guided_as_if_it_had_no_sound(name):
    """Each part of what every step ends with is the rule on that part alone."""
    method, seen, calls = BY_NAME[name], [], []

    def keep_call(args):
        calls.append(args["model_options"][RUN].call)
        return args["denoised"]

    patched = watch(method.on(architecture(packed), **FURTHER if "negative" in method.acting else {}), seen)
    patched.set_model_sampler_post_cfg_function(keep_call)
    sample_pair(patched, steps=1)
    (args,), (call,) = seen, calls
    shapes = [part.shape for part in pair().unbind()]
    run = args["model_options"][RUN]
    stage = run.stages[0]
    split = functools.partial(comfy.utils.unpack_latents, latent_shapes=shapes)
    cond, uncond, denoised = split(args["cond_denoised"]), split(args["uncond_denoised"]), split(args["denoised"])
    further = split(call.predictions[0].cpu()) if call.predictions else [None, None]
    of_step = {"sigma": args["sigma"], "network": run.network.seen, "sigmas": run.sigmas}
    moment = functools.partial(Moment, x=None, scale=W, **of_step)
    for c, u, n, result in zip(cond, uncond, further, denoised, strict=True):
        plain = u + W * (c - u)
        if name == "imagen":
            expected = stage.rule(moment(c, u, guided=plain))
        elif name == "perpendicular":
            expected = perpendicular(c, u, n)
        elif name == "partial":
            expected = c + (W - 1) * (c - (0.5 * u + 0.5 * n))
        else:
            ours = stage.rule(moment(c, u, value=run.value(stage, call.step)))
            expected = torch.lerp(plain, ours, run.share(stage, call.step))
        assert distance(result, expected) < EXACT


# ---- context windows


@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_a_further_negative_is_cut_into_the_same_context_windows(before):
    net = architecture(video)
    ours = further("video, 5-D", windowed(net)) if before else windowed(further("video, 5-D", net))
    c, u, n = (alone(text(i), patched=windowed(net), **FRAMES) for i in (1, 2, 3))
    assert distance(n, alone(text(3), patched=net, **FRAMES)) > 1e-3
    assert distance(predict(ours, **FRAMES), u + W * (c - u) - S * (n - u)) < EXACT
    how = {"x": FRAMES["x"], "steps": 2}
    assert passes(ours, **how) == [3] * len(passes(windowed(net), **how))


def test_a_masked_negative_of_another_length_in_context_windows():
    net = windowed(architecture(video))
    mask = torch.zeros(1, 4, 4)  # of the picture: the host has no masks in time for context windows
    mask[:, :2] = 1.0
    patched = BY_NAME["compose"].on(net, negative=text(3, tokens=5, mask=mask))
    c, u, n = (alone(t, patched=net, **FRAMES) for t in (text(1), text(2), text(3, tokens=5)))
    expected = u + W * (c - u) - S * mask * (n - u)
    assert distance(predict(patched, **FRAMES), expected) < EXACT


def test_windows_that_the_video_does_not_need():
    net = windowed(architecture(video), length=16)
    unwindowed = predict(further("video, 5-D", architecture(video)), **FRAMES)
    assert distance(predict(further("video, 5-D", net), **FRAMES), unwindowed) < 1e-6


# ---- batches


@functools.cache
def hosts_own_distance(kind):
    return apart(model(kind))


def apart(patched):
    """How far a batch of 3 lies from three batches of 1 with the same noise."""
    together = sample(patched, x=noise(3))
    one_by_one = torch.cat([sample(patched, x=noise(3)[i : i + 1]) for i in range(3)])
    return (together - one_by_one).abs().max().item() / one_by_one.std().item()


@pytest.mark.parametrize("name", [m.name for m in METHODS if not m.by_index])
def test_a_sample_does_not_depend_on_its_neighbours(name):
    assert apart(BY_NAME[name].on(model())) <= 4 * max(hosts_own_distance("eps"), 1e-6)


@pytest.mark.parametrize("name", [m.name for m in METHODS if m.by_index])
def test_a_sample_with_noise_of_its_own_depends_on_its_place_alone(name):
    patched = BY_NAME[name].on(model())
    together = sample(patched, x=noise(3))
    for i in range(3):
        others = noise(3, seed=50)
        others[i] = noise(3)[i]
        assert torch.equal(sample(patched, x=others)[i], together[i])


def test_nor_under_a_flow_model():
    patched = stack(model("flow"), "perpendicular", "adg")
    assert apart(patched) <= 4 * max(hosts_own_distance("flow"), 1e-6)


# ---- what a run may start from


def test_inpainting():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1.0
    latent = noise(seed=9)
    patched = stack(model(), "scheduled_cfg", "compose", "mimic")
    painted = sample(patched, latent=latent, mask=mask)
    kept = mask.expand_as(latent) == 0
    assert torch.allclose(painted[kept], latent[kept], atol=1e-4)
    assert (painted - sample(model(), latent=latent, mask=mask))[~kept].abs().max() > 0.1
    seen = []
    sample(watch(patched, seen), latent=latent, mask=mask)
    args = seen[2]
    n = alone(text(3), x=args["input"], sigma=args["sigma"][0].item())
    c, u = args["cond_denoised"], args["uncond_denoised"]
    w = guidance.Linear(9.0, 2.0).weight(2 / 5, 0.0)
    literal = guidance.mimic_threshold(c, u, scale=w, mimic_scale=3.0, percentile=0.99) - S * (n - u)
    assert distance(args["denoised"], literal) < EXACT


def test_image_to_image():
    sigmas = sigmas_of(model(), 8)[4:]
    patched = stack(model(), "scheduled_cfg", "perpendicular")
    seen = []
    latent = sample(watch(patched, seen), latent=noise(seed=9), sigmas=sigmas)
    assert torch.isfinite(latent).all()
    assert [args["cond_scale"] for args in seen] == pytest.approx([9.0, 20 / 3, 13 / 3, 2.0])


def test_unsampling():
    sigmas = torch.cat([torch.tensor([0.1]), sigmas_of(model(), 4).flip(0)[1:]])
    patched = stack(model(), "scheduled_cfg", "compose")
    start = {"x": torch.zeros_like(noise()), "latent": noise(), "sigmas": sigmas}
    seen = []
    assert torch.isfinite(sample(watch(patched, seen), **start)).all()
    assert [args["cond_scale"] for args in seen] == pytest.approx([9.0, 20 / 3, 13 / 3, 2.0])
    neutral = BY_NAME["scheduled_cfg"].on(model(), scale=5.0)
    assert torch.equal(sample(neutral, **start), sample(model(), **start))
