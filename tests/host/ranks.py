"""A model for every rank of latent: sound, a picture, a video."""

import pytest
import torch
from architectures import audio, dit, video
from tiny import architecture, tensor, text

LATENTS = {
    "audio, 3-D": (audio, (64, 12), 768),
    "image, 4-D": (dit, (16, 8, 8), 64),
    "video, 5-D": (video, (16, 3, 4, 4), 64),
}
RANKS = pytest.mark.parametrize("kind", LATENTS)


def setting(kind, batch=1):
    """A MODEL, and what a call of it needs: noise of its rank and conditionings of its width."""
    build, shape, width = LATENTS[kind]
    x = torch.stack([tensor(i, *shape) for i in range(batch)])
    return architecture(build), {"x": x, "positive": text(1, width=width), "negative": text(2, width=width)}
