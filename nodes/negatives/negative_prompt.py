"""Negative Prompt Presets: editable lists of what a kind of picture should not show."""

from comfy_api.latest import io

from ..engine import inputs
from . import CATEGORY

NAME = "Negative Prompt Presets"

PRESETS = {
    "universal": "blurry, low quality, jpeg artifacts, watermark, text, signature, logo, cropped, out of frame",
    "photographic portrait": "deformed face, asymmetric eyes, crossed eyes, extra fingers, fused fingers, bad "
    "teeth, plastic skin, overexposed, harsh shadows, blurry, cartoon, painting, 3d "
    "render, watermark, text",
    "landscape": "people, buildings, power lines, tilted horizon, blown highlights, oversaturated, haze, blurry, "
    "grainy, frame, border, watermark, text",
    "architecture": "tilted verticals, warped perspective, crooked lines, melted details, repeated windows, "
    "clutter, people, cars, blurry, oversaturated, watermark, text",
    "product": "busy background, clutter, hands, reflections of the camera, dust, scratches, fingerprints, colour "
    "cast, blurry, cropped, second object, watermark, text, logo",
    "none": "",
}


def join(*parts: str) -> str:
    """The parts that are not empty, separated by commas."""
    return ", ".join(part for part in (part.strip().strip(",").strip() for part in parts) if part)


class NegativePrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthNegativePrompt",
            display_name=NAME,
            category=CATEGORY,
            description="Your own negative text followed by a preset that you can edit. Connect it to the text of a "
            "CLIP Text Encode.",
            search_aliases=["negative prompt", "negative preset", "portrait", "landscape", "architecture", "product"],
            inputs=[
                io.String.Input(
                    "text",
                    default="",
                    multiline=True,
                    placeholder="your own negative text",
                    tooltip="Your own negative text; it comes first. Empty = the preset alone.",
                ),
                io.DynamicCombo.Input(
                    "preset",
                    options=[
                        io.DynamicCombo.Option(
                            name,
                            [
                                io.String.Input(
                                    "terms",
                                    default=terms,
                                    multiline=True,
                                    tooltip="The preset's terms, yours to edit; choosing a preset again restores "
                                    "them. Empty = your own text alone.",
                                )
                            ],
                        )
                        for name, terms in PRESETS.items()
                    ],
                    tooltip="The kind of picture. none = your own text alone.",
                ),
            ],
            outputs=[io.String.Output(display_name="text", tooltip="For the text of a CLIP Text Encode.")],
        )

    @classmethod
    def execute(cls, text, preset=None) -> io.NodeOutput:
        chosen = inputs.group("preset", preset)
        inputs.choice(NAME, "preset", chosen.get("preset"), PRESETS)
        parts = {"text": text, "terms": chosen.get("terms")}
        return io.NodeOutput(join(*(inputs.text(NAME, name, part) for name, part in parts.items())))


NODES = [NegativePrompt]
