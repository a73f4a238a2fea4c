"""The V3 nodes of the pack, one folder a chapter. A node is found by the list `NODES` of its file."""

from importlib import import_module
from pkgutil import iter_modules

from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

CHAPTERS = ("strength", "conditions", "negatives", "rules", "terms", "corrections", "samplers", "look")


def nodes_of(chapter: str) -> list[type[io.ComfyNode]]:
    """The nodes of a chapter by their display names: the order of the menu and of the documents."""
    package = import_module(f".{chapter}", __name__)
    modules = [import_module(f".{chapter}.{file.name}", __name__) for file in iter_modules(package.__path__)]
    found = [node for module in modules for node in module.NODES]
    return sorted(found, key=lambda node: node.define_schema().display_name.casefold())


NODES = [node for chapter in CHAPTERS for node in nodes_of(chapter)]


class AzimuthExtension(ComfyExtension):
    @override
    async def get_node_list(self):
        return NODES


def comfy_entrypoint() -> ComfyExtension:
    return AzimuthExtension()
