"""The contact sheet: the same prompts and seeds under plain CFG and under each method, side by side.

`python dev.py demo` runs this against a ComfyUI of its own. It submits one workflow per model over HTTP,
follows it over the WebSocket, and draws what comes back. A method on the sheet is one `Row` in `ROWS`. With
--update-docs it also samples `MORE`, and draws a picture for the help page of every node that a row shows.
"""

import argparse
import asyncio
import io
import sys
import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "contact_sheet.png"
PICTURES = ROOT / "js" / "docs" / "pictures"

MODELS = {
    "ve": "EDM model (sigma 40 to 0.01)",
    "flow": "Rectified flow model",
    "flow_distilled": "Guidance-distilled flow model",
}
PROMPTS = (
    "a large red circle at the left on a grey background",
    "a large yellow cross at the top on a black background",
)
SEED, STEPS, PER_PROMPT = 2026, 20, 2
LOW, HIGH = 3.0, 16.0


@dataclass(frozen=True)
class Node:
    """A node of the workflow and its inputs: plain values, or other nodes, of which output 0 is meant."""

    kind: str
    inputs: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of the sheet: what the sampler gets, the nodes that its MODEL goes through first, on which models, and the
    sampler if it is none of the host's."""

    label: str
    note: str
    scale: float = HIGH
    chain: tuple[Node, ...] = ()
    models: tuple[str, ...] = ("ve", "flow")
    sampler: Node | None = None

    @property
    def shows(self) -> str:
        """The id of the node that this row is about; empty for plain CFG."""
        about = self.sampler or (self.chain[-1] if self.chain else None)
        return about.kind if about else ""


def text(words: str) -> Node:
    return Node("CLIPTextEncode", {"text": words})


def schedule(shape: str, **values) -> Node:
    return Node("AzimuthSchedule", {"shape": shape, **{f"shape.{name}": values[name] for name in values}})


def dynamic(kind: str, name: str, option: str, **values) -> Node:
    """A node whose input `name` has options with inputs of their own."""
    return Node(kind, {name: option, **{f"{name}.{key}": values[key] for key in values}})


def apg(threshold: float, momentum: float) -> Node:
    values = {"eta": 0.0, "norm_threshold": threshold, "momentum": momentum}
    return Node("AzimuthAPG", {"preset": "custom", **{f"preset.{name}": values[name] for name in values}})


def pink(method: str, **inputs) -> Node:
    """A node that keeps pink away."""
    return Node(f"Azimuth{method}", {"negative": text("on a pink background"), **inputs})


def autoguidance(scale: float) -> Node:
    """Away from a smaller model that has learned for a shorter time."""
    return Node("AzimuthAutoguidance", {"weak_model": Node("AzimuthLabLoader", {"model": "ve_small"}), "scale": scale})


def skipped(preset: str, **values) -> Node:
    return dynamic("AzimuthSkipLayer", "preset", preset, **values)


NAG = {"scale": 11.0, "preset": "SD1.5, SDXL"}
ROWS = (
    Row("Plain CFG", f"w = {LOW:g}", LOW),
    Row("Plain CFG", f"w = {HIGH:g}"),
    Row(
        "Scheduled CFG",
        f"w = {HIGH:g} in the middle half, 1 elsewhere",
        chain=(Node("AzimuthScheduledCFG", {"scale": HIGH, "start": 0.25, "end": 0.75}),),
    ),
    Row(
        "Scheduled CFG",
        f"triangle, mean weight {HIGH:g}",
        chain=(Node("AzimuthScheduledCFG", {"scale": schedule("triangle", mean=HIGH, low=1.0)}),),
    ),
    Row(
        "Negative Guidance",
        f"w = {LOW:g}, perpendicular to 'pink'",
        LOW,
        chain=(Node("AzimuthNegativeGuidance", {"negative": text("on a pink background"), "weight": 0.5}),),
    ),
    Row(
        "Dynamic Thresholding",
        f"w = {HIGH:g}, contrast of w = {LOW:g}",
        chain=(Node("AzimuthDynamicThresholding", {"mode": "mimic", "mimic_scale": LOW}),),
    ),
    Row("CFG++", "lambda = 0.6", chain=(Node("AzimuthCFGPlusPlus", {"lam": 0.6}),)),
    Row(
        "Angle Domain Guidance",
        f"w = {HIGH:g}, the paper's, at most 20 degrees",
        chain=(Node("AzimuthAngleDomain", {"mode": "paper", "max_angle": 20.0}),),
    ),
    Row(
        "Angle Domain Guidance",
        f"w = {HIGH:g}, exact rotation, at most 20 degrees",
        chain=(Node("AzimuthAngleDomain", {"mode": "exact rotation", "max_angle": 20.0}),),
    ),
)


