"""What the tests of Distilled Guidance share."""

import pytest
from distilled_flux import net


@pytest.fixture
def heard():
    """What the inner model is told: one list of guidance numbers per forward pass."""
    found = []

    def note(module, args, kwargs):
        found.append(kwargs["guidance"].tolist() if "guidance" in kwargs else None)

    hook = net().model.diffusion_model.register_forward_pre_hook(note, with_kwargs=True)
    yield found
    hook.remove()
