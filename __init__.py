"""Azimuth Guidance: nodes that decide, step by step, how a prompt steers sampling."""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./js"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
