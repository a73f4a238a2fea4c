"""The UNet with another self-attention in a block."""

import comfy.ldm.modules.attention
from tiny import model

MIDDLE = "middle", 0


def with_attention(change, block=MIDDLE):
    """The UNet with another self-attention in a block: change(q, k, v, plain, extra)."""

    def replacement(q, k, v, extra):
        def plain(q):
            return comfy.ldm.modules.attention.attention_basic(q, k, v, heads=extra["n_heads"])

        return change(q, v, plain, extra)

    patched = model().clone()
    patched.set_model_attn1_replace(replacement, *block)
    return patched
