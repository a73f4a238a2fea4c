"""What the nodes promise to saved workflows and to other code: ids, inputs, types, defaults, ranges, outputs.

COMFYUI_PATH=... python -m tests.http.object_info [--check]

renews object_info.json; run it in the repository's root. With --check it says whether there is need to.
"""

import ast
import json
import sys
from pathlib import Path

from .server import PACK, ROOT, Server, running

SNAPSHOT = Path(__file__).with_name("object_info.json")
FREE_TO_CHANGE = ("tooltip", "placeholder")


def declared() -> set[str]:
    """The node ids that stand in nodes/."""
    return {
        keyword.value.value
        for path in (ROOT / "nodes").rglob("*.py")
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(part, ast.Call)
        for keyword in part.keywords
        if keyword.arg == "node_id" and isinstance(keyword.value, ast.Constant)
    }


def ours(server: Server) -> dict[str, dict]:
    """The server's description of each of our nodes."""
    module = f"custom_nodes.{PACK}"
    return {name: info for name, info in server.json("/object_info").items() if info["python_module"] == module}


def fields(inputs: dict, prefix: str = ""):
    """Name, type and options of every input, those of the options of a dynamic one included."""
    for group in ("required", "optional"):
        for name, (kind, *rest) in inputs.get(group, {}).items():
            options = rest[0] if rest else {}
            yield prefix + name, kind, options
            if kind == "COMFY_DYNAMICCOMBO_V3":
                for option in options["options"]:
                    yield from fields(option["inputs"], f"{prefix}{name}[{option['key']}].")


def promise(info: dict) -> dict:
    """The part of a description that must not change by accident; the order too, by which workflows keep values."""
    return {
        "display_name": info["display_name"],
        "category": info["category"],
        "output_node": info["output_node"],
        "optional": sorted(info["input"].get("optional", {})),
        "inputs": [[name, kind, kept(options)] for name, kind, options in fields(info["input"])],
        "outputs": list(zip(info["output_name"], info["output"], strict=True)),
    }


def kept(options: dict) -> dict:
    """An input's options without their words, and of a dynamic input's options the names alone."""
    left = {name: value for name, value in options.items() if name not in FREE_TO_CHANGE}
    if "options" in left and left["options"] and isinstance(left["options"][0], dict):
        left["options"] = [option["key"] for option in left["options"]]
    return left


def promises(server: Server) -> dict[str, dict]:
    """As it reads after a turn through JSON."""
    return json.loads(json.dumps({name: promise(info) for name, info in sorted(ours(server).items())}))


def readable(promised: dict[str, dict]) -> str:
    """As JSON with one line for each input, so that a change reads well."""
    nodes = []
    for name, facts in promised.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items() if key != "inputs"]
        inputs = ",\n".join(f"   {json.dumps(field)}" for field in facts["inputs"])
        nodes.append(f" {json.dumps(name)}: {{\n" + ",\n".join([*lines, f'  "inputs": [\n{inputs}\n  ]']) + "\n }")
    return "{\n" + ",\n".join(nodes) + "\n}\n"


def main(arguments: list[str]) -> int:
    with running() as server:
        text = readable(promises(server))
    if SNAPSHOT.is_file() and text == SNAPSHOT.read_text(encoding="utf-8"):
        return 0
    if "--check" in arguments:
        sys.stdout.write(f"stale: {SNAPSHOT}\n")
        return 1
    SNAPSHOT.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{SNAPSHOT}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
