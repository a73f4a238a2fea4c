"""Quantiles of absolute values."""

import numpy as np

import guidance as g

from ..kinds import Defaults, Formula, Function

FORMULAS = [
    Formula(
        "abs_quantile",
        lambda p, w: g.abs_quantile(p.cond, 0.37),
        lambda s, w: np.quantile(np.abs(s.cond), 0.37),
        result="wide",
    ),
]

DEFAULTS = [Defaults("abs_quantile", {"per_channel": False})]

FUNCTIONS = [Function("abs_quantile", lambda p: g.abs_quantile(p.cond, 0.995))]
