"""What a sampler that a test writes out reads besides the guided prediction."""

import comfy.model_patcher


def noting(extra_args):
    """The extra_args of a sampler with a function that notes both predictions of a call, and where it notes them."""
    found = {}

    def note(args):
        found.update(args)
        return args["denoised"]

    options = comfy.model_patcher.set_model_options_post_cfg_function(
        extra_args["model_options"].copy(), note, disable_cfg1_optimization=True
    )
    return {**extra_args, "model_options": options}, found
