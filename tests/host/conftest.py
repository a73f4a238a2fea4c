"""The real host in this process, and the pack loaded as the host loads it."""

import logging
import os
import sys
from pathlib import Path

import pytest
import torch

from specimens import packages


def open_host() -> None:
    """Put the host named by COMFYUI_PATH on `sys.path`; never the repository, whose `nodes` would hide the host's."""
    host = os.environ.get("COMFYUI_PATH", "")
    if not (Path(host) / "comfy" / "samplers.py").is_file():
        pytest.exit(f"Set COMFYUI_PATH to a ComfyUI folder ({host!r} is none), or run `python dev.py test`.", 1)
    if host not in sys.path:
        sys.path.insert(0, host)
    if "comfy.options" not in sys.modules:
        import comfy.options

        arguments, sys.argv = sys.argv, [sys.argv[0], *([] if torch.cuda.is_available() else ["--cpu"])]
        comfy.options.enable_args_parsing()
        import comfy.cli_args  # noqa: F401  (reads the arguments now)
        import utils.extra_config  # noqa: F401  (before older hosts put comfy/ on sys.path, which has a `utils` too)

        sys.argv = arguments


open_host()
torch.set_num_threads(1)  # the models are tiny: threads would only wait for one another
torch.backends.cudnn.allow_tf32 = False  # a GPU must be as exact as these tests ask for
packages.pack()
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def said(caplog):
    """The sentences that the pack has logged so far: a function, so that it can be asked again."""
    caplog.set_level(logging.INFO, "azimuth")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("azimuth")]
