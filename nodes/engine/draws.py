"""Random numbers of the pack's own, which take none from the sampler's noise."""

import hashlib

import torch


def generator(*key) -> torch.Generator:
    """A generator on the CPU, so that it draws the same for the same key whatever the device."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
