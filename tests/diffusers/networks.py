"""What the outputs of networks are made of here, and how ours and theirs are compared."""

from dataclasses import dataclass

import pytest
import torch

import guidance as g


@dataclass(frozen=True)
class Network:
    """What a network gives out: of a family, at a level, and how to get there and back."""

    kind: str
    sigma: float
    there: object
    back: object

    def guided(self, guider, x, *predictions):
        """The denoised prediction that a guider of theirs ends with."""
        outputs = [self.there(x, d, self.sigma, kind=self.kind) for d in predictions]
        return self.back(x, guider.forward(*outputs).pred, self.sigma, kind=self.kind)


def same(x, d, sigma, kind):
    return d


EPS = Network("ve", 3.0, g.eps_from_denoised, g.denoised_from_eps)
V = Network("ve", 3.0, g.v_from_denoised, g.denoised_from_v)
VELOCITY = Network("flow", 0.7, g.v_from_denoised, g.denoised_from_v)
DENOISED = Network("ve", 3.0, same, same)
NETWORKS = {"eps": EPS, "v": V, "velocity": VELOCITY, "denoised": DENOISED}

every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
every_scale = pytest.mark.parametrize("w", [0.0, 0.4, 1.0, 3.0, 12.0])
every_rank = pytest.mark.parametrize("shape", [(3, 4, 9), (3, 4, 8, 6), (3, 4, 2, 8, 6)], ids=len)


def drawn(shape=(3, 4, 8, 6), seed=0):
    """cond, uncond, x and a weaker prediction; the samples differ in size, and so must what is done to each."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([1.0, 0.2, 5.0], dtype=torch.float64).view(-1, *[1] * (len(shape) - 1))
    predictions = torch.randn(4, *shape, generator=generator, dtype=torch.float64)
    return (predictions * size[: shape[0]]).unbind()


def dot(a, b):
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))


def close(ours, theirs, digits=11):
    torch.testing.assert_close(ours, theirs, rtol=10.0**-digits, atol=10.0**-digits)


def apart(ours, theirs, by):
    """They differ, and by this."""
    assert by.abs().max() > 1e-2
    close(ours - theirs, by, 10)
