"""Negative Guidance: one further negative with its own weight; chain nodes for more."""

from comfy_api.latest import io

from ...guidance import negative_terms, partial_negative, perp_terms
from ..engine import inputs, pipeline
from ..engine.stages import Negative
from . import CATEGORY

NAME = "Negative Guidance"


def composed(m):
    return negative_terms(m.uncond, [m.other], weights=[m.value])


def negated(m):
    return negative_terms(m.uncond, [m.other], weights=[m.scale * m.value])


def perpendicular(m):
    return perp_terms(m.cond, m.uncond, [m.other], weights=[m.scale * m.value])


def partial(m):
    return partial_negative(m.uncond, m.other, strength=m.value)


MODES = {
    "compose": {"term": composed},
    "not": {"term": negated},
    "perpendicular": {"term": perpendicular},
    "partial": {"baseline": partial},
}


class NegativeGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthNegativeGuidance",
            display_name=NAME,
            category=CATEGORY,
            description="Adds one further negative with its own weight and window, next to the sampler's negative. "
            "Chain the node for more.",
            search_aliases=[
                "negative prompt",
                "milder negative",
                "perp-neg",
                "composable",
                "NOT",
                "delayed negative",
                "multiple negatives",
            ],
            inputs=[
                inputs.model_input(),
                io.Conditioning.Input(
                    "negative",
                    tooltip="D_n, the further negative, from CLIP Text Encode. The "
                    "text of the sampler's negative = no effect.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="perpendicular",
                    tooltip="compose: - weight (D_n - D_u), can fight the prompt (arXiv 2206.01714). not: the same, "
                    "as strong as the prompt, - w weight (D_n - D_u). perpendicular: only its part that leaves the "
                    "prompt alone, - w weight perp(D_n - D_u) (Perp-Neg, arXiv 2304.04968). partial: takes this share "
                    "of the sampler's negative's place.",
                ),
                inputs.number(
                    "weight",
                    default=1.0,
                    low=0.0,
                    high=20.0,
                    step=0.05,
                    tooltip="compose: w_n, on the scale of a cfg, 1 to 4. not: a share of w, 0.3 to 1. perpendicular: "
                    "b, 0.5 to 1.5. partial: nu, 0 to 1. A number or a Guidance Schedule. 0 = off, and costs nothing.",
                ),
                *inputs.window_inputs("this negative"),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, negative, mode, weight, start, end) -> io.NodeOutput:
        functions = MODES[inputs.choice(NAME, "mode", mode, MODES)]
        high = 1.0 if "baseline" in functions else 20.0
        stage = Negative(
            NAME,
            inputs.as_schedule(NAME, "weight", weight, 0.0, high),
            "weight",
            inputs.as_window(NAME, start, end),
            conditioning=inputs.conditioning(NAME, "negative", negative),
            mode=mode,
            **functions,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [NegativeGuidance]
