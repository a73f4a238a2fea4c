"""Random numbers of the pack's own. They leave the host's generators alone, so the sampler's noise stays as it is."""

import hashlib

import torch


def generator(*key) -> torch.Generator:
    """A generator that draws the same numbers for the same key, such as a seed and a step.

    It is on the CPU, because other devices draw other numbers."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