CFGPP_2M = Node("AzimuthCFGPPSampler", {"method": "DPM++ 2M"})
CFGPP_2S = dynamic("AzimuthCFGPPSampler", "method", "DPM++ 2S ancestral", eta=1.0, s_noise=1.0)

# For the help pages alone, so that the demo stays short.
MORE = (
    Row("CFG++ Sampler", "DPM++ 2M, lambda = 0.6", 0.6, sampler=CFGPP_2M),
    Row("CFG++ Sampler", "DPM++ 2S ancestral, lambda = 0.6", 0.6, sampler=CFGPP_2S),
    Row(
        "Rectified-CFG++",
        f"lam_max {LOW - 1:g}: as w = {LOW:g}",
        sampler=Node("AzimuthRectifiedCFGPP", {"lam_max": LOW - 1}),
    ),
    Row(
        "Rectified-CFG++",
        f"lam_max {HIGH - 1:g}: as w = {HIGH:g}",
        sampler=Node("AzimuthRectifiedCFGPP", {"lam_max": HIGH - 1}),
    ),
    Row("APG", f"w = {HIGH:g}, custom: threshold 5, momentum -0.5", chain=(apg(5.0, -0.5),)),
    Row("APG", f"w = {HIGH:g}, custom: no threshold, no momentum", chain=(apg(0.0, 0.0),)),
    Row(
        "Beta-CFG",
        f"w = {HIGH:g}, normalised: reference 0.02, gamma 1",
        chain=(Node("AzimuthBetaCFG", {"form": "normalised (ours)", "form.reference": 0.02, "gamma": 1.0}),),
    ),
    Row(
        "Ratio-Aware Guidance",
        "RAAG: w_max 18, alpha 12",
        chain=(Node("AzimuthRatioAware", {"preset": "RAAG"}),),
    ),
    Row(
        "Ratio-Aware Guidance",
        f"MAMBO-G's alpha 8 at w_max = {HIGH:g}",
        chain=(Node("AzimuthRatioAware", {"preset": "MAMBO-G", "weight": "sampler cfg"}),),
    ),
    Row(
        "Adaptive Guidance",
        f"w = {LOW:g}, threshold 0.991 from 0.4 on",
        LOW,
        chain=(Node("AzimuthAdaptiveGuidance", {"threshold": 0.991, "start": 0.4}),),
    ),
    Row(
        "Uncond Reuse",
        f"w = {LOW:g}, every 3rd step from 0.2 on",
        LOW,
        chain=(Node("AzimuthUncondReuse", {"every": 3}),),
    ),
    Row(
        "Compress Guidance",
        f"half of the steps, mean weight {LOW:g}",
        chain=(Node("AzimuthScheduledCFG", {"scale": schedule("compressed", scale=LOW, share=0.5, exponent=1.0)}),),
    ),
    Row(
        "C2FG",
        f"exponential from w = {LOW:g}, rate 0.8",
        chain=(Node("AzimuthScheduledCFG", {"scale": schedule("exponential", scale=LOW, rate=0.8)}),),
    ),
    Row(
        "CFG truncation",
        f"w = {HIGH:g} in the first 0.3 of the steps, 1 after",
        chain=(
            Node(
                "AzimuthScheduledCFG",
                {"scale": schedule("interval", inside=HIGH, outside=1.0, start=0.0, end=0.3)},
            ),
        ),
    ),
    Row(
        "CFG-Zero*",
        f"w = {LOW:g}, one step of zero-init",
        LOW,
        chain=(Node("AzimuthCFGZeroStar", {"zero_init_steps": 1}),),
    ),
    Row("CFG-Zero*", f"w = {HIGH:g}, no zero-init", chain=(Node("AzimuthCFGZeroStar", {"zero_init_steps": 0}),)),
    Row("TCFG", f"w = {LOW:g}", LOW, chain=(Node("AzimuthTangentialCFG"),)),
    Row("TCFG", f"w = {HIGH:g}", chain=(Node("AzimuthTangentialCFG"),)),
    Row("Rescale CFG", f"w = {HIGH:g}, phi = 0.7", chain=(Node("AzimuthRescaleCFG", {"phi": 0.7}),)),
    Row("Rescale CFG", f"w = {HIGH:g}, phi = 1", chain=(Node("AzimuthRescaleCFG", {"phi": 1.0}),)),
    Row("EP-CFG", f"w = {HIGH:g}, plain", chain=(Node("AzimuthEnergyPreserving"),)),
    Row("EP-CFG", f"w = {HIGH:g}, robust", chain=(Node("AzimuthEnergyPreserving", {"mode": "robust"}),)),
    Row(
        "FDG",
        f"w = {HIGH:g} for detail, {HIGH / 4:g} for the coarse part",
        chain=(dynamic("AzimuthFrequency", "mode", "FDG", low=0.25, high=1.0),),
    ),
    Row(
        "FreSca",
        f"w = {LOW:g}, times 2 beyond 0.3 of Nyquist",
        LOW,
        chain=(dynamic("AzimuthFrequency", "mode", "FreSca", low=1.0, high=2.0, cutoff=0.3),),
    ),
    Row(
        "Skimmed CFG",
        f"w = {HIGH:g}, exact, down to {LOW:g}",
        chain=(Node("AzimuthSkimmedCFG", {"skim_scale": LOW, "mode": "exact"}),),
    ),
    Row(
        "Skimmed CFG",
        f"w = {HIGH:g}, as published, {LOW:g}",
        chain=(Node("AzimuthSkimmedCFG", {"skim_scale": LOW, "mode": "as published"}),),
    ),
    Row("PMC-CFG", f"w = {HIGH:g}, gamma 1.05", chain=(Node("AzimuthPMC", {"gamma": 1.05}),)),
    Row(
        "PMC-CFG",
        f"w = {HIGH:g}, gamma 1.15, floor 0.1",
        chain=(Node("AzimuthPMC", {"gamma": 1.15, "floor": 0.1}),),
    ),
    Row("Momentum Guidance", f"w = {LOW:g}, alpha 0.5", LOW, chain=(Node("AzimuthMomentumGuidance"),)),
    Row("Momentum Guidance", "w = 1, alpha 1", 1.0, chain=(Node("AzimuthMomentumGuidance", {"alpha": 1.0}),)),
    Row("History Guidance", f"w = {LOW:g}, weight 1.75", LOW, chain=(Node("AzimuthHiGS"),)),
    Row("History Guidance", "w = 1, weight 1.75", 1.0, chain=(Node("AzimuthHiGS"),)),
    Row("Sliding Mode Guidance", f"w = {HIGH:g}, relative gain 0.2", chain=(Node("AzimuthSMC"),)),
    Row(
        "Sliding Mode Guidance",
        f"w = {HIGH:g}, relative gain 0.2, chatter-free",
        chain=(Node("AzimuthSMC", {"chatter_free": True}),),
    ),
    Row("Norm Limit", f"w = {HIGH:g}, per sample", chain=(Node("AzimuthNormLimit", {"scope": "sample"}),)),
    Row("Norm Limit", f"w = {HIGH:g}, per pixel", chain=(Node("AzimuthNormLimit", {"scope": "pixel"}),)),
    Row("TAG", f"w = {LOW:g}, eta 1.15", LOW, chain=(Node("AzimuthTAG", {"eta": 1.15}),)),
    Row("TAG", "w = 1, eta 1.3", 1.0, chain=(Node("AzimuthTAG", {"eta": 1.3}),)),
    Row("Epsilon Scaling", f"w = {LOW:g}, scale 1.02", LOW, chain=(Node("AzimuthEpsilonScaling", {"scale": 1.02}),)),
    Row("TSR", f"w = {LOW:g}, k 0.9", LOW, chain=(Node("AzimuthTSR", {"k": 0.9}),)),
    Row("TSR", f"w = {LOW:g}, k 2", LOW, chain=(Node("AzimuthTSR", {"k": 2.0}),)),
    Row(
        "Negative Guidance",
        f"w = {LOW:g}, not 'pink', weight 0.5",
        LOW,
        chain=(pink("NegativeGuidance", mode="not", weight=0.5),),
    ),
    Row(
        "Contrastive CFG",
        f"w = {LOW:g}, away from 'pink', tau 0.2 with the sum",
        LOW,
        chain=(pink("ContrastiveCFG", tau=0.2, norm="sum (paper)"),),
    ),
    Row(
        "Dynamic Negative Guidance",
        f"w = {LOW:g}, away from 'pink', weight 5, prior 0.2",
        LOW,
        chain=(pink("DynamicNegative", weight=5.0, prior=0.2),),
    ),
    Row(
        "Safe Latent Diffusion",
        f"w = {LOW:g}, away from 'pink', strong",
        LOW,
        chain=(pink("SafeLatent", preset="strong"),),
    ),
    Row("PAG", f"w = {LOW:g}, scale 2", LOW, (Node("AzimuthPerturbedAttention", {"scale": 2.0}),)),
    Row("PAG", "w = 1, scale 2: no negative pass", 1.0, (Node("AzimuthPerturbedAttention", {"scale": 2.0}),)),
    Row("SEG", f"w = {LOW:g}, scale 2", LOW, (Node("AzimuthSmoothedEnergy", {"scale": 2.0}),)),
    Row("SEG", "w = 1, scale 2: no negative pass", 1.0, (Node("AzimuthSmoothedEnergy", {"scale": 2.0}),)),
    Row("TPG", f"cfg {LOW:g}: scale 2", LOW, (Node("AzimuthTokenPerturbation", {"scale": 2.0}),)),
    Row("TPG", "cfg 1: scale 2, no negative pass", 1.0, (Node("AzimuthTokenPerturbation", {"scale": 2.0}),)),
    Row(
        "Skip Layer Guidance",
        f"w = {LOW:g}, scale 1 without the middle block",
        LOW,
        (skipped("custom", blocks="middle 0", scale=1.0, skip="block", start=0.0, end=1.0, rescale=0.0),),
    ),
    Row(
        "Skip Layer Guidance",
        f"w = {LOW:g}, S2: scale 0.5, one random block",
        LOW,
        (skipped("S2: any model", count=1, seed=0, scale=0.5, skip="block", start=0.1, end=0.9, rescale=0.0),),
    ),
    Row("Self-Attention Guidance", f"w = {LOW:g}, scale 0.75", LOW, (Node("AzimuthSelfAttention", {"scale": 0.75}),)),
    Row("Autoguidance", "w = 1, no negative pass, scale 1", 1.0, (autoguidance(1.0),), ("ve",)),
    Row("Autoguidance", f"w = {LOW:g}, scale 1", LOW, (autoguidance(1.0),), ("ve",)),
    Row("NAG", "w = 1, away from 'pink', scale 11: no negative pass", 1.0, chain=(pink("NAG", **NAG),)),
    Row("NAG", f"w = {LOW:g}, away from 'pink', scale 11", LOW, chain=(pink("NAG", **NAG),)),
    Row("CADS", f"w = {LOW:g}, noise 0.25", LOW, chain=(Node("AzimuthCADS", {"scale": 0.25}),)),
    Row("CADS", f"w = {LOW:g}, noise 0.25 until time 0.3", LOW, chain=(Node("AzimuthCADS", {"tau1": 0.3}),)),
)


