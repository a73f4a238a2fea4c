"""How `flow_distilled` learns to say in one pass what plain CFG on `flow` says in two (Meng et al. 2023, arXiv
2210.03142, first stage): for a guidance weight g drawn for every sample, its output is pulled to v_u + g (v_c - v_u).

Only what the weight works through is trained and stored: its embedding, the embeddings of time and text and how they
scale and shift each block. Convolutions and attention stay those of `flow`.
"""

import torch

from . import networks
from .learner import Learner, caption_rows, text_context

LOWEST, HIGHEST = 1.0, 8.0
TRAINED = ("guide.", "label_emb.", "time_embed.", "emb_layers.", "in_layers.0.", "out_layers.0.", "norm")


class Student(Learner):
    """The distilled model in training, with the model that it learns from."""

    def __init__(self, name: str):
        super().__init__(name)
        self.teacher = [networks.new_model("flow").diffusion_model]  # in a list: no part of what is trained

    def adopt(self, state: dict[str, torch.Tensor]) -> None:
        """Start as the teacher: a guidance embedding that says nothing yet is all that it has more."""
        self.load_state_dict({**self.state_dict(), **state})
        self.teacher[0].load_state_dict(networks.part(state, "unet"))
        self.teacher[0].requires_grad_(False)

    def learned(self) -> list[str]:
        """The rest has gradients all the same: without them torch 2.12 crashes in bfloat16 convolutions on a CPU."""
        return [key for key in super().learned() if any(part in key for part in TRAINED)]

    def stored(self) -> list[str]:
        return self.learned()

    def drawn(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """A guidance weight for every sample."""
        return (LOWEST + (HIGHEST - LOWEST) * torch.rand(count, generator=generator),)

    def forward(self, clean, noise, sigma, rows, guidance) -> torch.Tensor:
        """The loss of a batch, as of `Learner`."""
        noisy = self.base[0].model_sampling.noise_scaling(sigma[:, None, None, None], noise.clone(), clean)
        nothing = caption_rows(self, [""], 0.0, None).to(rows.device).expand_as(rows)
        context, empty = (text_context(self.text, self.rows[ids]) for ids in (rows, nothing))
        with torch.no_grad():
            teacher = self.teacher[0].to(noisy.device)
            cond, uncond = (self.run(teacher, noisy, sigma, text) for text in (context, empty))
            target = torch.lerp(uncond, cond, guidance[:, None, None, None])
        output = self.run(self.unet, noisy, sigma, context, guidance=guidance)
        return (output - target).square().mean()
