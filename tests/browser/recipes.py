"""The recipes of example_workflows/: those of the specimens, and the contact sheet on two of the lab's models."""

import re
from dataclasses import replace

from specimens import CHAPTERS, found, packages, specimens
from specimens.kinds import Node, Picture, Recipe
from specimens.workflows import canvas, ksampler, text

packages.mathematics()

LAB_PROMPT = "a large red circle left of a small blue square on a grey background"
SHEET = sorted((picture for picture in found("PICTURES") if picture.sheet), key=lambda picture: picture.sheet)


def guided(picture: Picture, load: Node) -> Node:
    """The MODEL of a line of the contact sheet."""
    model = load
    for node in picture.chain:
        inputs = {name: encoded(value, load) for name, value in node.inputs.items()}
        model = Node(node.kind, {"model": model, **inputs})
    return model


def encoded(value, load: Node):
    """A further prompt with the CLIP that it lacks."""
    prompt = isinstance(value, Node) and value.kind == "CLIPTextEncode"
    return text(load.out(1), value.inputs["text"]) if prompt else value


def side_by_side(model: str, scheduler: str, what: str) -> Recipe:
    """The lines of the contact sheet on one lab model, each in a row of its own."""
    load = Node("AzimuthLabLoader", {"model": model})
    positive, nothing = text(load.out(1), LAB_PROMPT, "Prompt"), text(load.out(1), "", "Nothing")
    latent = canvas(side=32, batch=4)
    ends = []
    for row, picture in enumerate(SHEET):
        sampler = ksampler(
            in_row(guided(picture, load), row, load),
            positive,
            nothing,
            latent,
            cfg=picture.scale,
            row=row,
            steps=20,
            sampler_name="euler",
            scheduler=scheduler,
        )
        decoded = Node("VAEDecode", {"samples": sampler, "vae": load.out(2)}, row=row)
        larger = {"image": decoded, "upscale_method": "nearest-exact", "scale_by": 8.0}
        scaled = Node("ImageScaleBy", larger, row=row)
        ends.append(Node("PreviewImage", {"images": scaled}, picture.name, (300, 300), row))
    return Recipe(
        "",
        f"The contact sheet on the lab's {what}",
        "The same prompt and seed under plain CFG and under what the contact sheet shows, on a model that samples in "
        "seconds without a GPU. It needs the development pack in lab/, which `python dev.py serve` brings along.",
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


LAB = {
    "lab_ve_side_by_side": side_by_side("ve", "karras", "EDM model"),
    "lab_flow_side_by_side": side_by_side("flow", "simple", "flow model"),
}


def title(heading: str, chapter: str = "") -> str:
    """The name of a workflow's file, which is all that the template browser shows and sorts by: its chapter's number,
    as in the menu, and its heading, as far as a file may be called so.
    """
    number = f"{CHAPTERS.index(chapter) + 1} " if chapter else ""
    return number + re.sub(r"[^\w .,+()'-]", "", heading)


def described_by(specimen) -> dict[str, Recipe]:
    chapter = specimen.__name__.split(".")[1]
    return {title(recipe.heading, chapter): recipe for recipe in getattr(specimen, "WORKFLOWS", ())}


# By the names of their files; those of the lab, without a number, come last.
RECIPES = {name: recipe for specimen in specimens() for name, recipe in described_by(specimen).items()}
RECIPES |= {title(recipe.heading): replace(recipe, name=name) for name, recipe in LAB.items()}