def distilled(note: str, *chain: Node) -> Row:
    """A row on the distilled model, which has no negative pass."""
    label = "Distilled Guidance" if chain else "No guidance node"
    return Row(label, note, 1.0, chain, ("flow_distilled",))


DISTILLED = (
    distilled("cfg 1, the embedding at 3.5"),
    distilled("embedding at 8", Node("AzimuthDistilledGuidance", {"guidance": 8.0})),
    distilled(
        "embedding from 1 to 6",
        Node("AzimuthDistilledGuidance", {"guidance": schedule("linear", first=1.0, last=6.0)}),
    ),
    distilled(
        f"two passes, w = {HIGH:g}",
        Node("AzimuthDistilledGuidance", {"mode": "two passes", "guidance": HIGH}),
    ),
    distilled(
        f"two passes, w = {HIGH:g}, with APG",
        apg(0.0, 0.0),
        Node("AzimuthDistilledGuidance", {"mode": "two passes", "guidance": HIGH}),
    ),
)
MORE += DISTILLED


class Trouble(Exception):
    """A failure in one sentence."""


# ---- The workflow ----------------------------------------------------------------------------------------


class Workflow:
    """A prompt in the host's API format, and which of its nodes sample and save which cell of the sheet."""

    def __init__(self, model: str, rows: tuple[Row, ...], defaults: dict[str, dict]):
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


