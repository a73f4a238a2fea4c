"""The pack as the host loads it, a package by its path, and the device that it runs on."""

import comfy.model_management

from specimens import packages

PACK = packages.pack()
guidance, nodes = PACK.guidance, PACK.nodes

DEVICE = comfy.model_management.get_torch_device()
