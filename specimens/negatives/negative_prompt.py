"""Negative Prompt Presets, a node without a formula: it joins texts."""

from ..kinds import Node
from ..workflows import picture, unchanged

NODE = "AzimuthNegativePrompt"
LINE = "your negative text and an editable preset"

WORKFLOWS = [
    picture(
        "negative_prompt_presets",
        "Negative Prompt Presets",
        "Write your own negative text, choose the kind of picture and edit its list; the joined text goes to "
        "the negative prompt. Choosing a preset again restores its list.",
        unchanged,
        "portrait of an old fisherman with a white beard, soft window light, photograph",
        Node(NODE, {"text": "hat", "preset": "photographic portrait"}, size=(400, 320)),
        cfg=6.0,
    ),
]
