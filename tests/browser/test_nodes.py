"""Every node as a user meets it: added, drawn, set, linked, explained."""

import json
import re

import pytest

from ..http.object_info import SNAPSHOT, declared, ours
from ..http.server import PACK, Server
from .frontend import FrontEnd

SOCKETS = ("MODEL", "CONDITIONING", "SIGMAS")  # inputs without a widget
PROMISED = {kind: facts["inputs"] for kind, facts in json.loads(SNAPSHOT.read_text(encoding="utf-8")).items()}


def of_type(io_type: str) -> dict[str, list[str]]:
    """The names of the inputs of that type which a new node shows, for each node that has any."""
    found: dict[str, list[str]] = {}
    for kind, inputs in PROMISED.items():
        first = {f"{name}[{facts['options'][0]}]": name for name, of, facts in inputs if of == DYNAMIC_TYPE}
        for name, of, _ in inputs:
            outer, dot, inner = name.rpartition(".")
            if io_type in of.split(",") and (not dot or outer in first):
                found.setdefault(kind, []).append(f"{first[outer]}.{inner}" if dot else name)
    return found


DYNAMIC_TYPE = "COMFY_DYNAMICCOMBO_V3"
SCHEDULABLE = of_type("GUIDANCE_SCHEDULE")
DYNAMIC = {kind: name for kind, (name,) in of_type(DYNAMIC_TYPE).items()}


@pytest.fixture(scope="session")
def nodes(server: Server) -> dict[str, dict]:
    return ours(server)


def inputs_of(info: dict) -> dict:
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


def options_of(info: dict, name: str) -> dict[str, dict]:
    """The options of a dynamic input, each with its own inputs."""
    options = inputs_of(info)[name][1]["options"]
    return {o["key"]: {**o["inputs"].get("required", {}), **o["inputs"].get("optional", {})} for o in options}


@pytest.mark.parametrize("kind", sorted(declared()))
def test_a_node_shows_its_widgets(frontend: FrontEnd, nodes: dict, kind: str) -> None:
    node = frontend.add(kind)
    info = nodes[kind]
    expected = {name: options for name, (io_type, options) in inputs_of(info).items() if io_type not in SOCKETS}
    shown = frontend.widgets(node)
    assert expected.keys() <= shown.keys()
    for name, options in expected.items():
        if "default" in options:
            assert shown[name] == options["default"], name
    assert frontend.run("id => app.graph.getNodeById(id).title", node) == info["display_name"]
    width, height = frontend.drawn_size(node)
    assert width > 150 and height > 40


@pytest.mark.parametrize("kind", DYNAMIC)
def test_an_option_brings_its_own_widgets(frontend: FrontEnd, nodes: dict, kind: str) -> None:
    name = DYNAMIC[kind]
    node = frontend.add(kind)
    options = options_of(nodes[kind], name)
    assert frontend.widgets(node)[name] == next(iter(options)), "The first option is not the one chosen at first."
    for option, inputs in options.items():
        frontend.choose(node, name, option)
        shown = {key: value for key, value in frontend.widgets(node).items() if key.startswith(f"{name}.")}
        assert shown.keys() == {f"{name}.{inner}" for inner in inputs}, option
        assert frontend.prompt()[str(node)]["inputs"].items() >= {name: option, **shown}.items()


def test_a_preset_fills_its_numbers_in(frontend: FrontEnd, nodes: dict) -> None:
    node = frontend.add("AzimuthSkipLayer")
    for preset, inputs in options_of(nodes["AzimuthSkipLayer"], "preset").items():
        frontend.choose(node, "preset", preset)
        shown = frontend.widgets(node)
        for name, (_, options) in inputs.items():
            assert shown[f"preset.{name}"] == options["default"], f"{preset}, {name}"


def test_a_curve_reaches_the_prompt(frontend: FrontEnd) -> None:
    node = frontend.add("AzimuthSchedule")
    frontend.choose(node, "shape", "curve")
    assert frontend.prompt()[str(node)]["inputs"]["shape.curve"]["points"] == [[0, 1], [0.5, 0], [1, 0]]


@pytest.mark.parametrize("kind", SCHEDULABLE)
def test_a_number_takes_a_schedule_in_its_place(frontend: FrontEnd, kind: str) -> None:
    schedule, lab = frontend.add("AzimuthSchedule", 100, 200), frontend.add("AzimuthLabLoader", 100, 600)
    node = frontend.add(kind, 600, 200)
    for name in SCHEDULABLE[kind]:
        assert not frontend.connect(lab, 0, node, name), f"{name} takes a MODEL."
        assert isinstance(frontend.prompt()[str(node)]["inputs"][name], int | float)
        assert frontend.connect(schedule, 0, node, name), f"{name} takes no schedule."
        assert frontend.prompt()[str(node)]["inputs"][name] == [str(schedule), 0]


def test_the_numbers_and_groups_are_found() -> None:
    assert SCHEDULABLE["AzimuthCFGPlusPlus"] == ["lam"] and SCHEDULABLE["AzimuthSkipLayer"] == ["preset.scale"]
    assert DYNAMIC.items() >= {"AzimuthSchedule": "shape", "AzimuthAPG": "preset"}.items()


def test_the_terms_of_a_preset_are_typed_over(frontend: FrontEnd) -> None:
    node = frontend.add("AzimuthNegativePrompt")
    frontend.choose(node, "preset", "landscape")
    own, terms = frontend.text_boxes(node)
    assert "power lines" in terms.input_value()
    own.fill("my own words")
    terms.fill("fog, cables")
    inputs = frontend.prompt()[str(node)]["inputs"]
    assert (inputs["text"], inputs["preset.terms"]) == ("my own words", "fog, cables")


def test_the_report_is_shown_in_its_node(frontend: FrontEnd) -> None:
    lab, node = frontend.add("AzimuthLabLoader", 100, 200), frontend.add("AzimuthReport", 500, 200)
    assert frontend.connect(lab, 0, node, "model")
    frontend.run("() => app.queuePrompt(0)")
    line = frontend.page.get_by_text("Combine rule: CFG")
    line.wait_for(timeout=60_000)
    assert "Combine rule: CFG" in line.inner_text().split("\n"), "The lines of the report run into each other."


@pytest.mark.parametrize("kind", sorted(declared()))
def test_the_help_page_is_served(server: Server, kind: str) -> None:
    folder = f"/extensions/{PACK}/docs"
    status, page = server.ask(f"{folder}/{kind}.md")
    assert status == 200
    for image in re.findall(r"!\[[^]]*\]\(([^):]+)\)", page.decode()):
        assert server.ask(f"{folder}/{image}")[0] == 200, image
