"""Self-Attention Guidance written out, for one prompt."""

import comfy.ldm.modules.attention
import torch
import torch.nn.functional as F
from tiny import alone


def mass_of(prompt, patched, **at):
    """The middle block's column sums for a prompt, from a pass of the test's own."""
    kept = []

    def look(q, k, v, extra):
        heads = extra["n_heads"]
        q, k = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k))
        kept.append((q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1).mean(1).sum(1))
        return comfy.ldm.modules.attention.attention_basic(
            q, k, v.unflatten(-1, (heads, -1)).transpose(1, 2), heads, skip_reshape=True
        )

    watching = patched.clone()
    watching.set_model_attn1_replace(look, "middle", 0)
    predicted = alone(prompt, patched=watching, **at)
    return predicted, kept[0]


def literal_sag(prompt, patched, keep=1.0, seen=mass_of, **at):
    """The term of SAG for one prompt: B - D(x + keep (B - D))."""
    d, mass = seen(prompt, patched, **at)
    side = int(mass.shape[1] ** 0.5)
    mask = F.interpolate((mass > 1).float().view(-1, 1, side, side), d.shape[2:])
    at_x = torch.linspace(-4, 4, 9)
    line = torch.exp(-0.5 * (at_x / 2.0) ** 2) / torch.exp(-0.5 * (at_x / 2.0) ** 2).sum()
    kernel = (line[:, None] * line[None, :]).expand(d.shape[1], 1, 9, 9)
    b = d + mask * (F.conv2d(F.pad(d, [4] * 4, mode="reflect"), kernel, groups=d.shape[1]) - d)
    return b - alone(prompt, patched=patched, **{**at, "x": at["x"] + keep * (b - d)})
