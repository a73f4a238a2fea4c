"""Token perturbation guidance (TPG): the tokens of a layer in another order.

Paper: Rajabi, Mehraban, Sadat, Taati 2025, "Token Perturbation Guidance for Diffusion Models", arXiv 2506.10036. Its
code is pipeline_sdxl_tpg.py.
Formula: a layer of a UNet's transformers gets H' = P H in place of H. P is a permutation of the tokens, another one for
each layer and call, and is never undone. The skip connection round the transformer keeps every token in its place.
    Diffusion transformers have no such connection. There a block B that makes B(H) of H gives out H + P (B(H) - H).
Space: the model's hidden states. Shapes: tokens, before and after (..., N, D); order (N,), whole numbers, on their
device: token order[i] comes to place i. All samples of a batch get the same order.
Identity: the order 0, 1, ..., N - 1 returns the tokens, or `after`, bit for bit. `shuffle_tokens` keeps every value.
Departures: the second form is ours. The paper measures SDXL and SD2.1, which are UNets. In a diffusion transformer the
tokens become the prediction itself, so P H would give a prediction whose parts, noise included, have changed places. In
a UNet's transformer of one layer both forms are the same.
"""

from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import wide

__all__ = ["shuffle_added", "shuffle_tokens"]


@operands(apart=["order"])
def shuffle_tokens(tokens: Tensor, *, order: Tensor) -> Tensor:
    """P H.

    Raises ValueError if the order is not one of as many tokens.
    """
    if order.shape != tokens.shape[-2:-1]:
        raise ValueError(f"an order of {order.numel()} does not put {tokens.shape[-2]} tokens in their places.")
    return tokens.index_select(-2, order)


@operands(dtype_of="after", apart=["order"])
def shuffle_added(before: Tensor, after: Tensor, *, order: Tensor) -> Tensor:
    """H + P (B(H) - H) for H `before` and B(H) `after`, in the dtype of `after`.

    Raises ValueError if the order is not one of as many tokens.
    """
    stayed = wide(before) - wide(shuffle_tokens(before, order=order))
    return (stayed + wide(shuffle_tokens(after, order=order))).to(after.dtype)
