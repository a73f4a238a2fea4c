"""Dynamic Thresholding: the detail of a high weight at the contrast of a lower one, or Imagen's clipping for pixels."""

import functools

from comfy_api.latest import io

from ...guidance import Constant, dynamic_threshold, mimic_threshold
from ..engine import inputs, pipeline
from ..engine.stages import Combine, Correct
from . import CATEGORY

NAME = "Dynamic Thresholding"


def mimic(knobs, m):
    return mimic_threshold(m.cond, m.uncond, scale=m.scale, mimic_scale=m.value, **knobs)


def imagen(percentile, m):
    return dynamic_threshold(m.guided, percentile=percentile)


def nothing_to_mimic(scale, value):
    return scale == value


def little_to_mimic(startpoint, measure, scale, value):
    """For `Combine.faint`: whether the rule does little because its mimic_scale is above the weight.

    The contrast of a larger weight is mostly larger too, and the usual startpoint and measure never add contrast.
    """
    return (startpoint, measure) == ("mean", "ad") and scale < value


def mimic_stage(schedule, percentile, blend, **knobs) -> Combine:
    return Combine(
        NAME,
        schedule,
        "mimic_scale",
        rule=functools.partial(mimic, {"percentile": percentile, **knobs}),
        off=nothing_to_mimic,
        acts_at_1=True,
        **blend,
        words=f"contrast of weight {{}}, percentile {percentile:g}",
        faint=functools.partial(little_to_mimic, knobs["startpoint"], knobs["measure"]),
        fainter="no effect, or a small one, at weights below its mimic_scale",
    )


def imagen_stage(schedule, percentile, blend, **knobs) -> Correct:
    return Correct(
        NAME,
        Constant(percentile),
        "percentile",
        rule=functools.partial(imagen, percentile),
        **blend,
        words=f"Imagen, percentile {percentile:g}",
    )


MODES = {"mimic": mimic_stage, "imagen": imagen_stage}
STARTPOINTS = ["mean", "zero"]
MEASURES = ["ad", "std"]


class DynamicThresholding(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthDynamicThresholding",
            display_name=NAME,
            category=CATEGORY,
            description="Keeps the contrast of a lower weight while guiding with a high one; or clips as Imagen "
            "does, for models that work on pixels.",
            search_aliases=["dynthres", "mimic cfg", "automatic cfg", "cfg fix", "high cfg", "imagen thresholding"],
            inputs=[
                inputs.model_input(),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="mimic",
                    tooltip="mimic: for latents (SD, SDXL, SD3, Flux, video). imagen: for pixel-space models only "
                    "(arXiv 2205.11487); on latents it would shrink everything.",
                ),
                inputs.number(
                    "mimic_scale",
                    default=6.0,
                    low=0.0,
                    high=100.0,
                    step=0.05,
                    tooltip="m, the weight whose contrast is kept, while the sampler's cfg w may be 10 to 20: 5-8 "
                    "for SD and SDXL, 3-5 for SD3; the original node begins with 7. A number or a Guidance Schedule. "
                    "m = w switches it off. Unused by imagen.",
                ),
                inputs.plain_float(
                    "percentile",
                    0.995,
                    0.5,
                    1.0,
                    0.001,
                    "p, the share of values that stays inside the limit: 0.95 to 1. 1 = nothing is clipped "
                    "and all is scaled to the range of m, as the original node begins; smaller leaves more contrast. "
                    "strength 0 switches it off.",
                ),
                io.Boolean.Input(
                    "per_channel",
                    default=True,
                    tooltip="mimic: measure the range of every latent channel on its own (on, the usual choice), or "
                    "of all together (off). Each keeps its mean. imagen ignores it.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "startpoint",
                    options=STARTPOINTS,
                    default="mean",
                    tooltip="mimic: scale around the mean of each channel (the usual choice), or around zero. "
                    "imagen ignores it.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "measure",
                    options=MEASURES,
                    default="ad",
                    tooltip="mimic: what counts as contrast, the largest absolute deviation (ad, the usual choice) "
                    "or the standard deviation (std, without the percentile). imagen ignores it.",
                    advanced=True,
                ),
                inputs.strength_input("phi, the share of the thresholded result"),
                *inputs.window_inputs("the rule", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(
        cls,
        model,
        mode,
        mimic_scale,
        percentile,
        per_channel,
        startpoint,
        measure,
        strength,
        start=0.0,
        end=1.0,
    ) -> io.NodeOutput:
        stage = MODES[inputs.choice(NAME, "mode", mode, MODES)](
            inputs.as_schedule(NAME, "mimic_scale", mimic_scale, 0.0, 100.0),
            inputs.finite_float(NAME, "percentile", percentile, 0.5, 1.0),
            inputs.blend(NAME, strength, start, end),
            per_channel=inputs.switch(NAME, "per_channel", per_channel),
            startpoint=inputs.choice(NAME, "startpoint", startpoint, STARTPOINTS),
            measure=inputs.choice(NAME, "measure", measure, MEASURES),
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [DynamicThresholding]
