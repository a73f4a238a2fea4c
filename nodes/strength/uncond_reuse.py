"""Uncond Reuse: every n-th step predicts the negative; those between use its last difference to the positive again."""

import functools

from comfy_api.latest import io

from ...guidance import Constant, uncond_reuse
from ..engine import inputs, pipeline
from ..engine.stages import Reuse
from . import CATEGORY

NAME = "Uncond Reuse"


def holding(frozen, cond, difference, network, **levels):
    of = {"kind": network.kind, "data_sigma": network.data_sigma}
    return uncond_reuse(cond, difference, frozen=frozen or network.predicts, **of, **levels)


FROZEN = {
    "auto": functools.partial(holding, None),
    "velocity": functools.partial(holding, "velocity"),
    "eps": functools.partial(holding, "eps"),
    "x0": functools.partial(holding, "x0"),
}
WORDS = {"auto": "what the model predicts"}


class UncondReuse(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthUncondReuse",
            display_name=NAME,
            category=CATEGORY,
            description="Makes the negative pass at every n-th step only, and uses the last difference between the two "
            "prompts again at the steps between: faster, at the full weight.",
            search_aliases=["CFG-Cache (FasterCache)", "uncond cache", "skip negative", "speed up"],
            inputs=[
                inputs.model_input(),
                io.Int.Input(
                    "every",
                    default=2,
                    min=1,
                    max=20,
                    tooltip="n: one step in n makes all its passes, the others the positive's alone: 2 or 3; 5 in the "
                    "paper (FasterCache). 1 = every step, off.",
                ),
                io.Combo.Input(
                    "frozen",
                    options=list(FROZEN),
                    default="auto",
                    tooltip="In what the difference between the two predictions is taken to stay the same: velocity (v "
                    "of SD2 models), eps, or the denoised picture x0. auto = in what the model predicts.",
                ),
                inputs.progress(
                    "start",
                    0.2,
                    "Progress at which reuse begins, with a step that makes all its passes (0 first step, 1 last): 0.2 "
                    "to 0.4. 0 = from the start.",
                ),
                inputs.progress(
                    "end",
                    1.0,
                    "Progress at which reuse ends (not included): 0.8 to 1. 1 = to the end, last step included.",
                ),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, every, frozen, start, end) -> io.NodeOutput:
        every = inputs.whole(NAME, "every", every, 1, 20)
        frozen = inputs.choice(NAME, "frozen", frozen, FROZEN)
        stage = Reuse(
            NAME,
            Constant(every),
            "every",
            inputs.as_window(NAME, start, end),
            remembers=every > 1,
            rule=FROZEN[frozen],
            words=f"the negative predicted at one step in {{}}, its difference in {WORDS.get(frozen, frozen)} held "
            "between",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [UncondReuse]
