"""Skip Layer Guidance: away from what the model makes of the prompt without some of its blocks."""

import functools
import random

from comfy_api.latest import io

from . import blocks, inputs, pipeline, weak
from .perturbed_attention import perturb
from .stages import Unfit

NAME = "Skip Layer Guidance (SLG, STG, S2)"


def fixed(chosen: dict):
    """The named blocks in every call."""
    wanted = blocks.parse(NAME, chosen.get("blocks"))

    def pick(model, run, attention):
        shape, found = blocks.choose(model, wanted, run, NAME, attention)
        return shape, lambda call: found

    return pick, f"blocks {chosen['blocks'].strip()}"


def drawn(chosen: dict):
    """Some blocks, others in every call, and never the first: nothing in the picture recovers from the loss of that."""
    count = inputs.whole(NAME, "count", chosen.get("count"), 1, 16)
    seed = inputs.whole(NAME, "seed", chosen.get("seed"), 0, 2**32 - 1)

    def pick(model, run, attention):
        shape, own = blocks.available(model, attention)
        candidates = own[1:]
        if not candidates:
            raise Unfit(f"the model has no block that could be drawn besides {blocks.listed(own)}; choose fixed blocks")
        some = min(count, len(candidates))
        return shape, lambda call: random.Random(f"{seed}/{call}").sample(candidates, some)

    return pick, f"{count} random, seed {seed}"


CHOICES = {"fixed": fixed, "random": drawn}


def whole_block(pick):
    return weak.without_blocks(functools.partial(pick, attention=False))


def attention_alone(pick):
    return weak.with_attention(functools.partial(pick, attention=True), functools.partial(perturb, 1.0))


SKIPPED = {"block": whole_block, "attention": attention_alone}


class SkipLayer(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthSkipLayer",
            display_name=NAME,
            category=inputs.CATEGORY,
            description="Pushes the picture away from what the model makes of the same prompt without some of its "
            "blocks: better anatomy, motion and detail.",
            search_aliases=["SLG", "STG", "S2", "skip layer", "spatiotemporal skip", "S2-Guidance", "weak model"],
            inputs=[
                inputs.model_input(),
                inputs.term_scale(2.8, "2.5 to 3 for SLG (SD3.5), 1 for STG (video), 0.25 for S2"),
                io.DynamicCombo.Input(
                    "choice",
                    options=[
                        io.DynamicCombo.Option(
                            "fixed", [inputs.blocks_input("7-9", "7-9 for SD3.5 medium, 19 for LTX, 34 for Mochi")]
                        ),
                        io.DynamicCombo.Option(
                            "random",
                            [
                                io.Int.Input(
                                    "count",
                                    default=1,
                                    min=1,
                                    max=16,
                                    tooltip="How many blocks are drawn for every call: 1 or 2. scale 0 = off.",
                                ),
                                io.Int.Input(
                                    "seed",
                                    default=0,
                                    min=0,
                                    max=2**32 - 1,
                                    tooltip="The seed of the draw, apart from the sampler's: any number. The same "
                                    "seed draws the same blocks. scale 0 = off.",
                                ),
                            ],
                        ),
                    ],
                    tooltip="fixed: the blocks that you name (SLG; STG, arXiv 2411.18664). random: others in every "
                    "call, never the first (S2, arXiv 2508.12880), with scale 0.25 while progress is 0.1 to 0.9.",
                ),
                io.Combo.Input(
                    "skip",
                    options=list(SKIPPED),
                    default="block",
                    tooltip="block: the whole block (SLG, STG-R, S2; in a UNet its transformer). attention: its "
                    "self-attention alone, which passes its values on (STG-A, PAG). scale 0 switches it off.",
                ),
                inputs.progress(
                    "start", 0.0, "Progress at which the term begins (0 first step, 1 last): 0 to 0.1. 0 = at once."
                ),
                inputs.progress(
                    "end",
                    0.2,
                    "Progress at which the term ends (not included): 0.2 for SLG, 0.9 for S2, 1 for STG. 1 = to the "
                    "end, last step included.",
                ),
                inputs.rescale_input(),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None, choice=None):  # the host hands a dynamic group over by its name
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, scale, skip, start, end, rescale, choice=None) -> io.NodeOutput:
        chosen = choice or {}  # the host drops an option that it does not know
        pick, words = CHOICES[inputs.choice(NAME, "choice", chosen.get("choice"), CHOICES)](chosen)
        stage = weak.term(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 100.0),
            inputs.as_window(NAME, start, end),
            SKIPPED[inputs.choice(NAME, "skip", skip, SKIPPED)](pick),
            rescale=inputs.finite_float(NAME, "rescale", rescale, 0.0, 1.0),
            words=f", {skip} skipped, {words}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [SkipLayer]
