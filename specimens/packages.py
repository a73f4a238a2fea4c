"""Loads the packages of this repository by their path.

The repository itself may not be on `sys.path`: the host has a module there that is named `nodes` too.

A process has one copy of the mathematics. What the nodes know as `azimuth.guidance` is `guidance` itself, so that a
schedule of the one is a schedule of the other.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load(name: str, folder: Path, **given) -> ModuleType:
    """The folder as a package of this name, loaded once. `given` are names that it has before its code runs."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        vars(module).update(given)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]  # or the next one to ask would get half of it
            raise
    return sys.modules[name]


def mathematics() -> ModuleType:
    """The package `guidance`."""
    return load("guidance", ROOT / "guidance")


def pack() -> ModuleType:
    """The pack under the name `azimuth`, loaded as the host loads it. The host must be on `sys.path`."""
    guidance = mathematics()
    for name in [name for name in sys.modules if name.split(".")[0] == "guidance"]:
        sys.modules[f"azimuth.{name}"] = sys.modules[name]
    return load("azimuth", ROOT, guidance=guidance)
