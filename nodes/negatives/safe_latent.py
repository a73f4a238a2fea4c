"""Safe Latent Diffusion: keeps away from a concept where the latent leans towards it, and leaves the rest alone."""

import functools

from comfy_api.latest import io

from ...guidance import Constant, safe_latent_terms
from ..engine import inputs, pipeline
from ..engine.stages import Negative, Window
from . import CATEGORY

NAME = "Safe Latent Diffusion (SLD)"

# The official presets: warm-up (as progress; there in steps of 50), s, lambda, s_m and beta.
PRESETS = {
    "medium": (0.2, 1000.0, 0.01, 0.3, 0.4),
    "weak": (0.3, 20.0, 0.0, 0.0, 0.0),
    "strong": (0.14, 2000.0, 0.025, 0.5, 0.7),
    "max": (0.0, 5000.0, 1.0, 0.5, 0.7),
}
CUSTOM = [
    inputs.progress(
        "warmup",
        0.2,
        "delta, the progress before which nothing is changed, so that the layout stays: 0 to 0.3. 0 = no warm-up.",
    ),
    inputs.plain_float(
        "concept_scale",
        1000.0,
        0.0,
        10000.0,
        10.0,
        "s_S, how sharply a lean towards the concept is met: 20 to 5000. 0 = not at all.",
    ),
    inputs.plain_float(
        "threshold",
        0.01,
        -1.0,
        5.0,
        0.005,
        "lambda, in units of noise: 0 meets what leans towards the concept, 0.01 to 0.03 a little more, 1 nearly all. "
        "concept_scale 0 switches it off.",
    ),
    inputs.plain_float(
        "momentum_scale",
        0.3,
        0.0,
        1.0,
        0.05,
        "s_m, how much of the last steps' corrections is added: 0.3 to 0.5. 0 = off, and the warm-up costs nothing.",
    ),
    inputs.plain_float(
        "momentum_beta",
        0.4,
        0.0,
        0.99,
        0.05,
        "beta_m, how long the corrections are remembered: 0.4 to 0.7. 0 = the last step alone.",
    ),
]


def keep_away(warmup, knobs, m):
    terms = safe_latent_terms(
        m.cond,
        m.uncond,
        m.other,
        scale=m.scale,
        sigma=m.sigma,
        kind=m.kind,
        warm=m.progress >= warmup,
        state=m.memory,
        **knobs,
    )
    return m.value * terms


class SafeLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthSafeLatent",
            display_name=NAME,
            category=CATEGORY,
            description="Keeps the picture away from a concept, only at those places that lean towards it and only "
            "after the layout stands, so that an innocent picture stays as it is.",
            search_aliases=["SLD", "safe", "safety", "concept removal", "negative prompt", "localised negative"],
            inputs=[
                inputs.model_input(),
                io.Conditioning.Input(
                    "negative",
                    display_name="concept",
                    tooltip="S, what to keep away from: one thing or a list. From CLIP Text Encode; the text of the "
                    "sampler's negative = no effect.",
                ),
                inputs.preset_input(
                    PRESETS,
                    CUSTOM,
                    "How firmly, as published (arXiv 2211.05105): weak, medium, strong, max; or five numbers of your "
                    "own. strength 0 switches it off.",
                ),
                inputs.number(
                    "strength",
                    default=1.0,
                    low=0.0,
                    high=1.0,
                    step=0.05,
                    tooltip="The share of the correction that is made: 0.5 to 1. A number or a Guidance Schedule. 0 = "
                    "off, and costs nothing.",
                ),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def execute(cls, model, negative, strength, preset=None) -> io.NodeOutput:
        chosen = inputs.group("preset", preset)
        knobs = inputs.preset(NAME, PRESETS, CUSTOM, chosen)
        warmup = knobs.pop("warmup")
        carries = knobs["momentum_scale"] != 0.0
        schedule = inputs.as_schedule(NAME, "strength", strength, 0.0, 1.0)
        stage = Negative(
            NAME,
            schedule if knobs["concept_scale"] else Constant(0.0),
            "strength",
            # A momentum builds up during the warm-up, so the concept is evaluated there; without one it need not be.
            Window() if carries else Window(start=warmup),
            remembers=carries,
            conditioning=inputs.conditioning(NAME, "negative", negative),
            term=functools.partial(keep_away, warmup, knobs),
            mode=f"{chosen['preset']}, warm-up {warmup:g}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [SafeLatent]
