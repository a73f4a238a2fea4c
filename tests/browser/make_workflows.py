"""Makes example_workflows/ with the real front-end on a real server, from the table of recipes at the end.

    COMFYUI_PATH=... python -m tests.browser.make_workflows [--preview FOLDER] [name ...]

Run it in the repository's root, in the environment that dev.py makes. A new method adds one recipe. The
front-end builds each graph node by node, arranges and saves it; a checkpoint's thumbnail is the front-end's
own drawing, a lab workflow's shows the pictures that it samples. --preview also keeps a drawing of each whole
graph in both renderers, to be looked at.
"""

import argparse
import io
import json
import sys
import urllib.parse
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..http.server import ROOT, Server, failure, running
from .frontend import RENDERERS, FrontEnd, browsing, open_page, read_workflow

FOLDER = ROOT / "example_workflows"
FILES = {  # for each loader its widget and the folder of its files
    "CheckpointLoaderSimple": ("ckpt_name", "checkpoints"),
    "UNETLoader": ("unet_name", "diffusion_models"),
    "CLIPLoader": ("clip_name", "text_encoders"),
    "VAELoader": ("vae_name", "vae"),
}
HUB = "https://huggingface.co/{}/resolve/main/{}"
WHERE = {  # where the front-end offers to fetch a file from
    "sd_xl_base_1.0.safetensors": ("stabilityai/stable-diffusion-xl-base-1.0", ""),
    "sd_xl_base_0.9.safetensors": ("stabilityai/stable-diffusion-xl-base-0.9", ""),
    "sd3.5_large_fp8_scaled.safetensors": ("Comfy-Org/stable-diffusion-3.5-fp8", ""),
    "flux1-dev-fp8.safetensors": ("Comfy-Org/flux1-dev", ""),
    "Chroma1-HD-fp8mixed.safetensors": ("Comfy-Org/Chroma1-HD_repackaged", "split_files/diffusion_models/"),
    "t5xxl_fp8_e4m3fn_scaled.safetensors": ("comfyanonymous/flux_text_encoders", ""),
    "ae.safetensors": ("Comfy-Org/Lumina_Image_2.0_Repackaged", "split_files/vae/"),
}
THUMBNAIL = (512, 512)
MOST_BYTES = 60_000


@dataclass(frozen=True, eq=False)
class Node:
    """A node and its inputs: plain values, or other nodes, of which output 0 is meant, or `node.out(i)`."""

    kind: str
    inputs: dict = field(default_factory=dict)
    title: str = ""
    size: tuple[int, int] = (0, 0)
    row: int | None = None

    def out(self, index: int):
        return self, index


@dataclass(frozen=True)
class Recipe:
    """A workflow: the nodes at its end, which lead to all others, and two sentences of advice."""

    heading: str
    advice: str
    ends: tuple[Node, ...]


# ---- From a recipe to the front-end's own file -----------------------------------------------------------


def link(value):
    """Source node and output of an input's value, or None for a plain value."""
    if isinstance(value, Node):
        return value, 0
    return value if isinstance(value, tuple) and isinstance(value[0], Node) else None


def sources(node: Node) -> list[Node]:
    return [found[0] for value in node.inputs.values() if (found := link(value))]


def in_order(ends: tuple[Node, ...]) -> list[Node]:
    """All nodes, each after those that it needs."""
    found: dict[Node, None] = {}

    def visit(node: Node) -> None:
        for source in sources(node):
            visit(source)
        found.setdefault(node)

    for end in ends:
        visit(end)
    return list(found)


def columns(nodes: list[Node]) -> dict[Node, int]:
    """For each node its column: next to the first node that needs it, and all loaders at the left."""
    depth: dict[Node, int] = {}
    for node in nodes:
        depth[node] = max((depth[source] + 1 for source in sources(node)), default=0)
    for node in nodes:
        if node.row is not None and not any(node in sources(other) for other in nodes):
            depth[node] = max(depth.values())
    for node in reversed(nodes):
        for source in sources(node):
            if source.kind in (*FILES, "AzimuthLabLoader"):
                continue
            needed_by = [depth[other] for other in nodes if source in sources(other)]
            depth[source] = min(needed_by) - 1
    return depth


def height(node: Node) -> int:
    """What stands at the top of its column: loaders, then our nodes, then samplers, then the rest."""
    tops = (
        lambda kind: kind in FILES,
        lambda kind: kind.startswith("Azimuth"),
        lambda kind: "Sampler" in kind,
    )
    return next((index for index, is_kind in enumerate(tops) if is_kind(node.kind)), len(tops))


def plan(recipe: Recipe) -> list[dict]:
    """What BUILD needs to know, node by node."""
    nodes = sorted(in_order(recipe.ends), key=height)
    place = columns(in_order(recipe.ends))
    number = {node: index for index, node in enumerate(nodes)}
    note = Node("MarkdownNote", {"": f"## {recipe.heading}\n\n{recipe.advice}"}, "About this workflow", (380, 190))
    return [
        {
            "kind": node.kind,
            "title": node.title,
            "size": node.size,
            "row": node.row,
            "column": place.get(node, 0),
            "models": models(node),
            "values": [[name, value] for name, value in node.inputs.items() if not link(value)],
            "links": [
                [name, number[found[0]], found[1]] for name, value in node.inputs.items() if (found := link(value))
            ],
        }
        for node in [*nodes, note]
    ]


def models(node: Node) -> list[dict]:
    """The file that a loader needs, as the front-end notes it."""
    if node.kind not in FILES:
        return []
    widget, folder = FILES[node.kind]
    file = node.inputs[widget]
    repository, inside = WHERE[file]
    return [{"name": file, "url": HUB.format(repository, inside + file), "directory": folder}]


