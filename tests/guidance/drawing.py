"""Random tensors for the tests of the mathematics."""

import torch


def drawn(*shape, seed=0, dtype=torch.float64):
    """Of a normal distribution; a seed and a shape give the same numbers always."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
