"""The mathematics beside that of `diffusers`, which these tests need, with kornia; they need no host."""

import importlib.util
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]

if "guidance" not in sys.modules:
    spec = importlib.util.spec_from_file_location("guidance", ROOT / "guidance" / "__init__.py")
    sys.modules["guidance"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["guidance"])

torch.set_num_threads(1)  # the tensors are tiny: threads would only wait for one another
