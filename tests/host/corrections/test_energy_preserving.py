"""Energy-preserving guidance in the host. What it does without a pair is tested with Rescale CFG."""

import pytest
import torch
from architectures import video
from azimuth import guidance
from methods import BY_NAME, stack
from tiny import (
    architecture,
    distance,
    model,
    predict,
    sample,
    tensor,
    watch,
)

W = 5.0
EXACT = 1e-4


def energy(patched, mode="plain", scope="sample", strength=1.0):
    return BY_NAME["energy"].on(patched, mode=mode, scope=scope, strength=strength)


def plain(args):
    return args["uncond_denoised"] + args["cond_scale"] * (args["cond_denoised"] - args["uncond_denoised"])


def network(args, d):
    """What the network predicts for a denoised picture: the noise of a VE model, the velocity of a flow."""
    return (args["input"] - d) / args["sigma"].item()


def literal(args, guided, dim=None):
    wanted, actual = (network(args, d).norm(dim=dim, keepdim=True) for d in (args["cond_denoised"], guided))
    return args["input"] - args["sigma"].item() * network(args, guided) * wanted / actual


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_every_step_has_the_norm_of_the_positive(kind):
    seen = []
    sample(watch(energy(model(kind)), seen), steps=4)
    for args in seen:
        assert distance(args["denoised"], literal(args, plain(args))) < EXACT
        ours, theirs = (network(args, args[key]).norm().item() for key in ("denoised", "cond_denoised"))
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_the_robust_form_takes_the_squares_between_two_percentiles(kind):
    seen = []
    sample(watch(energy(model(kind), mode="robust"), seen), steps=3)
    for args in seen:
        bands = []
        for d in (args["cond_denoised"], plain(args)):
            squares = network(args, d).flatten().square().sort().values
            last = len(squares) - 1
            bands.append(squares[int(0.45 * last) : -(-55 * last // 100) + 1].sum())
        factor = (bands[0] / bands[1]).sqrt()
        expected = args["input"] - factor * (args["input"] - plain(args))
        assert distance(args["denoised"], expected) < EXACT


def test_every_frame_and_channel_of_a_video_can_have_its_own_norm():
    how = {"x": tensor(5, 1, 16, 3, 4, 4), "sigma": 0.6}
    for scope, dim in (("sample", None), ("frame", (-2, -1))):
        seen = []
        predict(watch(energy(architecture(video), scope=scope), seen), **how)
        assert distance(seen[0]["denoised"], literal(seen[0], plain(seen[0]), dim)) < EXACT
    ours, theirs = (predict(energy(architecture(video), scope=scope), **how) for scope in ("sample", "frame"))
    assert distance(ours, theirs) > 1e-3


def test_the_strength_is_the_share_of_the_result():
    whole, half = predict(energy(model())), predict(energy(model(), strength=0.5))
    assert distance(half, (whole + predict(model())) / 2) < EXACT


@pytest.mark.parametrize("order", [("energy", "adg"), ("adg", "energy")], ids="-".join)
def test_it_follows_a_combine_rule_whatever_the_wiring(order):
    seen = []
    predict(watch(stack(model(), *order), seen))
    turned = guidance.angle_domain(seen[0]["cond_denoised"], seen[0]["uncond_denoised"], scale=W)
    assert distance(seen[0]["denoised"], literal(seen[0], turned)) < EXACT


def test_two_corrections_run_in_the_order_of_their_wires():
    seen = []
    predict(watch(stack(model(), "rescale", "energy"), seen))
    rescaled = predict(BY_NAME["rescale"].on(model()))
    assert distance(seen[0]["denoised"], literal(seen[0], rescaled)) < EXACT
    assert distance(predict(stack(model(), "energy", "rescale")), seen[0]["denoised"]) > 1e-3


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"mode": "fast"}, "input mode: there is no 'fast'; choose one of plain, robust"),
        ({"scope": "batch"}, "input scope: there is no 'batch'; choose one of sample, frame"),
        ({"strength": 2}, "input strength: 2 is out of range"),
    ],
)
def test_bad_input_is_refused(changes, about):
    with pytest.raises(ValueError) as error:
        energy(model(), **changes)
    assert str(error.value).startswith(f"Energy-Preserving Guidance (EP-CFG), {about}")


def test_a_burnt_weight_keeps_its_contrast():
    burnt, kept = (sample(patched, cfg=15.0) for patched in (model(), energy(model())))
    assert kept.std() < 0.7 * burnt.std()
    assert torch.isfinite(kept).all()
