"""Networks that somebody has compiled, as a whole or in parts."""

from __future__ import annotations

import contextlib
import threading

import torch


def bare(net):
    """A network itself, which a compiler may have wrapped, also more than once."""
    while (inside := getattr(net, "_orig_mod", None)) is not None:
        net = inside
    return net


class Uncompiled:
    """While any thread is in it, what torch has compiled runs as it was written.

    The host compiles a network without guards on `transformer_options`: its compiled code keeps to the options of the
    first call, and what changes in them from call to call would count for nothing.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.entered = 0
        self.stance = contextlib.nullcontext()

    def __enter__(self):
        with self.lock:
            if not self.entered:
                self.stance = run_as_written()
                self.stance.__enter__()
            self.entered += 1

    def __exit__(self, *error):
        with self.lock:
            self.entered -= 1
            if not self.entered:
                self.stance.__exit__(None, None, None)


def run_as_written():
    """Torch's own switch. Torch before 2.6 has none; where nothing was compiled, loading it would take a second."""
    if "_dynamo" in vars(torch) and hasattr(torch.compiler, "set_stance"):
        return torch.compiler.set_stance("force_eager")
    return contextlib.nullcontext()


UNCOMPILED = Uncompiled()
