"""What a network puts out, and in which coordinates it is sampled: a model's parametrisation.

Formula: r N = p x - q D, with N the network's output, d the deviation of the data and S = sqrt(sigma^2 + d^2)
    kind   predicts         p                     q          r
    ve     eps              1                     1          sigma
    ve     v                d^2/S^2               1          sigma d/S
    ve     v of raw x       1/sqrt(sigma^2 + 1)   1          sigma/sqrt(sigma^2 + 1)
    ve     velocity         1                     1 + sigma  sigma
    flow   eps              1                     1 - t      t
    flow   velocity         1                     1          t
    both   x0               0                     1          -1
A flow model that is sampled in VE coordinates, "ve" with velocity (x = x0 + sigma n, t = sigma/(1 + sigma)), has the D
of an ordinary one at x/(1 + sigma) and t. So `seen` takes it there, and every rule then treats it as a flow model.
Space: from and to denoised. Shapes: x, D, N (B, ...); sigma a float or B values. Units: sigma is that of `kind`.
Departures: EDM's network puts out -v, which changes no length and no ratio. "v of raw x" is what the host makes of
CogVideoX: the network gets x as it is.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from .convert import flow_sigma, ve_sigma
from .operands import operands
from .reduce import per_sample, wide

__all__ = ["Parametrisation", "denoised_from_output", "output_from_denoised"]


@dataclass(frozen=True)
class Parametrisation:
    """A row of the table above, by default that of an eps model.

    kind        "ve" or "flow", the coordinates of x and sigma
    predicts    what the network puts out
    data_sigma  d, the deviation of the data that an EDM model is made for; above 0

    Raises ValueError for a pair of `kind` and `predicts` that the table does not have.
    """

    kind: str = "ve"
    predicts: str = "eps"
    data_sigma: float = 1.0

    def __post_init__(self):
        if (self.kind, self.predicts) not in _COEFFICIENTS:
            known = ", ".join(f"{predicts} in {kind}" for kind, predicts in _COEFFICIENTS)
            raise ValueError(f"{self.predicts} in {self.kind} is no parametrisation; known are {known}.")

    @property
    def is_flow(self) -> bool:
        """Whether the model is a flow model, whatever it is sampled in."""
        return self.kind == "flow" or self.predicts == "velocity"

    @property
    def family(self) -> str:
        """`kind`, or "flow in ve" for a flow model in VE coordinates: what `Schedule.for_run` is told."""
        return "flow in ve" if self._moves else self.kind

    @property
    def seen(self) -> "Parametrisation":
        """The model as rules see it: a flow model in flow coordinates."""
        return replace(self, kind="flow") if self._moves else self

    @property
    def _moves(self) -> bool:
        """Whether `seen` is another."""
        return self.kind == "ve" and self.predicts == "velocity"

    def sigma_seen(self, sigma: float | Tensor) -> float | Tensor:
        """A level in the coordinates of `seen`."""
        return flow_sigma(sigma) if self._moves else sigma

    def sigma_of(self, seen: float | Tensor) -> float | Tensor:
        """The inverse of `sigma_seen`."""
        return ve_sigma(seen) if self._moves else seen

    def x_seen(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The noisy x in the coordinates of `seen`; D is the same in both."""
        return (wide(x) / (1.0 + per_sample(sigma, x))).to(x.dtype) if self._moves else x

    def coefficients(self, sigma: float | Tensor) -> tuple[float | Tensor, float | Tensor, float | Tensor]:
        """p, q and r of r N = p x - q D; each finite wherever sigma is."""
        return _COEFFICIENTS[self.kind, self.predicts](sigma, self.data_sigma)


@operands
def output_from_denoised(x: Tensor, denoised: Tensor, sigma: float | Tensor, *, of: Parametrisation) -> Tensor:
    """What the network puts out where the prediction is D, in the dtype of x; sigma above 0."""
    p, q, r = of.coefficients(per_sample(sigma, x))
    return ((p * wide(x) - q * wide(denoised)) / r).to(x.dtype)


@operands
def denoised_from_output(x: Tensor, output: Tensor, sigma: float | Tensor, *, of: Parametrisation) -> Tensor:
    """The inverse of `output_from_denoised`, undefined for the eps of a flow model at t = 1."""
    p, q, r = of.coefficients(per_sample(sigma, x))
    return ((p * wide(x) - r * wide(output)) / q).to(x.dtype)


def _root(sigma: float | Tensor, d: float) -> float | Tensor:
    return (sigma**2 + d**2) ** 0.5


_COEFFICIENTS = {
    ("ve", "eps"): lambda s, d: (1.0, 1.0, s),
    ("ve", "v"): lambda s, d: ((d / _root(s, d)) ** 2, 1.0, s * d / _root(s, d)),
    ("ve", "v of raw x"): lambda s, d: (1.0 / _root(s, 1.0), 1.0, s / _root(s, 1.0)),
    ("ve", "velocity"): lambda s, d: (1.0, 1.0 + s, s),
    ("ve", "x0"): lambda s, d: (0.0, 1.0, -1.0),
    ("flow", "eps"): lambda t, d: (1.0, 1.0 - t, t),
    ("flow", "velocity"): lambda t, d: (1.0, 1.0, t),
    ("flow", "x0"): lambda t, d: (0.0, 1.0, -1.0),
}