# ---- The server ------------------------------------------------------------------------------------------


class Server:
    """The few requests that this script makes."""

    def __init__(self, url: str, session: aiohttp.ClientSession):
        self.url, self.session, self.client = url, session, uuid.uuid4().hex

    async def json(self, path: str) -> dict:
        async with self.session.get(self.url + path) as reply:
            reply.raise_for_status()
            return await reply.json()

    async def submit(self, workflow: Workflow) -> str:
        """Queue a workflow; its prompt id."""
        body = {"prompt": workflow.nodes, "client_id": self.client}
        async with self.session.post(self.url + "/prompt", json=body) as reply:
            answer = await reply.json()
        if reply.status != 200 or answer.get("node_errors"):  # the server runs what is right of a prompt
            raise Trouble(f"The server refused the {workflow.model} workflow: {refusal(answer)}")
        return answer["prompt_id"]

    async def follow(self, workflows: dict[str, Workflow], progress: tqdm) -> None:
        """Until all workflows are done. The socket must be open before they are queued: see `sample`."""
        left, steps = set(workflows), dict.fromkeys(workflows, 0)
        async for message in self.socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                continue
            event = message.json()
            data = event.get("data", {})
            name = data.get("prompt_id")
            if name not in workflows:
                continue
            if event["type"] == "execution_error":
                raise Trouble(f"{data['node_type']} failed: {data['exception_message'].strip()}")
            if event["type"] == "progress_state":
                steps[name] = steps_done(workflows[name], data["nodes"], progress)
                progress.update(sum(steps.values()) - progress.n)
            if event["type"] == "execution_success":
                left.discard(name)
            if not left:
                return
        raise Trouble("The server went away while it worked: read why in its log and run this again.")

    async def images(self, prompt_id: str, workflow: Workflow) -> dict[tuple[int, int], list[Image.Image]]:
        history = await self.json(f"/history/{prompt_id}")
        outputs = history[prompt_id]["outputs"]
        return {
            cell: [await self.image(file) for file in outputs[saver]["images"]]
            for saver, cell in workflow.savers.items()
        }

    async def image(self, file: dict) -> Image.Image:
        async with self.session.get(self.url + "/view", params=file) as reply:
            reply.raise_for_status()
            return Image.open(io.BytesIO(await reply.read())).convert("RGB")


