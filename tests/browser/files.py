"""Which files of example_workflows/ are what their recipes give. Neither a host nor a browser is needed."""

import json
import re
import uuid
from pathlib import Path

from specimens.kinds import Recipe

from ..http.object_info import SNAPSHOT
from ..http.server import ROOT
from .graphs import plan
from .recipes import RECIPES

FOLDER = ROOT / "example_workflows"
PROMISED = json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def identity(recipe: Recipe) -> str:
    """The id of a recipe's workflow, which its file keeps under whatever name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"azimuth-guidance/{recipe.name}"))


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def by_recipe() -> dict[str, Path]:
    """The file that each recipe has now, by its workflow's id."""
    return {read(path)["id"]: path for path in sorted(FOLDER.glob("*.json"))}


def misnamed() -> dict[Path, Path]:
    """Files that should have another name: the old one and the new."""
    there = by_recipe()
    wanted = {identity(recipe): FOLDER / f"{name}.json" for name, recipe in RECIPES.items()}
    return {there[key]: path for key, path in wanted.items() if there.get(key, path) != path}


def unwanted() -> list[Path]:
    """What no recipe makes: workflows, and pictures without one."""
    wanted = {identity(recipe) for recipe in RECIPES.values()}
    kept = {path.with_suffix("") for key, path in by_recipe().items() if key in wanted}
    return sorted(path for path in FOLDER.glob("*.j*") if path.with_suffix("") not in kept)


def outdated() -> list[str]:
    """The names of the recipes whose file, or picture, is missing or says something else."""
    there = by_recipe()
    paths = {name: there.get(identity(recipe)) for name, recipe in RECIPES.items()}
    return [name for name, path in paths.items() if not path or not is_made(read(path), path, RECIPES[name])]


def is_made(workflow: dict, path: Path, recipe: Recipe) -> bool:
    """Whether there is a picture, and of every node the kind, title, files, values and links are the recipe's."""
    nodes, steps = workflow["nodes"], plan(recipe)
    numbers = {node["id"]: index for index, node in enumerate(nodes)}
    links = {key: [numbers[source], output] for key, source, output, *_ in workflow["links"]}
    return (
        path.with_suffix(".jpg").is_file()
        and len(nodes) == len(steps)
        and all(is_node(node, step, links) for node, step in zip(nodes, steps, strict=True))
    )


def is_node(node: dict, step: dict, links: dict[int, list[int]]) -> bool:
    linked = [[slot["name"], *links[slot["link"]]] for slot in node.get("inputs", []) if slot["link"] is not None]
    return (
        node["type"] == step["kind"]
        and node.get("title", "") == step["title"]
        and node["properties"].get("models", []) == step["models"]
        and sorted(linked) == sorted(step["links"])
        and has_values(node, dict(step["values"]))
    )


def has_values(node: dict, wanted: dict) -> bool:
    """What a recipe does not name is the default of our nodes, and anything of others."""
    values = dict(zip(widgets(node), node.get("widgets_values") or [], strict=True))
    if node["type"] in PROMISED:
        return values == {**defaults(node["type"], {**values, **wanted}), **wanted}
    return all(values.get(name) == value for name, value in wanted.items())


def widgets(node: dict) -> list[str]:
    """Their names, in the order of their values. A seed is followed by a second one; a note's has no name."""
    names = [slot["widget"]["name"] for slot in node.get("inputs", []) if slot.get("widget")]
    after = [[name, "control_after_generate"] if name.endswith("seed") else [name] for name in names]
    return sum(after, []) or [""] * len(node.get("widgets_values") or [])


def defaults(kind: str, chosen: dict) -> dict:
    """Of the inputs of one of our nodes that have a widget; of a dynamic input, of those of the option chosen."""
    found = {}
    for name, _, options in PROMISED[kind]["inputs"]:
        dynamic = re.fullmatch(r"(.+)\[(.+)\]\.(.+)", name)
        if dynamic and chosen.get(dynamic[1]) != dynamic[2]:
            continue
        name = f"{dynamic[1]}.{dynamic[3]}" if dynamic else name
        if "default" in options or "options" in options:
            found[name] = options["default"] if "default" in options else options["options"][0]
    return found
