"""Skip Layer Guidance: away from what the model makes of the prompt without some of its blocks.

Paper: Hyung, Kim, Hong, Kim, Choo 2024, "Spatiotemporal Skip Guidance for Enhanced Video Diffusion Sampling" (STG),
arXiv 2411.18664.
Paper: Chen, Zhu, Feng, Huang, Mao, Wu, Chu, Li 2025, "S2-Guidance: Stochastic Self Guidance for Training-Free
Enhancement of Diffusion Models", arXiv 2508.12880.
"""

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass

from comfy_api.latest import io

from ...guidance import shortened
from ..engine import inputs, pipeline, term_rescale, weak
from ..engine.networks import blocks
from ..engine.networks.unfit import Unfit
from . import CATEGORY
from .perturbed_attention import perturb

NAME = "Skip Layer Guidance (SLG, STG, S2)"


def fixed(chosen: dict):
    """Picks the named blocks in every call."""
    wanted = blocks.parse(NAME, chosen.get("blocks"))

    def pick(model, run, attention):
        shape, found = blocks.choose(model, wanted, run, NAME, attention)
        return shape, lambda call: found

    return pick, f"blocks {shortened(chosen['blocks'])}"


def drawn(chosen: dict):
    """Picks blocks at random, anew in every call. It never picks the first, without which no picture comes about."""
    count = inputs.whole(NAME, "count", chosen.get("count"), 1, 16)
    seed = inputs.whole(NAME, "seed", chosen.get("seed"), 0, 2**32 - 1)

    def pick(model, run, attention):
        shape, own = blocks.available(model, attention)
        candidates = own[1:]
        if not candidates:
            raise Unfit(f"no block of the model could be drawn besides {blocks.listed(own)}; name some under custom")
        some = min(count, len(candidates))
        return shape, lambda call: random.Random(f"{seed}/{call}").sample(candidates, some)

    return pick, f"{count} random, seed {seed}"


def whole_block(pick):
    return weak.without_blocks(functools.partial(pick, attention=False))


def attention_alone(pick):
    return weak.with_attention(functools.partial(pick, attention=True), functools.partial(perturb, 1.0))


SKIPPED = {"block": whole_block, "attention": attention_alone}


@dataclass(frozen=True)
class Preset:
    """How blocks are picked, and the inputs of the preset with their default values."""

    pick: Callable
    fields: list


def term_inputs(blocks: list, scale: float, skip: str, start: float, end: float, rescale: float) -> list:
    return [
        inputs.term_scale(scale, "2.5 to 3 for SLG (SD3.5), 1 for STG (video), 0.25 for S2"),
        *blocks,
        io.Combo.Input(
            "skip",
            options=list(SKIPPED),
            default=skip,
            tooltip="block: the whole block (SLG, STG-R, S2; in a UNet its transformer). attention: its "
            "self-attention alone, which passes its values on (STG-A, PAG). scale 0 switches it off.",
        ),
        inputs.progress(
            "start", start, "Progress at which the term begins (0 first step, 1 last): 0 to 0.1. 0 = at once."
        ),
        inputs.progress(
            "end",
            end,
            "Progress at which the term ends (not included): 0.2 for SLG, 0.9 for S2, 1 for STG. 1 = to the end, last "
            "step included.",
        ),
        inputs.rescale_input(rescale),
        term_rescale.space_input(),
    ]


def these(blocks: str, *numbers) -> Preset:
    named = inputs.blocks_input(blocks, "7-9 SD3.5 medium, 19 LTX, 34 Mochi, 2 HunyuanVideo")
    return Preset(fixed, term_inputs([named], *numbers))


def any_of_them(count: int, *numbers) -> Preset:
    how_many = io.Int.Input(
        "count",
        default=count,
        min=1,
        max=16,
        tooltip="How many blocks are drawn for every call: 1 or 2. scale 0 = off.",
    )
    seed = io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=2**32 - 1,
        tooltip="The seed of the draw, apart from the sampler's: any number. The same seed draws the same blocks. "
        "scale 0 = off.",
    )
    return Preset(drawn, term_inputs([how_many, seed], *numbers))


PRESETS = {  # blocks or their count, scale, skip, start, end, rescale
    "SLG: SD3.5 medium": these("7-9", 2.8, "block", 0.01, 0.2, 0.0),
    "STG: LTX": these("19", 1.0, "attention", 0.0, 1.0, 0.7),
    "STG: Mochi": these("34", 1.0, "block", 0.0, 1.0, 0.0),
    "STG: HunyuanVideo": these("2", 1.0, "block", 0.0, 1.0, 0.0),
    "S2: any model": any_of_them(1, 0.25, "block", 0.1, 0.9, 0.0),
    "custom": these("middle 0", 1.0, "block", 0.0, 1.0, 0.0),
}


class SkipLayer(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthSkipLayer",
            display_name=NAME,
            category=CATEGORY,
            description="Pushes the picture away from what the model makes of the same prompt without some of its "
            "blocks: better anatomy, motion and detail.",
            search_aliases=[
                "SLG",
                "STG",
                "S2",
                "skip layer",
                "spatiotemporal skip",
                "S2-Guidance",
                "weak model",
                "hands",
                "better hands",
                "fingers",
                "anatomy",
                "firmer shapes",
                "steadier video",
            ],
            inputs=[
                inputs.model_input(),
                io.DynamicCombo.Input(
                    "preset",
                    options=[io.DynamicCombo.Option(name, preset.fields) for name, preset in PRESETS.items()],
                    tooltip="What the inputs below begin with: the numbers published for a model. SLG, and STG (arXiv "
                    "2411.18664): these blocks. S2 (arXiv 2508.12880): others in every call, never the first. custom: "
                    "blocks of your own.",
                ),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, **values):  # by name the host would hand it the preset without the inputs of it
        chosen = inputs.group("preset", values.get("preset"))
        preset = PRESETS.get(chosen.get("preset"))
        if preset and inputs.complete(chosen, preset.fields):
            stage_of(chosen)  # which raises
        return True

    @classmethod
    def execute(cls, model, preset=None) -> io.NodeOutput:
        return io.NodeOutput(pipeline.add_stage(model, stage_of(inputs.group("preset", preset))))


def stage_of(chosen: dict):
    """The term of a preset's values. Raises ValueError with a sentence that names node, input and remedy."""
    pick, words = PRESETS[inputs.choice(NAME, "preset", chosen.get("preset"), PRESETS)].pick(chosen)
    space = chosen.get("rescale_space")  # the host fills in None for one that is missing
    skip = inputs.choice(NAME, "skip", chosen.get("skip"), SKIPPED)
    return weak.term(
        NAME,
        inputs.as_schedule(NAME, "scale", chosen.get("scale"), 0.0, 100.0),
        inputs.as_window(NAME, chosen.get("start"), chosen.get("end")),
        SKIPPED[skip](pick),
        rescale=term_rescale.chosen(NAME, chosen.get("rescale"), term_rescale.BEFORE if space is None else space),
        words=f", {skip} skipped, {words}",
    )


NODES = [SkipLayer]
