"""The tiny models behind the other tests: of the class that they are called after, alive, and heeding their prompts."""

import architectures
import comfy.model_base
import comfy.model_sampling
import pytest
import torch
from tiny import WIDTH, architecture, distance, predict, tensor, text

# Builder: what the host makes of it, how it predicts, and the shape and width of text of a sample.
ARCHITECTURES = {
    architectures.sd2: ("BaseModel", "V_PREDICTION", (4, 8, 8), WIDTH),
    architectures.sdxl: ("SDXL", "EPS", (4, 8, 8), WIDTH),
    architectures.dit: ("SD3", "CONST", (16, 8, 8), WIDTH),
    architectures.flux: ("Flux", "CONST", (16, 8, 8), WIDTH),
    architectures.schnell: ("Flux", "CONST", (16, 8, 8), WIDTH),
    architectures.chroma: ("Chroma", "CONST", (16, 8, 8), WIDTH),
    architectures.lumina: ("Lumina2", "CONST", (16, 8, 8), WIDTH),
    architectures.qwen: ("QwenImage", "CONST", (16, 1, 8, 8), WIDTH),
    architectures.video: ("WAN21", "CONST", (16, 3, 4, 4), WIDTH),
    architectures.audio: ("StableAudio1", "V_PREDICTION", (64, 12), 768),
}
EVERY = pytest.mark.parametrize("build", ARCHITECTURES, ids=lambda build: build.__name__)


def predicted(build, prompt=1, **options):
    _, _, shape, width = ARCHITECTURES[build]
    [(tokens, own)] = text(prompt, width=width)
    conds = {"positive": [[tokens, {**own, **options}]], "negative": text(3, width=width)}
    return predict(architecture(build), x=tensor(1, 1, *shape), sigma=0.7, cfg=1.0, **conds)


@EVERY
def test_it_is_of_the_hosts_class_and_predicts_what_that_predicts(build):
    name, prediction, *_ = ARCHITECTURES[build]
    net = architecture(build).model
    assert type(net).__name__ == name
    assert isinstance(net.model_sampling, getattr(comfy.model_sampling, prediction))


@EVERY
def test_no_weight_is_zero_and_the_prompt_counts(build):
    parameters = architecture(build).model.diffusion_model.named_parameters()
    assert not [name for name, p in parameters if p.ndim > 1 and not p.any()]
    one, other = predicted(build), predicted(build, prompt=2)
    assert torch.isfinite(one).all() and distance(one, other) > 1e-2


def test_sdxl_heeds_the_pooled_text_and_the_sizes():
    plain = predicted(architectures.sdxl)
    for options in ({"pooled_output": tensor(9, 1, 8)}, {"width": 512}, {"target_height": 512}, {"crop_w": 512}):
        assert distance(predicted(architectures.sdxl, **options), plain) > 1e-3
