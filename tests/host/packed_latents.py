"""Packed latents: a video with its sound."""

import comfy.nested_tensor
import torch
from tiny import sample, tensor, text


def pair(batch=1, loud=1.0):
    return comfy.nested_tensor.NestedTensor([tensor(1, batch, 128, 2, 2, 2), tensor(2, batch, 8, 4, 16) * loud])


def sample_pair(patched, steps=2, loud=1.0):
    x = pair(loud=loud)
    empty = comfy.nested_tensor.NestedTensor([torch.zeros_like(part) for part in x.unbind()])
    return sample(patched, x=x, latent=empty, steps=steps, positive=text(1, width=128), negative=text(2, width=128))
