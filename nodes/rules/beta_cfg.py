"""Beta-CFG: a weight that rises and falls over the run, and an update that is divided by a power of its norm."""

import functools

from comfy_api.latest import io

from ...guidance import Beta, Constant, beta_cfg
from ..engine import inputs, pipeline
from ..engine.stages import Combine
from . import CATEGORY

NAME = "Beta-CFG"

REFERENCE = inputs.plain_float(
    "reference",
    0.1,
    0.001,
    10.0,
    0.01,
    "Not in the paper: the root mean square of d = eps_c - eps_u at which w is a usual cfg, 0.05 to 0.25. A larger d "
    "is guided less, a smaller one more. gamma 0 switches it off.",
)
FORMS = {"normalised (ours)": [REFERENCE], "paper": []}
KNOBS = [
    inputs.plain_float(
        "gamma",
        1.0,
        0.0,
        1.0,
        0.05,
        "gamma, the power of ||d|| that the update is divided by: 0.3 to 1; 1 in the paper. 0 = off.",
    ),
    inputs.plain_float(
        "a",
        2.0,
        1.0,
        20.0,
        0.05,
        "a of the Beta density that the weight is multiplied with: 1.5 to 4; larger moves its peak towards the end. "
        "a = b = 1 = off.",
    ),
    inputs.plain_float(
        "b", 3.0, 1.0, 20.0, 0.05, "b: 1.5 to 4; larger moves the peak towards the start. a = b = 1 = off."
    ),
    inputs.plain_float(
        "floor",
        1.0,
        0.0,
        10.0,
        0.05,
        "The smallest weight in the end (not in the paper, whose first and last steps ignore the prompt): 1 = never "
        "less than the prompt alone. 0 = off.",
    ),
]


def divide(floor, knobs, m):
    w = m.scale * m.value
    return beta_cfg(m.cond, m.uncond, scale=w, sigma=m.sigma, kind=m.kind, floor=floor, **knobs)


def changes_nothing(gamma, floor, scale, value):
    return gamma == 0.0 and max(floor, scale * value) == scale


def reference_of(chosen: dict) -> float | None:
    form = inputs.choice(NAME, "form", chosen.get("form"), FORMS)
    return inputs.floats(NAME, FORMS[form], chosen).get("reference")


class BetaCFG(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthBetaCFG",
            display_name=NAME,
            category=CATEGORY,
            description="Divides the update by a power of its norm, so that no step is pushed much harder than "
            "another, and lets the weight rise and fall over the run.",
            search_aliases=["beta-CFG", "adaptive scaling", "beta distribution", "gamma", "normalised guidance"],
            inputs=[
                inputs.model_input(),
                io.DynamicCombo.Input(
                    "form",
                    options=[io.DynamicCombo.Option(name, fields) for name, fields in FORMS.items()],
                    tooltip="normalised (ours): cfg keeps its usual range, at every size. paper (arXiv 2502.10574): "
                    "with gamma 1 cfg is the norm of the update in eps, some 30 to 200 for SD at 512 pixels. gamma 0 "
                    "makes both the same.",
                ),
                *KNOBS,
                inputs.strength_input(),
                *inputs.window_inputs("the rule", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None, form=None):  # the host passes the group of inputs too
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, gamma, a, b, floor, strength, form=None, start=0.0, end=1.0) -> io.NodeOutput:
        chosen = inputs.group("form", form)
        reference = reference_of(chosen)
        gamma, a, b, floor = inputs.floats(NAME, KNOBS, {"gamma": gamma, "a": a, "b": b, "floor": floor}).values()
        stage = Combine(
            NAME,
            Constant(1.0) if a == b == 1.0 else Beta(1.0, a, b, 0.0),
            "a",
            rule=functools.partial(divide, floor, {"gamma": gamma, "reference": reference}),
            off=functools.partial(changes_nothing, gamma, floor),
            **inputs.blend(NAME, strength, start, end),
            acts_at_1=True,
            words=f"{chosen['form']}, gamma {gamma:g}, weight times {{}}, floor {floor:g}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [BetaCFG]
