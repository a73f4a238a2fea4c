"""The mathematics of guidance: torch in, torch out, no host.

A chapter is a folder, a method is a file of it, and the file's docstring is the method's card. Whatever a file names in
`__all__` is a name of this package too: `from guidance import apg`. `cfg` is what all chapters begin with; `tensors`
is what their formulas stand on.
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
