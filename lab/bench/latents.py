"""What bench.py gives to a function of `guidance/`, and to its counterparts."""

import functools

import torch

from ..pack import DEVICE
from ..pack import guidance as g

VIDEO = (1, 16, 21, 90, 160)
SHAPES = ((1, 4, 64, 64), (1, 4, 128, 128), (1, 16, 128, 128), (4, 16, 128, 128), VIDEO)


class Latents:
    """Predictions of one step that differ as those of a model do, and the noisy latent."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype):
        generator = torch.Generator().manual_seed(0)
        draw = functools.partial(torch.randn, shape, generator=generator)
        base = draw()
        parts = [base + 0.3 * draw(), base, base + 0.3 * draw(), base + 0.3 * draw(), base + 2.0 * draw()]
        self.cond, self.uncond, self.first, self.second, self.x = (p.to(DEVICE, dtype) for p in parts)
        self.each = torch.full(shape[:1], 7.0, device=DEVICE)
        self.half = torch.full(shape[:1], 0.5, device=DEVICE)
        self.history = self._history()
        self.mask = torch.ones(shape[:1], dtype=torch.bool, device=DEVICE)

    def _history(self):
        """What History Guidance keeps after two steps."""
        state = g.Memory()
        for step, prediction in enumerate((self.first, self.second)):
            state.begin(step)
            g.higs(prediction, sigma=self.half, kind="flow", state=state)
        state.begin(2)
        return state.value
