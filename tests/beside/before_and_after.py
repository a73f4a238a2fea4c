"""What a guider and its MODEL are, and in what they differ afterwards."""

from __future__ import annotations

import torch

# What the host itself makes and leaves for a run.
OF_A_RUN = {"conds", "inner_model", "loaded_models", "_v_numel", "uncond_inner", "_uncond_neg", "_uncond_conds"}


def of(guider) -> dict:
    """Everything of a guider and its MODEL by its name, down to what has no parts."""
    found = {}
    note(
        found, "guider", {key: value for key, value in vars(guider).items() if key not in OF_A_RUN | {"model_options"}}
    )
    patcher = guider.model_patcher
    whole = {
        "model_options": guider.model_options,
        "object_patches": patcher.object_patches,
        "patches": patcher.patches,
        "wrappers": patcher.wrappers,
        "callbacks": patcher.callbacks,
        "attachments": patcher.attachments,
        "model_sampling": patcher.get_model_object("model_sampling"),
        "network": patcher.model.diffusion_model,
        "forward": getattr(patcher.model.diffusion_model.forward, "__func__", None),
    }
    note(found, "MODEL", whole)
    return found


def note(found: dict, name: str, value) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            note(found, f"{name}.{key}", part)
    elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        found[f"{name}'s length"] = len(value)
        for i, part in enumerate(value):
            note(found, f"{name}[{i}]", part)
    else:
        found[name] = value


def differences(before: dict, after: dict) -> list[str]:
    lost = [f"{name} is gone" for name in before if name not in after]
    new = [f"{name} is new" for name in after if name not in before]
    other = [f"{name} is another" for name in before if name in after and not same(before[name], after[name])]
    return lost + new + other


def same(a, b) -> bool:
    if torch.is_tensor(a) and torch.is_tensor(b):
        return a is b or (a.shape == b.shape and torch.equal(a, b))
    return a is b or (isinstance(a, int | float | str) and a == b)
