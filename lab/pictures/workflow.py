"""What the rows are as a prompt in the host's API format."""

from collections.abc import Iterator

from specimens.kinds import Node, Picture
from specimens.pictures import text

from .rows import PER_PROMPT, PROMPTS, SEED, STEPS


class Trouble(Exception):
    """A failure in one sentence."""


class Workflow:
    """A prompt in the host's API format, and which of its nodes sample and save which cell of the sheet."""

    def __init__(self, model: str, rows: tuple[Picture, ...], defaults: dict[str, dict]):
        self.model, self.rows, self.defaults = model, rows, defaults
        self.nodes: dict[str, dict] = {}
        self.made: dict[int, list] = {}
        self.samplers: dict[str, str] = {}  # node id to the label of its row
        self.savers: dict[str, tuple[int, int]] = {}  # node id to row and prompt
        self.loader = self.add("AzimuthLabLoader", model=model)
        for row, spec in enumerate(rows):
            for prompt in range(len(PROMPTS) if model in spec.models else 0):
                self.add_cell(row, prompt)

    def output(self, node: str, index: int = 0) -> list:
        return [node, index]

    def add(self, kind: str, **inputs) -> str:
        """Add a node with the host's defaults for what is not given; its id."""
        if kind not in self.defaults:
            raise Trouble(f"The server has no node {kind}: read its log for why the pack did not load.")
        links = {name: self.link(value) for name, value in inputs.items()}
        name = str(len(self.nodes) + 1)
        self.nodes[name] = {"class_type": kind, "inputs": {**self.defaults[kind], **links}}
        return name

    def link(self, value):
        """A plain value as it is; a Node as a link to it, made once."""
        if not isinstance(value, Node):
            return value
        if id(value) not in self.made:
            clip = {"clip": self.output(self.loader, 1)} if value.kind == "CLIPTextEncode" else {}
            self.made[id(value)] = self.output(self.add(value.kind, **clip, **value.inputs))
        return self.made[id(value)]

    def add_cell(self, row: int, prompt: int) -> None:
        spec = self.rows[row]
        model = self.output(self.loader)
        for node in spec.chain:
            model = self.output(self.add(node.kind, model=model, **node.inputs))
        pair = {"positive": self.link(POSITIVES[prompt]), "negative": self.link(NOTHING)}
        common = {"model": model, "cfg": spec.scale, "latent_image": self.link(CANVAS), **pair}
        steps = {
            "steps": STEPS,
            "scheduler": "karras" if self.model == "ve" else "simple",
            "denoise": 1.0,
        }
        if spec.sampler:
            sigmas = self.output(self.add("BasicScheduler", model=model, **steps))
            own = {"sampler": self.link(spec.sampler), "sigmas": sigmas, "noise_seed": SEED + prompt}
            sampler = self.add("SamplerCustom", add_noise=True, **common, **own)
        else:
            sampler = self.add("KSampler", seed=SEED + prompt, sampler_name="euler", **common, **steps)
        decoded = self.add("VAEDecode", samples=self.output(sampler), vae=self.output(self.loader, 2))
        saver = self.add("SaveImage", images=self.output(decoded), filename_prefix="azimuth")
        self.samplers[sampler], self.savers[saver] = f"{spec.label} ({self.model})", (row, prompt)


POSITIVES, NOTHING = tuple(text(words) for words in PROMPTS), text("")
CANVAS = Node("EmptyLatentImage", {"width": 32, "height": 32, "batch_size": PER_PROMPT})


def defaults_of(object_info: dict) -> dict[str, dict]:
    """For every node of the server, the values that its widgets start with."""
    return {kind: dict(widget_defaults(info.get("input", {}))) for kind, info in object_info.items()}


def widget_defaults(inputs: dict) -> Iterator[tuple[str, object]]:
    for name, spec in inputs.get("required", {}).items():
        options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
        if "default" in options:
            yield name, options["default"]
