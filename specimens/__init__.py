"""A specimen is one file with all that tests, benchmark, workflows, pictures and documents need to know of a method.

It lies in the folder of its chapter and has the name of the node's file. A formula that no node makes, or several do,
has a specimen with the name of the formula's file. A specimen holds lists, under the names in LISTS, whose entries are
of the kinds in kinds.py. The specimen of a node also has NODE, its id, and LINE, what the README says of it.

Files and lists are found by their names. No host is needed to read them.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent

CHAPTERS = ("strength", "conditions", "negatives", "rules", "terms", "corrections", "samplers", "look")

LISTS = {
    "FORMULAS": "what a function of guidance/ must give: tests/guidance",
    "DEFAULTS": "what a function of guidance/ takes where it is told nothing: tests/guidance",
    "HELPERS": "public functions of guidance/ that take no predictions: tests/guidance",
    "SETTINGS": "the node's inputs where it acts and where it is off: tests/host",
    "SAMPLERS": "the inputs of a node that makes a SAMPLER: tests/host",
    "FUNCTIONS": "calls of a function that the benchmark times",
    "RUNS": "ways to sample with the node that the benchmark times",
    "WORKFLOWS": "the recipes of example_workflows/",
    "PICTURES": "rows of the contact sheet and of the help page's picture",
    "TABLE": "rows of docs/methods.md",
}


def specimens() -> list[ModuleType]:
    """Every specimen: those of no chapter first, then chapter by chapter, by the names of their files."""
    files = [path for folder in ("tensors", *CHAPTERS) for path in sorted((HERE / folder).glob("*.py"))]
    names = ["cfg", *(f"{path.parent.name}.{path.stem}" for path in files)]
    return [import_module(f".{name}", __name__) for name in names]


def found(what: str) -> list:
    """The entries of all specimens under one of the names in LISTS, such as "SETTINGS"."""
    return [entry for specimen in specimens() for entry in getattr(specimen, what, ())]
