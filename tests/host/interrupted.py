"""Runs that are stopped half-way, as a user does."""

import comfy.samplers
import pytest
import torch
from tiny import guider_of, noise, sigmas_of


class Interruption(Exception):
    pass


def stop_at(last):
    """A callback that ends a run after the step of this index."""

    def stop(step, *rest):
        if step == last:
            raise Interruption

    return stop


def interrupt(patched, last):
    """Six steps of Euler, of which the one of this index is the last."""
    x, sampler = noise(), comfy.samplers.sampler_object("euler")
    with pytest.raises(Interruption):
        guider_of(patched).sample(
            x, torch.zeros_like(x), sampler, sigmas_of(patched, 6), callback=stop_at(last), disable_pbar=True
        )
