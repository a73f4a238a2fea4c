"""The files of example_workflows/ as the server offers them among its templates."""

import io
import json
import urllib.parse

from PIL import Image

from .object_info import declared
from .server import PACK, ROOT, Server

FOLDER = ROOT / "example_workflows"
MOST_BYTES = 60_000


def types(path) -> set[str]:
    return {node["type"] for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]}


def test_all_are_offered_as_templates(server: Server) -> None:
    names = sorted(path.stem for path in FOLDER.glob("*.json"))
    assert sorted(server.json("/workflow_templates")[PACK]) == names
    for name in names:
        address = f"/api/workflow_templates/{PACK}/{urllib.parse.quote(name)}"
        assert server.json(f"{address}.json")["nodes"]
        status, thumbnail = server.ask(f"{address}.jpg")
        assert status == 200 and len(thumbnail) <= MOST_BYTES, name
        assert Image.open(io.BytesIO(thumbnail)).format == "JPEG"


def test_every_node_has_a_workflow_with_a_stock_loader() -> None:
    stock = [path for path in FOLDER.glob("*.json") if "AzimuthLabLoader" not in types(path)]
    assert declared() - set().union(*map(types, stock)) == set()


def test_every_workflow_gives_advice() -> None:
    assert [path.stem for path in FOLDER.glob("*.json") if "MarkdownNote" not in types(path)] == []
