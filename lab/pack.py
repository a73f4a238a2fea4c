"""The pack as the host loads it, a package by its path, and the device that it runs on."""

import comfy.model_management

from . import host

PACK = host.load("azimuth", host.FOLDER.parent)
guidance, nodes = PACK.guidance, PACK.nodes

DEVICE = comfy.model_management.get_torch_device()
