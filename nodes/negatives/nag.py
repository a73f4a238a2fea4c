"""Normalized Attention Guidance: a negative prompt for models that have none, inside their attention."""

import functools

from comfy_api.latest import io

from ...guidance import nag
from ..engine import inputs, pipeline
from ..engine.networks import attention_rows
from ..engine.stages import Attention
from . import CATEGORY

NAME = "Normalized Attention Guidance (NAG)"

# tau, alpha and the norm, as in the authors' code. Its scales are 5 for Flux and SD3.5, 3 for SDXL and 9 for Wan.
PRESETS = {
    "Flux, video": (2.5, 0.25, "L1"),
    "SD3.5": (2.5, 0.125, "L1"),
    "SD1.5, SDXL": (2.5, 0.5, "L1"),
    "Flux, as in the authors' code": (2.5, 0.25, "L2"),
}
NORMS = {"L1": 1, "L2": 2}
CUSTOM = [
    inputs.plain_float(
        "tau",
        2.5,
        1.0,
        10.0,
        0.1,
        "tau, how many times as long as for the prompt alone a token's attention may become: 1.5 to 3. 1 = no longer; "
        "alpha 0 switches it off.",
    ),
    inputs.plain_float(
        "alpha",
        0.25,
        0.0,
        1.0,
        0.005,
        "alpha, the share of the guided attention in the result: 0.125 to 0.5. 0 = off, and costs nothing.",
    ),
]
NORM = io.Combo.Input(
    "norm",
    options=list(NORMS),
    default="L1",
    tooltip="How a token's length is measured: L1 as in the paper, L2 as in the authors' code for Flux. alpha 0 "
    "switches it off.",
)


def knobs_of(chosen: dict) -> tuple[float, float, int]:
    """tau, alpha and the norm: those of the chosen preset, or those typed under custom."""
    name = inputs.choice(NAME, "preset", chosen.get("preset"), [*PRESETS, "custom"])
    if name == "custom":
        tau, alpha = inputs.floats(NAME, CUSTOM, chosen).values()
        norm = inputs.choice(NAME, "norm", chosen.get("norm"), NORMS)
    else:
        tau, alpha, norm = PRESETS[name]
    return tau, alpha, NORMS[norm]


def turned_away(tau, alpha, norm, positive, negative, scale):
    return nag(positive, negative, scale=scale, tau=tau, alpha=alpha, norm=norm)


class NormalizedAttention(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthNAG",
            display_name=NAME,
            category=CATEGORY,
            description="A negative prompt for models that are sampled at cfg 1 (Flux, schnell, distilled Wan, LCM and "
            "Turbo): inside the model, what the picture reads in the prompt is pushed away from what it would read in "
            "the negative.",
            search_aliases=[
                "NAG",
                "negative prompt flux",
                "flux negative",
                "negative at cfg 1",
                "attention guidance",
                "turbo",
            ],
            inputs=[
                inputs.model_input(),
                io.Conditioning.Input(
                    "negative",
                    tooltip="What to keep away from: its text alone counts. From CLIP Text Encode; the text of the "
                    "prompt = no effect.",
                ),
                inputs.number(
                    "scale",
                    default=5.0,
                    low=0.0,
                    high=50.0,
                    step=0.05,
                    tooltip="s, how far away: 5 for Flux and SD3.5, 3 for SDXL, 9 to 11 for Wan. A number or a "
                    "Guidance Schedule. 1 or less = off, and costs nothing.",
                ),
                io.DynamicCombo.Input(
                    "preset",
                    options=[
                        *(io.DynamicCombo.Option(name, []) for name in PRESETS),
                        io.DynamicCombo.Option("custom", [*CUSTOM, NORM]),
                    ],
                    tooltip="tau, alpha and the norm, as published for the kind of model (arXiv 2505.21179); or your "
                    "own. scale 1 switches it off.",
                ),
                *inputs.window_inputs("the guidance"),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None, preset=None):  # the host passes the group of inputs too
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, negative, scale, start, end, preset=None) -> io.NodeOutput:
        chosen = inputs.group("preset", preset)
        tau, alpha, norm = knobs_of(chosen)
        stage = Attention(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 50.0),
            "scale",
            inputs.as_window(NAME, start, end),
            conditioning=inputs.conditioning(NAME, "negative", negative),
            rule=functools.partial(turned_away, tau, alpha, norm),
            off=lambda value: alpha == 0.0 or value <= 1.0,
            obstacle=attention_rows.no_way,
            words=f"scale {{}}, tau {tau:g}, alpha {alpha:g}, L{norm}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [NormalizedAttention]
