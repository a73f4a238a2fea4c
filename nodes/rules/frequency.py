"""Frequency-Decoupled Guidance: coarse structure and fine detail get weights of their own."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from comfy_api.latest import io

from ...guidance import Constant, fdg, fresca, fresca_cutoff
from ..engine import inputs, pipeline
from ..engine.stages import Combine
from . import CATEGORY

NAME = "Frequency-Decoupled Guidance (FDG, FreSca)"


def two_bands(low, high, m):
    return fdg(m.cond, m.uncond, scale=m.scale, gains=(high, low))


def three_bands(low, middle, high, m):
    return fdg(m.cond, m.uncond, scale=m.scale, gains=(high, middle, low))


def two_regions(low, high, cutoff, m):
    return fresca(m.cond, m.uncond, scale=m.scale, low=low, high=high, cutoff=cutoff)


def adaptive_regions(low, high, m):
    cutoff = fresca_cutoff(m.cond, m.uncond)
    return fresca(m.cond, m.uncond, scale=m.scale, low=low, high=high, cutoff=cutoff)


@dataclass(frozen=True)
class Mode:
    """A rule, and its inputs in the order of its arguments."""

    rule: Callable
    fields: list[io.Float.Input]

    def values(self, chosen: dict) -> dict[str, float]:
        return inputs.floats(NAME, self.fields, chosen)


def neutral(values: dict[str, float]) -> bool:
    return all(value == 1.0 for name, value in values.items() if name != "cutoff")


def gains_around(border: str, high: float, strongest: str) -> list[io.Float.Input]:
    """The two gains of FreSca; `strongest` is what a high of 1.5 is for."""
    below = f"l: frequencies up to the {border} get l times cfg: 0.5 to 1. 1, with high 1 = plain CFG."
    useful = f"1.2 (SD3) to 1.5 ({strongest})"
    beyond = f"h: frequencies beyond the {border} get h times cfg: {useful}. 1, with low 1 = plain CFG."
    return [
        inputs.plain_float("low", 1.0, 0.0, 10.0, 0.05, below),
        inputs.plain_float("high", high, 0.0, 10.0, 0.05, beyond),
    ]


MODES = {
    "FDG": Mode(
        two_bands,
        [
            inputs.plain_float(
                "low",
                0.5,
                0.0,
                10.0,
                0.05,
                "w_low/w: layout and colour get low times cfg: 0.2 to 1; the paper's 5 for SDXL is 0.5 at cfg 10. "
                "1, with high 1 = plain CFG.",
            ),
            inputs.plain_float(
                "high",
                1.0,
                0.0,
                10.0,
                0.05,
                "w_high/w: fine detail gets high times cfg: 1 to 3; the paper's 10 for SDXL is 1 at cfg 10. 1, with "
                "low 1 = plain CFG.",
            ),
        ],
    ),
    "FDG 3 bands": Mode(
        three_bands,
        [
            inputs.plain_float(
                "low", 0.4, 0.0, 10.0, 0.05, "What cfg is multiplied with for layout and colour: 0.2 to 1. All 1 = off."
            ),
            inputs.plain_float(
                "middle", 0.7, 0.0, 10.0, 0.05, "The same for shapes of 4 to 8 latent pixels: 0.5 to 1.5. All 1 = off."
            ),
            inputs.plain_float("high", 1.0, 0.0, 10.0, 0.05, "The same for fine detail: 1 to 3. All 1 = off."),
        ],
    ),
    # An option of its own, and no input of FreSca: a saved workflow would take up the default of a new input.
    "FreSca adaptive": Mode(
        adaptive_regions,
        gains_around("border", 1.5, "SDXL, and the authors' code"),
    ),
    "FreSca": Mode(
        two_regions,
        [
            *gains_around("cutoff", 1.25, "SDXL"),
            inputs.plain_float(
                "cutoff",
                0.3,
                0.0,
                1.5,
                0.01,
                "The border between low and high as a share of the finest frequency: 0.1 to 0.6. 0 = all but the mean "
                "is high; 1.5 = all is low.",
            ),
        ],
    ),
}


class FrequencyDecoupled(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthFrequency",
            display_name=NAME,
            category=CATEGORY,
            description="Guides layout and colour with one weight and fine detail with another, so that detail can be "
            "strong while colours stay calm.",
            search_aliases=[
                "FDG",
                "FreSca",
                "frequency guidance",
                "Laplacian pyramid",
                "FFT",
                "sharper detail",
                "detail",
                "saturation",
            ],
            inputs=[
                inputs.model_input(),
                io.DynamicCombo.Input(
                    "mode",
                    options=[io.DynamicCombo.Option(name, mode.fields) for name, mode in MODES.items()],
                    tooltip="FDG (arXiv 2506.19713): two soft bands of a Laplacian pyramid, with low below high. FDG 3 "
                    "bands: the same with a middle one. FreSca adaptive (arXiv 2504.02154): a sharp border in the "
                    "spectrum, found at every step as in the authors' code. FreSca: with a border of your own. "
                    "strength 0 switches it off.",
                ),
                inputs.strength_input(),
                *inputs.window_inputs("the rule", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None, mode=None):  # the host passes the group of inputs too
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, strength, mode=None, start=0.0, end=1.0) -> io.NodeOutput:
        chosen = inputs.group("mode", mode)
        name = inputs.choice(NAME, "mode", chosen.get("mode"), MODES)
        values = MODES[name].values(chosen)
        off = neutral(values)
        stage = Combine(
            NAME,
            Constant(values["high"]),
            "high",
            rule=functools.partial(MODES[name].rule, *values.values()),
            off=lambda scale, value: off,
            **inputs.blend(NAME, strength, start, end),
            acts_at_1=True,
            words=f"{name}, " + ", ".join(f"{key} {value:g}" for key, value in values.items()),
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [FrequencyDecoupled]
