"""What a MODEL's network puts out, and in which coordinates it is sampled, by the host's class of its sampling."""

from __future__ import annotations

import comfy.model_sampling

from ...guidance import Parametrisation
from .run import Run

# The host's classes, each before those that it derives from. Older hosts lack some.
CLASSES = {
    "IMG_TO_IMG_FLOW": ("flow", "x0"),
    "CONST": ("flow", "velocity"),
    "COSMOS_RFLOW": ("ve", "velocity"),
    "V_PREDICTION_DDPM": ("ve", "v of raw x"),
    "V_PREDICTION": ("ve", "v"),  # and EDM
    "X0": ("ve", "x0"),  # and IMG_TO_IMG
    "EPS": ("ve", "eps"),  # and LCM
}
UNKNOWN = Parametrisation()


def of(model) -> Parametrisation:
    """The parametrisation of a MODEL; that of an eps model if its class is not known."""
    sampling = model.get_model_object("model_sampling")
    found = next((row for name, row in CLASSES.items() if derives(sampling, name)), None)
    return Parametrisation(*found, float(getattr(sampling, "sigma_data", 1.0))) if found else UNKNOWN


def derives(sampling, name: str) -> bool:
    return isinstance(sampling, getattr(comfy.model_sampling, name, ()))


def is_known(model) -> bool:
    sampling = model.get_model_object("model_sampling")
    return any(derives(sampling, name) for name in CLASSES)


def name_unknown(model, run: Run) -> None:
    """Say it where a MODEL is sampled in a way that nobody here knows."""
    if not is_known(model):
        run.say(f"Azimuth: {unknown(model)}.")


def unknown(model) -> str:
    """What becomes of a MODEL that is sampled in a way that nobody here knows."""
    name = type(model.get_model_object("model_sampling")).__name__
    return (
        f"the MODEL's way of sampling ({name}) is none of ComfyUI's and is taken for that of an eps model; if its "
        f"pictures suffer, give it one of ComfyUI's own with a ModelSampling node"
    )
