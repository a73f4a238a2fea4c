"""A model in training: what is learned, from which text, and the loss of a batch."""

import torch
import torch.nn.functional as F

from . import networks


def dropout_keep(batch: int, p: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Which samples keep their text, bool (batch,), each dropped with probability p on its own.

    One decision per sample serves all of its text inputs. p = 0 keeps all, p = 1 drops all. Raises ValueError
    outside 0..1.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"the dropout probability must lie in 0..1, not {p}")
    return torch.rand(batch, generator=generator) >= p


def text_context(text: torch.nn.Module, embedded: torch.Tensor) -> torch.Tensor:
    """The host's text transformer on embedded tokens (B, T, C), written without its in-place sums, which
    autograd refuses.
    """
    inner = text.text_model
    x = embedded + inner.embeddings.position_embedding.weight
    for layer in inner.encoder.layers:
        attention, y = layer.self_attn, layer.layer_norm1(x)
        q, k, v = (
            proj(y).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + attention.out_proj(y)
        x = x + layer.mlp(layer.layer_norm2(x))
    return inner.final_layer_norm(x)


def plain_attention(_func, q, k, v, heads, **_options) -> torch.Tensor:
    """Attention (B, T, C) that autograd can follow; the host picks a memory-saving one on the CPU."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Learner(torch.nn.Module):
    """One model in training: the UNet, the text transformer and the embedding rows in use (the last row:
    unknown words).
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.base = [networks.new_model(name)]  # in a list: its own settings and buffers are no part of what is trained
        self.unet = self.base[0].diffusion_model
        self.text = networks.new_text()
        tokens = networks.used_tokens()
        self.row = {token: i for i, token in enumerate(tokens)}
        self.rows = torch.nn.Parameter(torch.randn(len(tokens) + 1, networks.CONTEXT) * 0.3)
        self.text.text_model.embeddings.token_embedding = None
        self.text.text_projection = None
        self.requires_grad_(True)
        self.freeze_text()

    def freeze_text(self) -> None:
        """Leave only the UNet to be trained."""
        self.text.requires_grad_(False)
        self.rows.requires_grad_(False)

    def adopt(self, state: dict[str, torch.Tensor]) -> None:
        """Start from the weights of a model that has been trained."""
        self.load_state_dict(state)

    def adopt_text(self, state: dict[str, torch.Tensor]) -> None:
        """Take the text model of another one, and leave the UNet as it is."""
        self.load_state_dict({**self.state_dict(), **{k: v for k, v in state.items() if not k.startswith("unet.")}})

    def drawn(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """What else `forward` takes for every sample of a step."""
        return ()

    def learned(self) -> list[str]:
        """The names of the parameters that are trained."""
        return [key for key, parameter in self.named_parameters() if parameter.requires_grad]

    def stored(self) -> list[str]:
        """The names of those that its file holds."""
        return [key for key, _ in self.named_parameters()]

    def forward(
        self, clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a batch: clean and noise (B, 12, 16, 16), sigma (B,), rows (B, T) of the embedding."""
        noisy = self.base[0].model_sampling.noise_scaling(sigma[:, None, None, None], noise.clone(), clean)
        output = self.run(self.unet, noisy, sigma, text_context(self.text, self.rows[rows]))
        return (output - self.target(clean, noise, noisy, sigma)).square().mean()

    def run(self, unet, noisy, sigma, context, **more) -> torch.Tensor:
        """The raw output of a network of this family, in float32."""
        sampling = self.base[0].model_sampling
        options = {"optimized_attention_override": plain_attention}
        scaled, times = sampling.calculate_input(sigma, noisy), sampling.timestep(sigma).float()
        return unet(scaled, times, context=context, transformer_options=options, **more).float()

    def target(self, clean, noise, noisy, sigma) -> torch.Tensor:
        """The raw network output for which the host's `calculate_denoised` returns the clean latent."""
        if networks.family(self.name) == "flow":
            return noise - clean
        known = networks.SAMPLING["ve"]["sigma_data"]
        s = sigma[:, None, None, None]
        total = s**2 + known**2
        return (clean - noisy * known**2 / total) * total.sqrt() / (s * known)


def caption_rows(learner: Learner, texts: list[str], unknown: float, generator: torch.Generator) -> torch.Tensor:
    """Embedding rows (B, T) of captions, each word made unknown with probability `unknown`."""
    rows = torch.tensor([[learner.row[token] for token in networks.tokenise(text)] for text in texts])
    start, end = networks.word_tokens()[""]
    is_word = (rows != learner.row[start]) & (rows != learner.row[end])
    lost = torch.rand(rows.shape, generator=generator) < unknown
    return torch.where(is_word & lost, len(learner.row), rows)
