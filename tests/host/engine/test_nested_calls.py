"""A function of another node may call the guider in the middle of a call. The call around it goes on as before."""

import pytest
import torch
from methods import BY_NAME
from tiny import guider_of, model, sample


def asked_again(patched, guider: list, place: str):
    """The MODEL with a function of another node that calls the guider once more, and ignores the answer."""
    inside = []

    def ask(args):
        if not inside:
            inside.append(True)
            guider[0].outer_predict_noise(args["input"] * 0.9, args["sigma"], args["model_options"], 3)
            inside.clear()
        return args["denoised"] if "denoised" in args else args["conds_out"]

    patched = patched.clone()
    if place == "pre":
        patched.set_model_sampler_pre_cfg_function(ask, disable_cfg1_optimization=False)
    else:
        patched.set_model_sampler_post_cfg_function(ask)
    return patched


@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("method", ["compose", "partial", "contrastive"])
def test_a_call_in_a_call_leaves_the_outer_one_as_it_was(method, place):
    guider = []
    patched = BY_NAME[method].on(asked_again(model(), guider, place))
    guider.append(guider_of(patched))
    assert torch.equal(sample(patched, guider=guider[0]), sample(BY_NAME[method].on(model())))
