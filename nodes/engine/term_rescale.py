"""The rescale of an added term: how far the contrast of the result is brought back, measured in what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from comfy_api.latest import io

from . import inputs
from .stages import Moment

# What a prompt means that was saved before there was a choice.
BEFORE = "x0"


def output(m: Moment) -> dict:
    return {"x": m.x, "sigma": m.sigma, "of": m.network}


def denoised(m: Moment) -> dict:
    return {}


# What each space needs to be given to `add_term`.
SPACES: dict[str, Callable[[Moment], dict]] = {"network": output, "x0": denoised}


@dataclass(frozen=True)
class Rescale:
    """share  how far the contrast is brought back, 0 to 1
    space  in which of SPACES it is measured
    """

    share: float = 0.0
    space: str = BEFORE

    def given(self, m: Moment) -> dict:
        """What `add_term` needs for it."""
        return {"rescale": self.share, **SPACES[self.space](m)}

    def __str__(self) -> str:
        return f"{self.share:g} in {self.space}"


NOT_RESCALED = Rescale()


def space_input() -> io.Combo.Input:
    return io.Combo.Input(
        "rescale_space",
        options=list(SPACES),
        default="network",
        optional=True,
        tooltip="What rescale measures: network = what the model puts out, as the authors of STG and SEG do; x0 = the "
        "denoised picture, as older versions did. rescale 0 switches both off.",
        advanced=True,
    )


def chosen(node: str, share, space) -> Rescale:
    """The inputs `rescale` and `rescale_space` of a node. Raises ValueError, naming them, for what they cannot be."""
    return Rescale(
        inputs.finite_float(node, "rescale", share, 0.0, 1.0), inputs.choice(node, "rescale_space", space, SPACES)
    )