def steps_done(workflow: Workflow, nodes: dict, progress: tqdm) -> int:
    """The sampling steps done in a workflow, whose running row becomes the bar's title."""
    samplers = {name: state for name, state in nodes.items() if name in workflow.samplers}
    for name, state in samplers.items():
        if state["state"] == "running":
            progress.set_description(f"{workflow.samplers[name]:<28}", refresh=False)
    return sum(int(state["value"]) for state in samplers.values() if state["max"] == STEPS)


def refusal(answer: dict) -> str:
    """What the server found wrong with a prompt, in its own words."""
    found = [
        f"{node['class_type']}: {error['message']} ({error['details']})"
        for node in answer.get("node_errors", {}).values()
        for error in node["errors"]
    ]
    return "; ".join(found) or answer.get("error", {}).get("message", "it gave no reason")


def models_of(rows) -> list[str]:
    """The models that any of these rows is about."""
    return [model for model in MODELS if any(model in row.models for row in rows)]


async def sample(url: str, rows: tuple[Row, ...]) -> dict[str, dict[tuple[int, int], list[Image.Image]]]:
    """Per model and cell (row, prompt) its pictures."""
    async with aiohttp.ClientSession() as session:
        server = Server(url, session)
        defaults = defaults_of(await server.json("/object_info"))
        async with session.ws_connect(f"{url}/ws?clientId={server.client}", max_msg_size=0) as server.socket:
            workflows = {}
            for model in models_of(rows):
                workflow = Workflow(model, rows, defaults)
                workflows[await server.submit(workflow)] = workflow
            total = STEPS * sum(len(workflow.samplers) for workflow in workflows.values())
            every = 0.1 if sys.stderr.isatty() else 10.0
            with tqdm(total=total, unit="step", mininterval=every, dynamic_ncols=True) as progress:
                await server.follow(workflows, progress)
                progress.set_description("Sampled", refresh=False)
                progress.update(total - progress.n)
        return {workflow.model: await server.images(name, workflow) for name, workflow in workflows.items()}


