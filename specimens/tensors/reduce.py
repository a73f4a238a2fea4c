"""Products and lengths over all dimensions of a sample."""

import guidance as g

from ..kinds import Function, Helper

HELPERS = [Helper("dims"), Helper("dot"), Helper("norm"), Helper("per_sample")]

FUNCTIONS = [
    Function("dot", lambda p: g.dot(p.cond, p.uncond)),
    Function("norm", lambda p: g.norm(p.cond)),
]