BUILD = """(plan) => {
    const GAP_X = 90, GAP_Y = 90, WIDTH = 300, TOP = 80, LEFT = 60;
    const nodes = plan.map(wanted => {
        const node = LiteGraph.createNode(wanted.kind);
        if (!node) throw new Error(`The front-end knows no node ${wanted.kind}.`);
        app.graph.add(node);
        if (wanted.title) node.title = wanted.title;
        if (wanted.models.length) node.properties.models = wanted.models;
        for (const [name, value] of wanted.values) {
            const widget = node.widgets.find(w => w.name === name || (name === '' && w === node.widgets[0]));
            if (!widget) throw new Error(`${wanted.kind} has no widget ${name}.`);
            widget.value = value;
            widget.callback?.(value, app.canvas, node);
        }
        const least = node.computeSize();
        node.setSize([Math.max(least[0], WIDTH, wanted.size[0]), Math.max(least[1], wanted.size[1])]);
        if (wanted.kind.startsWith('Azimuth') && wanted.kind !== 'AzimuthLabLoader') {
            const colours = LGraphCanvas.node_colors.blue;
            Object.assign(node, {color: colours.color, bgcolor: colours.bgcolor});
        }
        return node;
    });
    plan.forEach((wanted, i) => wanted.links.forEach(([name, source, output]) => {
        if (!nodes[source].connect(output, nodes[i], nodes[i].findInputSlot(name)))
            throw new Error(`${wanted.kind} takes no link at ${name}.`);
    }));
    const columns = [...new Set(plan.map(w => w.column))].sort((a, b) => a - b);
    const tallest = {};
    for (const column of columns) {
        const stacks = {};
        plan.forEach((w, i) => {
            if (w.column !== column || w.row === null) return;
            stacks[w.row] = (stacks[w.row] ?? 0) + nodes[i].size[1] + GAP_Y;
        });
        for (const row in stacks) tallest[row] = Math.max(tallest[row] ?? 0, stacks[row]);
    }
    const top = row => Object.keys(tallest).reduce((y, r) => Number(r) < row ? y + tallest[r] : y, TOP);
    let x = LEFT;
    for (const column of columns) {
        const here = nodes.filter((_, i) => plan[i].column === column);
        const below = {};
        let y = TOP;
        for (const node of here) {
            const row = plan[nodes.indexOf(node)].row;
            if (row === null) { node.pos = [x, y]; y += node.size[1] + GAP_Y; continue; }
            below[row] ??= top(row);
            node.pos = [x, below[row]];
            below[row] += node.size[1] + GAP_Y;
        }
        x += Math.max(...here.map(n => n.size[0])) + GAP_X;
    }
}"""

FRAME = """({width, height, left, top, most}) => {
    const nodes = app.graph.nodes;
    const edge = (f, pick) => Math[pick](...nodes.map(f));
    const [x0, y0] = [edge(n => n.pos[0], 'min') - 30, edge(n => n.pos[1] - 30, 'min') - 30];
    const x1 = edge(n => n.pos[0] + n.size[0], 'max') + 30;
    const y1 = edge(n => n.pos[1] + n.size[1], 'max') + 30;
    const scale = Math.min(most, width / (x1 - x0), height / (y1 - y0));
    const spare = [width / scale - (x1 - x0), height / scale - (y1 - y0)];
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset[0] = left / scale - x0 + spare[0] / 2;
    app.canvas.ds.offset[1] = top / scale - y0 + spare[1] / 2;
    app.canvas.setDirty(true, true);
}"""


def frame(page: FrontEnd, *, box=(70, 60, 1500, 920), most=1.0) -> None:
    """Move the canvas so that the nodes fill a box (left, top, width, height) of the page."""
    left, top, width, height = box
    page.run(FRAME, {"left": left, "top": top, "width": width, "height": height, "most": most})
    page.settle()
    page.page.wait_for_timeout(400)


def make(page: FrontEnd, name: str, recipe: Recipe) -> dict:
    """The workflow as the front-end saves it, with an id that does not change from run to run."""
    page.clear(str(uuid.uuid5(uuid.NAMESPACE_URL, f"azimuth-guidance/{name}")))
    page.run(BUILD, plan(recipe))
    page.settle()
    frame(page)
    return page.workflow()


# ---- Thumbnails ------------------------------------------------------------------------------------------


def save_thumbnail(picture: Image.Image, path: Path) -> None:
    """As JPEG, as fine as the limit on its size allows."""
    for quality in range(92, 4, -4):
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    path.write_bytes(buffer.getvalue())


PACKED = """() => {
    const next = n => n.outputs.flatMap(o => o.links ?? []).map(id => app.graph.links.get(id).target_id);
    const ours = app.graph.nodes.filter(n => n.type.startsWith('Azimuth')).map(n => n.id);
    const last = app.graph.getNodeById(ours.at(-1));
    const shown = ours.length > 3 ? ours : [...new Set([...ours, ...next(last).slice(0, 1)])];
    app.graph.nodes.filter(n => !shown.includes(n.id)).forEach(n => app.graph.remove(n));
    const nodes = app.graph.nodes;
    const across = nodes.length > 2 ? 2 : 1;
    const wide = Math.max(...nodes.filter((_, i) => i % across === 0).map(n => n.size[0]));
    let y = 0;
    for (let i = 0; i < nodes.length; i += across) {
        const row = nodes.slice(i, i + across);
        row.forEach((node, column) => { node.pos = [column * (wide + 80), y]; });
        y += Math.max(...row.map(n => n.size[1])) + 80;
    }
}"""


def drawn(page: FrontEnd) -> Image.Image:
    """The front-end's drawing of our nodes and what they lead to, moved together two by two."""
    page.run(PACKED)
    width, height = THUMBNAIL
    frame(page, box=(300, 200, width, height), most=1.6)
    shot = page.page.screenshot(clip={"x": 300, "y": 200, "width": width, "height": height})
    return Image.open(io.BytesIO(shot))


