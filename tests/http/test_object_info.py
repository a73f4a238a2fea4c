"""The nodes as the server describes them to the front-end and to other programs."""

import json
import keyword

from .object_info import SNAPSHOT, fields, ours, promises, readable
from .server import Server


def test_every_node_and_input_explains_itself(server: Server) -> None:
    silent = []
    for name, info in ours(server).items():
        assert name.startswith("Azimuth")
        silent += [] if info["description"] and info["display_name"] and info["search_aliases"] else [name]
        silent += [f"{name}.{field}" for field, _, options in fields(info["input"]) if not options.get("tooltip")]
        silent += [f"{name} output {i}" for i, tip in enumerate(info["output_tooltips"]) if not tip]
    assert silent == []


def test_every_float_has_a_range_and_every_name_is_usable(server: Server) -> None:
    wrong = []
    for name, info in ours(server).items():
        for field, kind, options in fields(info["input"]):
            last = field.split(".")[-1]
            if not last.isidentifier() or keyword.iskeyword(last):
                wrong.append(f"{name}.{field} is no name")
            if "FLOAT" in str(kind).split(","):
                if not {"min", "max", "step", "default"} <= options.keys():
                    wrong.append(f"{name}.{field} lacks a limit: {sorted(options)}")
                elif not options["min"] <= options["default"] <= options["max"]:
                    wrong.append(f"{name}.{field}: its default is out of range")
    assert wrong == []


def test_nothing_changed_by_accident(server: Server) -> None:
    assert promises(server) == json.loads(SNAPSHOT.read_text(encoding="utf-8")), "if it is meant: `python dev.py docs`"


def test_the_file_reads_as_it_is_written() -> None:
    text = SNAPSHOT.read_text(encoding="utf-8")
    assert text == readable(json.loads(text)), "run `python dev.py docs`"


def test_no_node_has_the_name_of_one_of_the_hosts(server: Server) -> None:
    """The node search would show two nodes that nobody can tell apart."""
    mine = ours(server)
    others = {info["display_name"] or name for name, info in server.json("/object_info").items() if name not in mine}
    assert {name for name, info in mine.items() if info["display_name"] in others} == set()
