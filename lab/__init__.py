"""Azimuth Lab: a development-only node pack with two tiny trained text-to-image models. Users of Azimuth do
not need it.
"""


async def comfy_entrypoint():
    from .nodes import LabExtension

    return LabExtension()