# ---- The picture -----------------------------------------------------------------------------------------

Cells = dict[str, dict[tuple[int, int], list[Image.Image]]]

CELL, GAP, LABEL, BLOCK_GAP, MARGIN = 112, 4, 250, 28, 20
PAPER, INK, FAINT, ACCENT = "#ffffff", "#1b1f24", "#667080", "#b3261e"
HEADER = 128


def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def draw_sheet(cells: Cells, rows: dict[int, Row], title: str, models: list[str]) -> Image.Image:
    """The rows with these numbers, one block of columns per model."""
    columns = len(PROMPTS) * PER_PROMPT
    block = columns * (CELL + GAP) + BLOCK_GAP
    width = max(LABEL + len(models) * block - BLOCK_GAP, int(font(22).getlength(title)))
    sheet = Image.new("RGB", (2 * MARGIN + width, HEADER + MARGIN + len(rows) * (CELL + GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 14), title, fill=INK, font=font(22))
    for line, spec in enumerate(rows.values()):
        draw_label(pen, spec, HEADER + line * (CELL + GAP))
    for index, model in enumerate(models):
        shown = {
            (line, prompt): cells[model][row, prompt]
            for line, (row, spec) in enumerate(rows.items())
            for prompt in range(len(PROMPTS) if model in spec.models else 0)
        }
        draw_block(sheet, pen, MARGIN + LABEL + index * block, MODELS[model], shown)
    return sheet


def draw_label(pen: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    colour = ACCENT if not row.shows and row.scale == HIGH else INK
    pen.text((MARGIN, top + 28), row.label, fill=colour, font=font(19))
    pen.multiline_text((MARGIN, top + 54), textwrap.fill(row.note, 30), fill=FAINT, font=font(15), spacing=3)


def draw_block(sheet, pen, left: int, title: str, pictures: dict[tuple[int, int], list[Image.Image]]) -> None:
    pen.text((left, 46), title, fill=INK, font=font(18))
    for prompt, words in enumerate(PROMPTS):
        corner = (left + prompt * PER_PROMPT * (CELL + GAP), 70)
        pen.multiline_text(corner, textwrap.fill(words, 34), fill=FAINT, font=font(13), spacing=2)
    for (row, prompt), batch in pictures.items():
        for nth, picture in enumerate(batch):
            column = prompt * PER_PROMPT + nth
            corner = (left + column * (CELL + GAP), HEADER + row * (CELL + GAP))
            sheet.paste(picture.resize((CELL, CELL), Image.Resampling.LANCZOS), corner)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="address of a ComfyUI that has this pack and the lab")
    parser.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    parser.add_argument("--update-docs", action="store_true", help=f"also write docs/{DOCS.name}")
    options = parser.parse_args(arguments)
    rows = ROWS + (MORE if options.update_docs else ())
    try:
        cells = asyncio.run(sample(options.url, rows))
    except Trouble as trouble:
        sys.stderr.write(f"contact sheet: {trouble}\n")
        return 1
    except aiohttp.ClientError as error:
        sys.stderr.write(f"contact sheet: {options.url} failed ({error}): read the server's log.\n")
        return 1
    title = f"Azimuth: same prompts, same seeds, {STEPS} Euler steps, guidance scale {HIGH:g} unless noted"
    sheet = draw_sheet(cells, dict(enumerate(ROWS)), title, models_of(ROWS))
    for path in (options.out, *([DOCS] if options.update_docs else [])):
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, optimize=True)
    if options.update_docs:
        draw_help_pictures(cells, rows)
    return 0


def draw_help_pictures(cells: Cells, rows: tuple[Row, ...]) -> None:
    """For every node that a row shows, its rows below those of plain CFG."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for node in sorted({row.shows for row in rows} - {""}):
        models = models_of([row for row in rows if row.shows == node])
        chosen = {i: row for i, row in enumerate(rows) if row.shows in ("", node) and set(models) & set(row.models)}
        title = f"Same prompts and seeds on the tiny models of the repository, {STEPS} Euler steps unless noted"
        draw_sheet(cells, chosen, title, models).save(PICTURES / f"{node}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
