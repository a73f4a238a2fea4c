"""Finds the host (ComfyUI) and loads the lab next to it, for scripts and tests that run in one process with
it.

The host has top-level modules such as `nodes`, so neither this folder nor the repository's root may be on
`sys.path` beside it: `package` loads the lab by its path, as the host itself loads a pack.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAME = "azimuth_lab"


def open_host() -> None:
    """Put the ComfyUI folder named by COMFYUI_PATH on `sys.path` and let it read its options, on the CPU
    without a GPU.

    Raises SystemExit with one sentence when the folder is missing. Does nothing when the host is open
    already.
    """
    if "comfy.options" in sys.modules:
        return
    folder = os.environ.get("COMFYUI_PATH", "")
    if not (Path(folder) / "comfy" / "sd.py").is_file():
        raise SystemExit(f"Set COMFYUI_PATH to a ComfyUI folder: {folder!r} holds no comfy/sd.py.")
    import torch

    unwanted = {FOLDER, FOLDER.parent}
    sys.path[:] = [folder] + [entry for entry in sys.path if Path(entry or ".").resolve() not in unwanted]
    sys.argv = [sys.argv[0]] + ([] if torch.cuda.is_available() else ["--cpu"])
    options = importlib.import_module("comfy.options")
    options.enable_args_parsing()
    importlib.import_module("utils.extra_config")  # before older hosts put comfy/, with a `utils` too, on sys.path


def package():
    """The lab as a package named `azimuth_lab`, beside `specimens` and the mathematics that these speak of."""
    if "specimens" not in sys.modules:
        spec = importlib.util.spec_from_file_location("specimens", FOLDER.parent / "specimens" / "__init__.py")
        sys.modules["specimens"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["specimens"])
    packages = importlib.import_module("specimens.packages")
    packages.mathematics()
    return packages.load(NAME, FOLDER)


def run(program: str) -> int:
    """Run `main(arguments)` of one of the lab's modules: "models.train", for one."""
    arguments = sys.argv[1:]
    open_host()
    package()
    return importlib.import_module(f"{NAME}.{program}").main(arguments)
