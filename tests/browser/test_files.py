"""example_workflows/ against the recipes, without a browser, and against what could be wrong with a file."""

import copy
import json
from pathlib import Path

import pytest

from specimens import found

from . import files
from .recipes import LAB, RECIPES

REMEDY = "run `python dev.py docs`"


def test_every_file_has_a_recipe_and_its_name() -> None:
    assert files.unwanted() == [], REMEDY
    assert files.misnamed() == {}, REMEDY


@pytest.mark.parametrize("name", RECIPES)
def test_the_file_is_what_its_recipe_makes(name: str) -> None:
    path = files.by_recipe().get(files.identity(RECIPES[name]))
    assert path and files.is_made(files.read(path), path, RECIPES[name]), REMEDY


def test_no_two_recipes_have_one_title() -> None:
    assert len(RECIPES) == len(found("WORKFLOWS")) + len(LAB)


def test_titles_are_names_of_files_on_every_system() -> None:
    assert [name for name in RECIPES if not set('<>:"/\\|?*').isdisjoint(name) or name != name.strip(" .")] == []


PATH = sorted(files.FOLDER.glob("*.json"))[0]
WORKFLOW = json.loads(PATH.read_text(encoding="utf-8"))
RECIPE = next(recipe for recipe in RECIPES.values() if files.identity(recipe) == WORKFLOW["id"])


def node(workflow: dict, kind: str) -> dict:
    return next(node for node in workflow["nodes"] if node["type"] == kind)


def other_value(workflow: dict) -> None:
    node(workflow, "KSampler")["widgets_values"][3] += 1.0


def other_default(workflow: dict) -> None:
    ours = next(node for node in workflow["nodes"] if node["type"].startswith("Azimuth"))
    ours["widgets_values"][-1] = "another"


def other_link(workflow: dict) -> None:
    sampler = next(node for node in workflow["nodes"] if node["type"] == "KSampler")
    positive, negative = (slot for slot in sampler["inputs"] if slot["name"] in ("positive", "negative"))
    positive["link"], negative["link"] = negative["link"], positive["link"]


def other_title(workflow: dict) -> None:
    next(node for node in workflow["nodes"] if node.get("title") == "Positive prompt")["title"] = "Prompt"


def other_advice(workflow: dict) -> None:
    node(workflow, "MarkdownNote")["widgets_values"][0] += " And so on."


def other_model(workflow: dict) -> None:
    node(workflow, "CheckpointLoaderSimple")["properties"]["models"][0]["url"] = "https://example.com"


def a_node_more(workflow: dict) -> None:
    workflow["nodes"].append(copy.deepcopy(node(workflow, "VAEDecode")))


CHANGES = (other_value, other_default, other_link, other_title, other_advice, other_model, a_node_more)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_says_something_else_is_not_what_a_recipe_makes(change) -> None:
    assert files.is_made(WORKFLOW, PATH, RECIPE)
    changed = copy.deepcopy(WORKFLOW)
    change(changed)
    assert not files.is_made(changed, PATH, RECIPE)


def test_a_workflow_without_its_picture_is_not_complete(tmp_path: Path) -> None:
    assert not files.is_made(WORKFLOW, tmp_path / PATH.name, RECIPE)


def test_what_stands_in_the_folder_gets_its_name_or_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FOLDER", tmp_path)
    (first, one), (second, two) = list(RECIPES.items())[:2]
    for name, key in ((first, files.identity(two)), (second, files.identity(one)), ("of no recipe", "0")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"id": key, "nodes": [], "links": []}), encoding="utf-8")
    (tmp_path / "alone.jpg").write_bytes(b"")
    assert {path.name for path in files.unwanted()} == {"alone.jpg", "of no recipe.json"}
    assert {old.stem: new.stem for old, new in files.misnamed().items()} == {first: second, second: first}
    assert set(RECIPES) == set(files.outdated())
