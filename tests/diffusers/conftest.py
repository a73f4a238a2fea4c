"""The mathematics beside that of `diffusers`, which these tests need, with kornia; they need no host."""

import torch

from specimens import packages

packages.mathematics()
torch.set_num_threads(1)  # the tensors are tiny: threads would only wait for one another
