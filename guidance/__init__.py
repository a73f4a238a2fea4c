"""The mathematics of guidance: torch in, torch out, no host.

A chapter is a folder, a method is a file of it, and the file's docstring is the method's card. Whatever a file names in
`__all__` is a name of this package too: `from guidance import apg`. `cfg` is what all chapters begin with; `tensors`
is what their formulas stand on.

The lines of a card:

Paper       where the formula comes from
Formula     D is a denoised prediction (x0): D_c for the positive, D_u for what it is contrasted with, D_n for a
            further negative. w is the weight; Delta is D_c - D_u; x is the noisy latent; a prime marks what follows
Space       the space in which the formula holds; "free" if it is the same in x0, eps, v and velocity
Shapes      B is the batch, C the channels
Units       what numbers mean; "host scale" is ComfyUI's cfg, 0 for D_u and 1 for D_c
Identity    arguments that return one of the predictions, or plain `cfg`
Departures  where this code is not the paper's or not another implementation's

`kind` is the family of a model: "ve" for eps, v and EDM models (x = x0 + sigma eps), "flow" for rectified flow
(x = (1 - t) x0 + t eps, sigma = t). `sigma` is always the host's.
"""

from importlib import import_module
from pkgutil import iter_modules

CHAPTERS = ("strength", "conditions", "negatives", "rules", "terms", "corrections", "samplers")


def _files():
    yield import_module(".cfg", __name__)
    for folder in ("tensors", *CHAPTERS):
        chapter = import_module(f".{folder}", __name__)
        for file in iter_modules(chapter.__path__):
            yield import_module(f".{folder}.{file.name}", __name__)


_public = {name: getattr(file, name) for file in _files() for name in getattr(file, "__all__", ())}
globals().update(_public)
__all__ = sorted(_public)