def sampled(server: Server, workflow: dict, prompt: dict) -> Image.Image:
    """The pictures of a lab workflow, under the titles of the nodes that show them."""
    history = server.run(prompt, 1800)
    if problem := failure(history):
        raise SystemExit(f"The workflow failed: {problem}")
    titles = {str(node["id"]): node.get("title", "") for node in workflow["nodes"]}
    shown = [
        (titles[name], [Image.open(io.BytesIO(server.ask(view(image))[1])) for image in output["images"]])
        for name, output in sorted(history["outputs"].items(), key=lambda item: int(item[0]))
        if "images" in output
    ]
    return contact(shown)


def view(image: dict) -> str:
    return "/view?" + urllib.parse.urlencode({key: image[key] for key in ("filename", "subfolder", "type")})


def contact(shown: list[tuple[str, list[Image.Image]]], across: int = 3, side: int = 84) -> Image.Image:
    """One block of 2 x 2 pictures for each title."""
    font = ImageFont.load_default(13)
    width, height = 2 * side + 4, 2 * side + 24
    rows = -(-len(shown) // across)
    sheet = Image.new("RGB", (across * width, rows * height), (24, 24, 26))
    draw = ImageDraw.Draw(sheet)
    for index, (title, pictures) in enumerate(shown):
        x, y = (index % across) * width + 2, (index // across) * height
        draw.text((x + 2, y + 4), title, font=font, fill=(235, 235, 235))
        for corner, picture in enumerate(pictures[:4]):
            small = picture.convert("RGB").resize((side - 2, side - 2), Image.Resampling.NEAREST)
            sheet.paste(small, (x + (corner % 2) * side, y + 22 + (corner // 2) * side))
    return sheet


# ---- Building blocks -------------------------------------------------------------------------------------


def text(clip, words, title: str = "") -> Node:
    return Node("CLIPTextEncode", {"clip": clip, "text": words}, title, (400, 170))


def azimuth(kind: str, model, **inputs) -> Node:
    return Node("Azimuth" + kind, {"model": model, **inputs})


def schedule(shape: str, **values) -> Node:
    return Node("AzimuthSchedule", {"shape": shape, **{f"shape.{name}": value for name, value in values.items()}})


def ksampler(model, positive, negative, latent, *, cfg, row=None, title="", **settings) -> Node:
    values = {
        "seed": 2026,
        "control_after_generate": "fixed",
        "steps": 25,
        "cfg": cfg,
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
        "denoise": 1.0,
        **settings,
    }
    links = {"model": model, "positive": positive, "negative": negative, "latent_image": latent}
    return Node("KSampler", {**links, **values}, title, row=row)


def sigmas(model, scheduler: str, steps: int) -> Node:
    return Node("BasicScheduler", {"model": model, "scheduler": scheduler, "steps": steps, "denoise": 1.0})


def sampled_by(kind: str, **values):
    """In place of `ksampler`: a custom sampler of this kind with the guider and the sigmas that it needs."""

    def sample(model, positive, negative, latent, *, cfg, scheduler, steps) -> Node:
        pair = {"model": model, "positive": positive, "negative": negative}
        parts = {
            "noise": Node("RandomNoise", {"noise_seed": 2026, "control_after_generate": "fixed"}),
            "guider": Node("CFGGuider", {**pair, "cfg": cfg}),
            "sampler": Node(kind, values),
            "sigmas": sigmas(model, scheduler, steps),
            "latent_image": latent,
        }
        return Node("SamplerCustomAdvanced", parts)

    return sample


def saved(samples, vae) -> Node:
    decoded = Node("VAEDecode", {"samples": samples, "vae": vae})
    return Node("SaveImage", {"images": decoded, "filename_prefix": "azimuth"}, size=(360, 400))


def checkpoint(name: str) -> Node:
    return Node("CheckpointLoaderSimple", {"ckpt_name": name}, size=(380, 0))


def prompts(clip, positive, negative) -> tuple[Node, Node]:
    return text(clip, positive, "Positive prompt"), text(clip, negative, "Negative prompt")


def canvas(kind: str = "EmptyLatentImage", side: int = 1024, batch: int = 1) -> Node:
    return Node(kind, {"width": side, "height": side, "batch_size": batch})


def unchanged(load: Node) -> Node:
    """The chain of no nodes."""
    return load


SDXL = "sd_xl_base_1.0.safetensors"
FLAWS = "blurry, low quality, watermark"
# Checkpoint, latent and settings of the sampler.
SD3 = {"ckpt": "sd3.5_large_fp8_scaled.safetensors", "latent": "EmptySD3LatentImage", "scheduler": "sgm_uniform"}
FLUX = {"ckpt": "flux1-dev-fp8.safetensors", "latent": "EmptySD3LatentImage", "scheduler": "simple"}


def picture(
    heading: str,
    advice: str,
    chain,
    positive: str,
    negative=FLAWS,
    *,
    ckpt=SDXL,
    latent="EmptyLatentImage",
    sample=ksampler,
    more=lambda model: (),
    **settings,
) -> Recipe:
    """A checkpoint, the chain's nodes on its MODEL, a sampler, a plain KSampler as a rule, and a saved picture."""
    load = checkpoint(ckpt)
    model = chain(load)
    sampler = sample(model, *prompts(load.out(1), positive, negative), canvas(latent), **settings)
    return Recipe(heading, advice, (saved(sampler, load.out(2)), *more(model)))


def described(cfg: float):
    """A Guidance Report at the end of a chain, with the sigmas of the run."""

    def report(model):
        inputs = {"model": model, "sigmas": sigmas(model, "karras", 25), "cfg": cfg}
        return (Node("AzimuthReport", inputs, size=(380, 340)),)

    return report


def two_passes() -> Recipe:
    load = checkpoint(SDXL)
    pair = prompts(load.out(1), "a lighthouse on a rocky coast at dusk, long exposure, soft waves", FLAWS)
    scheduled = azimuth("ScheduledCFG", load, scale=schedule("linear", first=4.0, last=12.0))
    first = ksampler(azimuth("AngleDomain", scheduled), *pair, canvas(), cfg=8.0, title="KSampler, first pass")
    larger = Node("LatentUpscaleBy", {"samples": first, "upscale_method": "bislerp", "scale_by": 1.5})
    thresholded = azimuth("DynamicThresholding", scheduled, mimic_scale=6.0)
    second = ksampler(thresholded, *pair, larger, cfg=8.0, steps=20, denoise=0.5, title="KSampler, second pass")
    return Recipe(
        "Schedule, ADG and thresholding",
        "Both passes take their weight from one schedule; Angle Domain Guidance shapes the first and Dynamic "
        "Thresholding the second, larger one. The two are rival rules for one step and refuse to share a "
        "MODEL, so give each its own pass.",
        (saved(second, load.out(2)),),
    )


def chroma() -> Recipe:
    unet = Node(
        "UNETLoader",
        {"unet_name": "Chroma1-HD-fp8mixed.safetensors", "weight_dtype": "default"},
        size=(380, 0),
    )
    clip = Node("CLIPLoader", {"clip_name": "t5xxl_fp8_e4m3fn_scaled.safetensors", "type": "chroma"}, size=(380, 0))
    vae = Node("VAELoader", {"vae_name": "ae.safetensors"}, size=(380, 0))
    scheduled = azimuth("ScheduledCFG", unet, scale=schedule("cosine", first=5.0, last=2.5))
    model = azimuth(
        "NegativeGuidance",
        scheduled,
        negative=text(clip, "plastic skin, 3d render", "Further negative"),
        weight=0.8,
    )
    sampler = sampled_by("KSamplerSelect", sampler_name="euler")(
        model,
        *prompts(clip, "a gardener among tall sunflowers, film photograph, late light", FLAWS),
        canvas("EmptySD3LatentImage"),
        cfg=4.0,
        scheduler="beta",
        steps=26,
    )
    return Recipe(
        "Flow model with a custom sampler",
        "Chroma is a flow model of the Flux family with a real negative prompt, so every Azimuth node works "
        "on it; here the weight falls from 5 to 2.5 while a second negative keeps its own strength. For "
        "Flux-dev itself, which is distilled and has no negative pass, leave cfg at 1.",
        (saved(sampler, vae),),
    )


LAB_PROMPT = "a large red circle left of a small blue square on a grey background"
LOW, HIGH = 3.0, 16.0
METHODS = {  # title under which it is shown: the sampler's cfg, and the MODEL
    f"plain CFG, w = {LOW:g}": (LOW, lambda load: load),
    f"plain CFG, w = {HIGH:g}": (HIGH, lambda load: load),
    f"interval, w = {HIGH:g}": (
        HIGH,
        lambda load: azimuth("ScheduledCFG", load, scale=HIGH, start=0.25, end=0.75),
    ),
    f"triangle, mean {HIGH:g}": (
        HIGH,
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("triangle", mean=HIGH, low=1.0)),
    ),
    f"not pink, w = {LOW:g}": (
        LOW,
        lambda load: azimuth("NegativeGuidance", load, negative=text(load.out(1), "on a pink background")),
    ),
    f"thresholded, w = {HIGH:g}": (HIGH, lambda load: azimuth("DynamicThresholding", load, mimic_scale=LOW)),
    "CFG++, lambda = 0.6": (HIGH, lambda load: azimuth("CFGPlusPlus", load, lam=0.6)),
    f"ADG, w = {HIGH:g}": (HIGH, lambda load: azimuth("AngleDomain", load)),
    f"exact rotation, w = {HIGH:g}": (HIGH, lambda load: azimuth("AngleDomain", load, mode="exact rotation")),
}


def side_by_side(model: str, scheduler: str, what: str) -> Recipe:
    """Every method on one lab model, each in a row of its own."""
    load = Node("AzimuthLabLoader", {"model": model})
    positive, nothing = text(load.out(1), LAB_PROMPT, "Prompt"), text(load.out(1), "", "Nothing")
    latent = canvas(side=32, batch=4)
    ends = []
    for row, (title, (cfg, chain)) in enumerate(METHODS.items()):
        sampler = ksampler(
            in_row(chain(load), row, load),
            positive,
            nothing,
            latent,
            cfg=cfg,
            row=row,
            steps=20,
            sampler_name="euler",
            scheduler=scheduler,
        )
        decoded = Node("VAEDecode", {"samples": sampler, "vae": load.out(2)}, row=row)
        larger = {"image": decoded, "upscale_method": "nearest-exact", "scale_by": 8.0}
        scaled = Node("ImageScaleBy", larger, row=row)
        ends.append(Node("PreviewImage", {"images": scaled}, title, (300, 300), row))
    return Recipe(
        f"Every method on the lab's {what}",
        "The same prompt and seed under plain CFG and under each method, on a model that samples in seconds "
        "without a GPU. It needs the development pack in lab/, which `python dev.py serve` brings along.",
        tuple(ends),
    )


def in_row(node: Node, row: int, load: Node) -> Node:
    """A copy of a chain's nodes, down to the loader, that stands in a row."""
    if node is load:
        return node
    inputs = {
        name: in_row(value, row, load) if isinstance(value, Node) else value for name, value in node.inputs.items()
    }
    return Node(node.kind, inputs, node.title, node.size, row)


# ---- The recipes -----------------------------------------------------------------------------------------

RECIPES = {
    "scheduled_cfg": lambda: picture(
        "Scheduled CFG",
        "The weight rises from 2 to 12 over the run: loose composition first, firm detail last. Choose "
        "another shape in Guidance Schedule, or unlink it and type one number.",
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("linear", first=2.0, last=12.0)),
        "a quiet harbour at sunrise, fishing boats, mist over the water, oil painting",
        cfg=7.0,
    ),
    "guidance_interval": lambda: picture(
        "Guidance interval",
        "Guidance acts from 15 % to 75 % of the run and is off elsewhere, which keeps variety and skips four "
        "in ten negative passes. Inside the interval the weight can be higher than usual: try 8 to 12.",
        lambda load: azimuth("ScheduledCFG", load, scale=9.0, start=0.15, end=0.75),
        "a red fox resting in fresh snow, morning light, wildlife photograph",
        cfg=7.0,
    ),
    "negative_guidance": lambda: picture(
        "Negative Guidance, two chained",
        "Each further negative has its own weight and window, so one strong word does not weaken the others. "
        "Perpendicular mode removes only what the prompt itself does not ask for; the second begins after a "
        "fifth of the run.",
        lambda load: azimuth(
            "NegativeGuidance",
            azimuth(
                "NegativeGuidance",
                load,
                negative=text(load.out(1), "bananas, citrus", "First further negative"),
            ),
            negative=text(load.out(1), "plastic, glossy, studio flash", "Second further negative"),
            weight=0.7,
            start=0.2,
        ),
        "a bowl of fruit on a wooden table, soft window light, still life photograph",
        cfg=7.0,
    ),
    "negative_prompt_presets": lambda: picture(
        "Negative Prompt Presets",
        "Write your own negative text, choose the kind of picture and edit its list; the joined text goes to "
        "the negative prompt. Choosing a preset again restores its list.",
        unchanged,
        "portrait of an old fisherman with a white beard, soft window light, photograph",
        Node("AzimuthNegativePrompt", {"text": "hat", "preset": "photographic portrait"}, size=(400, 320)),
        cfg=6.0,
    ),
    "dynamic_thresholding": lambda: picture(
        "Dynamic Thresholding",
        "The prompt is followed at cfg 15 while the contrast stays that of cfg 6. If the picture still looks "
        "burnt, lower mimic_scale; if it looks flat, raise the percentile to 1.",
        lambda load: azimuth("DynamicThresholding", load, mimic_scale=6.0),
        "a stained glass window with a blue heron among reeds, sunlight falling through",
        cfg=15.0,
    ),
    "cfg_plus_plus": lambda: picture(
        "CFG++",
        "Lambda runs from 0 to 1 and takes the place of cfg, whose number is ignored; 0.6 is about cfg 7.5. "
        "It is exact with euler, ddim and euler_ancestral, so keep one of them.",
        lambda load: azimuth("CFGPlusPlus", load, lam=0.6),
        "a paper boat on a rain puddle, reflections of street lamps, close-up photograph",
        cfg=7.0,
        sampler_name="euler",
        scheduler="normal",
        steps=30,
    ),
    "angle_domain_guidance": lambda: picture(
        "Angle Domain Guidance (ADG)",
        "The weight turns the prediction instead of stretching it, so cfg 10 keeps natural colours. Lower "
        "max_angle for a gentler picture; exact rotation also keeps the contrast of weight 1.",
        lambda load: azimuth("AngleDomain", load),
        "a market street in the rain at night, neon signs, umbrellas, cinematic photograph",
        cfg=10.0,
    ),
    "adaptive_projected_guidance": lambda: picture(
        "Adaptive Projected Guidance (APG)",
        "The part of the update that only raises the saturation is left out, so cfg 12 keeps natural colours. The "
        "preset is the paper's for SDXL; other models have their own, or choose custom.",
        lambda load: azimuth("APG", load, preset="SDXL"),
        "a hot air balloon festival above a valley at dawn, colourful fabric, photograph",
        cfg=12.0,
    ),
    "beta_cfg": lambda: picture(
        "Beta-CFG",
        "The update is divided by its own norm and the weight rises and falls over the run, so no step is pushed much "
        "harder than another. If the picture is soft, raise reference; if it is burnt, lower it.",
        lambda load: azimuth("BetaCFG", load, form="normalised (ours)"),
        "a blue tit on a mossy branch in the rain, shallow depth of field, wildlife photograph",
        cfg=7.0,
    ),
    "ratio_aware_guidance": lambda: picture(
        "Ratio-Aware Guidance (RAAG, MAMBO-G)",
        "Flow models are pushed too hard in their first steps. The weight starts low there and reaches 10 later, so "
        "that few steps suffice. It takes the place of the sampler's cfg, which only has to differ from 1.",
        lambda load: azimuth("RatioAware", load, preset="MAMBO-G"),
        "an old tram climbing a steep street by the sea, golden hour, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=20,
    ),
    "flow_sd3_cfg_zero_star": lambda: picture(
        "CFG-Zero*",
        "Guides away from as much of the negative as the positive shares, and leaves the latent as it is in the "
        "first step, where a flow model is least sure. Keep a sampler that adds no noise, such as euler.",
        lambda load: azimuth("CFGZeroStar", load, zero_init_steps=1),
        "a lighthouse keeper reading by an oil lamp, storm outside the window, oil painting",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    "tangential_damping_cfg": lambda: picture(
        "Tangential Damping CFG (TCFG)",
        "What the negative does not share with the positive is taken out of it before guidance. Nothing to tune; "
        "it combines with any rule, so add ADG or APG after it for a higher cfg.",
        lambda load: azimuth("TangentialCFG", load),
        "a tabby cat asleep on a stack of old atlases, dust in the sunlight, photograph",
        cfg=5.0,
    ),
    "rescale_cfg": lambda: picture(
        "Rescale CFG (Azimuth)",
        "The guided prediction gets the spread of the positive one, so cfg 10 does not burn. Raise phi for a calmer "
        "picture, lower it if greys look flat.",
        lambda load: azimuth("RescaleCFG", load, phi=0.7),
        "an iceberg under the midnight sun, calm sea, wide angle photograph",
        cfg=10.0,
    ),
    "energy_preserving_guidance": lambda: picture(
        "Energy-Preserving Guidance (EP-CFG)",
        "The network's guided prediction keeps the norm of the positive one, whatever the cfg. Try robust if small "
        "bright spots set the contrast of the whole picture.",
        lambda load: azimuth("EnergyPreserving", load),
        "a narrow street of blue houses with clay pots and bougainvillea, noon light, photograph",
        cfg=10.0,
    ),
    "frequency_decoupled_guidance": lambda: picture(
        "Frequency-Decoupled Guidance (FDG)",
        "Fine detail is guided at cfg 10, layout and colour at half of it: the paper's weights for SDXL. Lower low for "
        "calmer colours, raise high for more detail; FreSca in the same node splits the spectrum sharply.",
        lambda load: azimuth("Frequency", load, **{"mode": "FDG", "mode.low": 0.5, "mode.high": 1.0}),
        "a watchmaker's bench with tiny gears and springs, macro photograph, warm light",
        cfg=10.0,
    ),
    "skimmed_cfg": lambda: picture(
        "Skimmed CFG",
        "The values that cfg 12 would drive furthest out get the weight 4, the others keep 12. If the picture still "
        "looks burnt, lower skim_scale; as published does what the original node does.",
        lambda load: azimuth("SkimmedCFG", load, skim_scale=4.0),
        "a parade of paper dragons in a narrow old street, lanterns, confetti, photograph",
        cfg=12.0,
    ),
    "norm_capped_guidance": lambda: picture(
        "Norm-Capped Guidance (PMC-CFG)",
        "Each step uses as much of cfg 9 as keeps the prediction within 1.1 times its norm: little at first, all of it "
        "later. If the layout drifts from the prompt, raise floor.",
        lambda load: azimuth("PMC", load, gamma=1.1, floor=0.2),
        "a wooden rowing boat on a still alpine lake, reflections, early autumn, photograph",
        cfg=9.0,
    ),
    "momentum_guidance": lambda: picture(
        "Momentum Guidance (MG)",
        "Each prediction is moved on in the direction in which it has been changing, which sharpens a short run of "
        "euler and costs nothing. If edges harden, lower alpha; it also works at cfg 1 without a negative.",
        lambda load: azimuth("MomentumGuidance", load, alpha=0.5),
        "a clockmaker's workbench, brass gears and loupes, warm lamp light, macro photograph",
        **SD3,
        sampler_name="euler",
        cfg=3.5,
        steps=18,
    ),
    "history_guidance": lambda: picture(
        "History Guidance (HiGS)",
        "The detail that is new against the steps before is amplified, so a low cfg and few steps come out crisp. Keep "
        "to samplers such as euler; with dpmpp_2m and its kin use a weight of 0.5 at most.",
        lambda load: azimuth("HiGS", load, weight=1.75),
        "a fern forest after rain, a wooden footbridge, soft green light, photograph",
        cfg=4.0,
        sampler_name="euler",
        scheduler="normal",
        steps=20,
    ),
    "sliding_mode_guidance": lambda: picture(
        "Sliding Mode Guidance (SMC-CFG)",
        "The difference between the two predictions is pushed towards zero from step to step, which holds a high cfg "
        "back. On flow models the paper's absolute gain can be chosen; if you see grain, switch on chatter_free.",
        lambda load: azimuth("SMC", load, gain=0.2, gain_unit="absolute, flow only"),
        "a red tram climbing a steep street between tiled houses, morning haze, photograph",
        **SD3,
        sampler_name="euler",
        cfg=7.5,
        steps=28,
    ),
    "guidance_norm_limit": lambda: picture(
        "Guidance Norm Limit",
        "At cfg 12 the guided prediction is scaled back to the length of the positive one, so the prompt is followed "
        "closely and the colours stay. Raise the limit to 1.2 for more contrast, or limit every pixel by itself.",
        lambda load: azimuth("NormLimit", load, limit=1.0, scope="sample"),
        "a parrot on a wet branch in the rainforest, shallow depth of field, photograph",
        cfg=12.0,
    ),
    "tangential_amplifying_guidance": lambda: picture(
        "Tangential Amplifying Guidance (TAG)",
        "Every step keeps the part that removes noise and takes the rest 1.2 times as far, the paper's number for "
        "SDXL. It also works at cfg 1 and on distilled models; use 1.15 for SD1.5 and 1.05 for SD3.",
        lambda load: azimuth("TAG", load, eta=1.2),
        "a violin maker at her workbench, hands and tools in focus, warm lamp, photograph",
        cfg=6.0,
        sampler_name="euler",
    ),
    "epsilon_scaling": lambda: picture(
        "Epsilon Scaling",
        "A little less noise is taken away at every step, which brings out texture. Stay between 1.004 and 1.02: more "
        "shows as grain, and more steps want less of it.",
        lambda load: azimuth("EpsilonScaling", load, scale=1.01),
        "close-up of weathered oak bark with moss and lichen, overcast light, photograph",
        cfg=6.0,
    ),
    "temporal_score_rescaling": lambda: picture(
        "Temporal Score Rescaling (TSR)",
        "A k below 1 samples from a broader distribution than the model's and shows more detail, a k above 1 smooths. "
        "A larger data_sigma acts earlier in the run.",
        lambda load: azimuth("TSR", load, k=0.95, data_sigma=1.0),
        "an old town on a hillside above the sea, many roofs and windows, clear afternoon, photograph",
        cfg=6.0,
    ),
    "negative_guidance_not": lambda: picture(
        "Negative Guidance, NOT",
        "The prompt AND NOT the further negative: weight 0.5 is half as strong as the prompt at every step, so it "
        "follows the falling cfg. Raise it towards 1 where the word still shows.",
        lambda load: azimuth(
            "NegativeGuidance",
            azimuth("ScheduledCFG", load, scale=schedule("linear", first=9.0, last=4.0)),
            negative=text(load.out(1), "people, crowd", "Further negative"),
            mode="not",
            weight=0.5,
        ),
        "a seaside promenade with striped deck chairs on a summer afternoon, photograph",
        cfg=7.0,
    ),
    "contrastive_cfg": lambda: picture(
        "Contrastive CFG (CCFG)",
        "The further negative repels while it is close and lets go once it is far off. The prompt counts up to twice, "
        "so the cfg is half the usual one, and the sampler's negative stays empty.",
        lambda load: azimuth(
            "ContrastiveCFG",
            load,
            negative=text(load.out(1), "cars, traffic", "Further negative"),
            tau=100.0,
            norm="mean (ours)",
        ),
        "a narrow street in an old town with balconies full of flowers, morning sun, photograph",
        "",
        cfg=3.5,
    ),
    "dynamic_negative_guidance": lambda: picture(
        "Dynamic Negative Guidance (DNG)",
        "The further negative all but sleeps until the picture begins to look like it, and then pushes as hard as is "
        "needed. Keep a sampler that adds noise, such as euler_ancestral, and raise prior if it wakes too late.",
        lambda load: azimuth("DynamicNegative", load, negative=text(load.out(1), "sheep", "Further negative")),
        "a green pasture on a hillside with an old stone wall, drifting clouds, photograph",
        cfg=6.0,
        sampler_name="euler_ancestral",
        scheduler="normal",
        steps=30,
    ),
    "safe_latent_diffusion": lambda: picture(
        "Safe Latent Diffusion (SLD)",
        "The concept is kept out only where the latent leans towards it, and only after the first fifth of the run, so "
        "the composition stays. Take weak for a hint of it, max where nothing of the concept may be left.",
        lambda load: azimuth(
            "SafeLatent",
            load,
            negative=text(load.out(1), "blood, violence, weapons, nudity", "Concept to keep away from"),
            preset="strong",
        ),
        "a knight resting in a sunlit clearing after the battle, oil painting",
        cfg=7.0,
    ),
    "perturbed_attention_guidance": lambda: picture(
        "Perturbed-Attention Guidance (PAG)",
        "Each step asks once more with the attention of the middle block switched off, and moves away from that: "
        "clearer shapes at a moderate cfg. With cfg 1 it works alone, at the price of a plain run.",
        lambda load: azimuth("PerturbedAttention", load, scale=3.0),
        "a wrought iron greenhouse full of ferns, overcast light, architectural photograph",
        cfg=4.0,
    ),
    "smoothed_energy_guidance": lambda: picture(
        "Smoothed Energy Guidance (SEG)",
        "The attention of the middle block is blurred instead of switched off, which is gentler than PAG. Lower blur "
        "towards 1 for less, raise scale for more.",
        lambda load: azimuth("SmoothedEnergy", load, scale=3.0),
        "a violin maker at work, wood shavings, warm window light, photograph",
        cfg=4.0,
    ),
    "self_attention_guidance": lambda: picture(
        "Self-Attention Guidance (SAG)",
        "What the model looks at most is blurred and shown to it again, and the difference sharpens detail there. "
        "0.5 to 0.75 is enough.",
        lambda load: azimuth("SelfAttention", load, scale=0.6),
        "a snow leopard on a ledge, falling snow, telephoto photograph",
        cfg=5.0,
    ),
    "autoguidance": lambda: picture(
        "Autoguidance",
        "A worse model of the same family answers the same prompt, and the picture moves away from what it gets wrong. "
        "Use an earlier or smaller model of yours as the weaker one, and lower cfg.",
        lambda load: azimuth("Autoguidance", load, weak_model=checkpoint("sd_xl_base_0.9.safetensors"), scale=0.8),
        "a cabinet of curiosities, shells and minerals, museum photograph",
        "blurry, low quality",
        cfg=3.0,
    ),
    "flow_flux_distilled_guidance": lambda: picture(
        "Distilled Guidance on Flux-dev",
        "Two passes at embedded guidance 1.5 and 3.5 stand in for a positive and a negative one, so Angle Domain "
        "Guidance acts on Flux-dev at cfg 1. They are made in the first 60 % of the run; mode schedule costs no pass "
        "at all.",
        lambda load: azimuth(
            "AngleDomain", azimuth("DistilledGuidance", load, mode="two passes", guidance=5.0, start=0.0, end=0.6)
        ),
        "an old sailor mending a net on a wooden pier, overcast morning, documentary photograph",
        "",
        **FLUX,
        sampler_name="euler",
        cfg=1.0,
        steps=20,
    ),
    "flow_flux_normalized_attention_guidance": lambda: picture(
        "Normalized Attention Guidance (NAG) on Flux-dev",
        "A negative prompt at cfg 1: what the picture reads in the prompt is pushed away from what it would read in "
        "the negative. Raise scale for more of it; a step takes about twice as long while it acts.",
        lambda load: azimuth(
            "NAG", load, negative=text(load.out(1), "glasses, hat", "What to keep away from"), scale=5.0, end=0.8
        ),
        "a watchmaker at his bench, portrait, window light, documentary photograph",
        "",
        **FLUX,
        sampler_name="euler",
        cfg=1.0,
        steps=20,
    ),
    "condition_annealing": lambda: picture(
        "Condition Annealing (CADS)",
        "Noise on the prompts in the first steps lets the layout differ more from seed to seed. Change the seed to see "
        "it; a larger tau1 or a smaller scale brings the prompt back.",
        lambda load: azimuth("CADS", load, scale=0.25),
        "a cabin by a lake in autumn, oil painting",
        cfg=8.0,
    ),
    "cfg_plus_plus_sampler": lambda: picture(
        "CFG++ with DPM++ 2M",
        "The guider's cfg is lambda here, 0.4 to 0.8: 0.6 is about cfg 7.5. For pictures that stay as they are from "
        "one number of steps to another use a plain cfg instead: with CFG++ more steps mean more guidance.",
        unchanged,
        "a fox asleep among fallen leaves, macro photograph, soft light",
        sample=sampled_by("AzimuthCFGPPSampler", method="DPM++ 2M", form="official"),
        cfg=0.6,
        scheduler="karras",
        steps=25,
    ),
    "adaptive_guidance": lambda: picture(
        "Adaptive Guidance",
        "The negative pass is left out once it says the same as the positive one, so the end of the run goes up "
        "to twice as fast. The log says how many passes were skipped; lower the threshold to skip more.",
        lambda load: azimuth("AdaptiveGuidance", load),
        "a narrow gauge steam train crossing a stone viaduct in autumn, aerial photograph",
        cfg=7.0,
        steps=30,
    ),
    "uncond_reuse": lambda: picture(
        "Uncond Reuse",
        "From a fifth of the run on, only every other step predicts the negative; between them its last difference to "
        "the prompt is used again, at the full weight. every 3 is faster still; compare it with every 1, which is off.",
        lambda load: azimuth("UncondReuse", load, every=2),
        "a lighthouse on a basalt cliff at dusk, waves breaking, photograph",
        cfg=7.0,
        steps=30,
    ),
    "guidance_report": lambda: picture(
        "Guidance Report",
        "The report lists what the MODEL will do and the weight of every step, before you trust a picture to "
        "it. Set its cfg, steps and scheduler to those of the sampler.",
        lambda load: azimuth(
            "AngleDomain",
            azimuth("ScheduledCFG", load, scale=schedule("interval", inside=9.0, outside=1.0, start=0.1, end=0.8)),
        ),
        "an observatory on a hill under the milky way, long exposure photograph",
        cfg=7.0,
        more=described(7.0),
    ),
    "stack_schedule_adg_thresholding": two_passes,
    "flow_sd3_scheduled_cfg": lambda: picture(
        "Flow model, SD3 class",
        "Flow models want lower weights, 3.5 to 5, and gain most from leaving out the very first and the "
        "last steps. Inside that interval Angle Domain Guidance keeps the colours calm.",
        lambda load: azimuth(
            "AngleDomain",
            azimuth(
                "ScheduledCFG",
                load,
                scale=schedule("interval", inside=5.0, outside=1.0, start=0.05, end=0.85),
            ),
        ),
        "a glass teapot with blooming tea on a linen cloth, bright kitchen, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    "flow_sd3_skip_layer_guidance": lambda: picture(
        "Skip Layer Guidance on SD3.5",
        "Blocks 7 to 9 are left out in one more pass during the first fifth of the run, which is meant for hands "
        "and bodies. The presets begin with the numbers for other models: STG for video, S2 for any.",
        lambda load: azimuth("SkipLayer", load, preset="SLG: SD3.5 medium"),
        "a dancer leaping on an empty stage, side light, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    "flow_sd3_rectified_cfgpp": lambda: picture(
        "Rectified-CFG++",
        "Each step follows the positive alone and is corrected by guidance that is measured half a step ahead: three "
        "passes. lam_max takes the place of the guider's cfg, which is not used; 3 is about cfg 4.",
        unchanged,
        "a hand-painted sign that says OPEN above the door of a small bakery, morning light, photograph",
        sample=sampled_by("AzimuthRectifiedCFGPP", lam_max=3.0, gamma=0.0, fraction=0.5),
        **SD3,
        cfg=4.0,
        steps=20,
    ),
    "flow_chroma_negative_guidance": chroma,
    "lab_ve_side_by_side": lambda: side_by_side("ve", "karras", "EDM model"),
    "lab_flow_side_by_side": lambda: side_by_side("flow", "simple", "flow model"),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Make example_workflows/ with the real front-end.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which ones (default: all): {', '.join(RECIPES)}")
    parser.add_argument("--preview", type=Path, help="also save drawings of the whole graphs in this folder")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(RECIPES):
        parser.error(f"there is no recipe {', '.join(sorted(unknown))}; choose from {', '.join(RECIPES)}")
    names = options.names or list(RECIPES)
    FOLDER.mkdir(exist_ok=True)
    with running() as server, browsing() as browser:
        server.settings(LiteGraph__Canvas__MinFontSizeForLOD=0)  # text however small
        with open_page(browser, server, "classic") as page:
            for name in names:
                make_files(server, page, name, RECIPES[name]())
        if options.preview:
            options.preview.mkdir(parents=True, exist_ok=True)
            for renderer in RENDERERS:
                with open_page(browser, server, renderer) as page:
                    preview(page, names, options.preview, renderer.replace(" ", "_"))
    return 0


def make_files(server: Server, page: FrontEnd, name: str, recipe: Recipe) -> None:
    workflow = make(page, name, recipe)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(workflow, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    thumbnail = sampled(server, workflow, page.prompt()) if name.startswith("lab_") else drawn(page)
    save_thumbnail(thumbnail, path.with_suffix(".jpg"))
    sys.stdout.write(f"{path}\n")


def preview(page: FrontEnd, names: list[str], folder: Path, renderer: str) -> None:
    for name in names:
        page.load(read_workflow(FOLDER / f"{name}.json"))
        page.page.wait_for_timeout(600)
        frame(page)
        (folder / f"{name}_{renderer}.png").write_bytes(page.page.screenshot())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
