"""Samples with NaN or infinite predictions, kept apart from the others."""

import guidance as g

from ..kinds import Function, Helper

HELPERS = [Helper("finite_per_sample"), Helper("select_per_sample")]

FUNCTIONS = [
    Function("finite_per_sample", lambda p: g.finite_per_sample(p.cond)),
    Function("select_per_sample", lambda p: g.select_per_sample(p.mask, p.cond, p.uncond)),
]
