"""Scheduled CFG: the guidance weight as a number or a SCHEDULE, for any sampler."""

from comfy_api.latest import io

from ..engine import inputs, pipeline
from ..engine.stages import Weight
from . import CATEGORY

NAME = "Scheduled CFG"


def inside_or_one(window):
    """A weight rule: the schedule inside the window, and 1 outside, where steps then need no negative pass."""
    return lambda run, step, value, scale: value if step.progress in window else 1.0


def inside_or_sampler(window):
    """A weight rule: the schedule inside the window; outside, the weight as the sampler or an earlier node set it."""
    return lambda run, step, value, scale: value if step.progress in window else scale


OUTSIDE = {"weight 1": inside_or_one, "sampler cfg": inside_or_sampler}


class ScheduledCFG(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthScheduledCFG",
            display_name=NAME,
            category=CATEGORY,
            description="Sets the guidance weight step by step, in place of the sampler's cfg.",
            search_aliases=["dynamic cfg", "cfg schedule", "guidance interval", "limited interval", "skip negative"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "scale",
                    default=7.0,
                    low=0.0,
                    high=100.0,
                    step=0.05,
                    tooltip="w, the guidance weight inside the window: 5-8 for SD and SDXL, 3.5-5 for SD3. A number "
                    "or a Guidance Schedule. 1 = guidance off (no negative pass); the sampler's own cfg = "
                    "no change.",
                ),
                *inputs.window_inputs("guidance"),
                io.Combo.Input(
                    "outside",
                    options=list(OUTSIDE),
                    default="weight 1",
                    tooltip="w outside the window: weight 1, as in the paper (limited interval, arXiv 2404.07724), "
                    "skips the negative pass and saves its time; sampler cfg leaves those steps alone.",
                ),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, scale, start, end, outside) -> io.NodeOutput:
        window = inputs.as_window(NAME, start, end)
        stage = Weight(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 100.0),
            "scale",
            window,
            rule=OUTSIDE[inputs.choice(NAME, "outside", outside, OUTSIDE)](window),
            outside="" if window.always else f", {outside} elsewhere",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [ScheduledCFG]
