"""Autoguidance: away from what a worse model of the same kind makes of the prompt."""

import functools
import logging

from comfy_api.latest import io

from ..engine import inputs, parametrisation, pipeline, stages, term_rescale, weak
from ..engine.networks.unfit import Unfit
from ..engine.second_model import SecondModel, same_passes, same_weights
from . import CATEGORY

NAME = "Autoguidance"


def second(weaker, model, run):
    """The weaker MODEL in a run of the other, as a second model.

    Raises ValueError if the two do not belong together, and Unfit if they are one.
    """
    theirs, ours = type(weaker.model.latent_format).__name__, type(model.model.latent_format).__name__
    if theirs != ours or parametrisation.of(weaker).kind != run.kind:
        raise ValueError(
            f"{NAME}, input weak_model: it works on {theirs} latents in another way than the model ({ours}); connect a "
            f"worse model of the same family."
        )
    shared = weaker.is_clone(model)
    if shared and not same_weights(weaker, model):
        raise ValueError(
            f"{NAME}, input weak_model: it is the model itself under other LoRAs, and both cannot be loaded at once; "
            f"load it from another file, or from a copy of the file."
        )
    if shared and same_passes(weaker, model):
        raise Unfit("the weak_model is the model itself; connect a weaker model")
    if idle := stages.of(weaker):
        names = ", ".join(sorted({stage.node for stage in idle}))
        run.say(f"{names} on the weak_model of {NAME} has no effect; wire it to the model.", logging.WARNING)
    opened = SecondModel(weaker, shared)
    run.seconds.append(opened)
    return opened


class Autoguidance(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthAutoguidance",
            display_name=NAME,
            category=CATEGORY,
            description="Pushes the picture away from what a worse model makes of the same prompt: a smaller one, or "
            "one trained for a shorter time. The errors of the two are alike, and are cancelled.",
            search_aliases=["AG", "bad version", "weak model", "dual model", "guide with a bad version"],
            inputs=[
                inputs.model_input(),
                io.Model.Input(
                    "weak_model",
                    tooltip="D_bad's model: smaller, or trained for a shorter time, of the same family and from a "
                    "file of its own. The model itself = no effect.",
                ),
                inputs.term_scale(1.0, "w - 1 of the paper, 1 to 1.1 with cfg 1; less beside a cfg"),
                *inputs.window_inputs("the term"),
                inputs.rescale_input(),
                term_rescale.space_input(),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, weak_model, scale, start, end, rescale, rescale_space=term_rescale.BEFORE) -> io.NodeOutput:
        stage = weak.term(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 100.0),
            inputs.as_window(NAME, start, end),
            functools.partial(second, inputs.a_model(NAME, "weak_model", weak_model)),
            rescale=term_rescale.chosen(NAME, rescale, rescale_space),
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [Autoguidance]
