"""Adaptive Projected Guidance: the update without what only raises the saturation, bounded and damped."""

import functools

from comfy_api.latest import io

from ...guidance import Constant, apg
from ..engine import inputs, pipeline
from ..engine.stages import Combine
from . import CATEGORY

NAME = "Adaptive Projected Guidance (APG)"

# eta, norm_threshold and momentum: the paper's numbers, except for SD1.5, which are ours.
PRESETS = {
    "SDXL": (0.0, 15.0, -0.5),
    "SD2.1": (0.0, 7.5, -0.75),
    "SD1.5": (0.0, 6.5, -0.5),
    "EDM2": (0.0, 2.5, -0.75),
    "DiT": (0.0, 5.0, -0.5),
}
CUSTOM = [
    inputs.plain_float(
        "eta",
        0.0,
        0.0,
        1.0,
        0.05,
        "eta, the share that is kept of the part along the positive, which raises the saturation: 0 to 0.5. 1 = all.",
    ),
    inputs.plain_float(
        "norm_threshold",
        15.0,
        0.0,
        1000.0,
        0.5,
        "r, the largest norm of the update: 15 for SDXL at 1024 pixels, 7.5 for SD2.1; it grows with the side of the "
        "picture. 0 = no limit.",
    ),
    inputs.plain_float(
        "momentum",
        -0.5,
        -0.99,
        0.0,
        0.05,
        "beta, how much of the last steps' updates is taken back: -0.75 to -0.5. 0 = off.",
    ),
]


def project(knobs, m):
    return apg(m.cond, m.uncond, scale=m.scale, state=m.memory, **knobs)


class AdaptiveProjected(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthAPG",
            display_name=NAME,
            category=CATEGORY,
            description="Guides without the part of the update that only raises contrast and saturation, so that a "
            "high weight does not burn the colours.",
            search_aliases=["APG", "adaptive projected guidance", "oversaturation", "high cfg", "projected"],
            inputs=[
                inputs.model_input(),
                inputs.preset_input(
                    PRESETS,
                    CUSTOM,
                    "eta, r and beta of the paper (arXiv 2410.02416) for a family of models, or your own; other "
                    "families: custom. Useful cfg there: 15 SDXL, 10 SD2.1, 4 EDM2 and DiT. strength 0 switches it "
                    "off.",
                ),
                inputs.strength_input(),
                *inputs.window_inputs("the rule", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None, preset=None):  # the host passes the group of inputs too
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, strength, preset=None, start=0.0, end=1.0) -> io.NodeOutput:
        chosen = inputs.group("preset", preset)
        knobs = inputs.preset(NAME, PRESETS, CUSTOM, chosen)
        stage = Combine(
            NAME,
            Constant(knobs["eta"]),
            "eta",
            rule=functools.partial(project, knobs),
            remembers=knobs["momentum"] != 0.0,
            momentum=knobs["momentum"] != 0.0,
            **inputs.blend(NAME, strength, start, end),
            words=f"{chosen['preset']}, eta {{}}, threshold {knobs['norm_threshold']:g}, "
            f"momentum {knobs['momentum']:g}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [AdaptiveProjected]
