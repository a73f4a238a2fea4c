"""Every workflow of example_workflows/: opened in the real front-end, then run on a lab model."""

import copy
import itertools
from pathlib import Path

import pytest

from ..http.server import Server, failure, for_lab
from .files import FOLDER, PROMISED, read
from .frontend import FrontEnd
from .recipes import RECIPES

WORKFLOWS = sorted(FOLDER.glob("*.json"))
STEPS = 2


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_opens_complete_and_runs(frontend: FrontEnd, server: Server, path: Path) -> None:
    workflow = read(path)
    assert frontend.load(workflow) == []
    assert values(frontend.workflow()) == values(workflow)
    prompt = for_lab(frontend.prompt(), "flow" if RECIPES[path.stem].name.startswith("flow") else "ve", STEPS)
    assert failure(server.run(prompt)) == ""


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_node_covers_another(frontend: FrontEnd, path: Path) -> None:
    frontend.load(read(path))
    boxes = frontend.boxes()
    assert [f"{a} and {b}" for a, b in itertools.combinations(boxes, 2) if overlap(boxes[a], boxes[b])] == []


@pytest.mark.parametrize("kind", ["AzimuthAPG", "AzimuthTAG"])
def test_a_workflow_saved_before_the_newest_inputs_opens_with_their_defaults(frontend: FrontEnd, kind: str) -> None:
    whole = next(workflow for workflow in map(read, WORKFLOWS) if kind in kinds(workflow))
    before = copy.deepcopy(whole)
    (node,) = (node for node in before["nodes"] if node["type"] == kind)
    newest = PROMISED[kind]["optional"]
    node["inputs"] = [slot for slot in node["inputs"] if slot["name"] not in newest]
    node["widgets_values"] = node["widgets_values"][: -len(newest)]
    assert frontend.load(before) == []
    assert values(frontend.workflow()) == values(whole) != values(before)


def values(workflow: dict) -> dict:
    return {node["id"]: (node["type"], node.get("widgets_values") or []) for node in workflow["nodes"]}


def kinds(workflow: dict) -> set[str]:
    return {node["type"] for node in workflow["nodes"]}


def overlap(a: list[float], b: list[float]) -> bool:
    """For left, top, width and height of two nodes, titles included."""
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
