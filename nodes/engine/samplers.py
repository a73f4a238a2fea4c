"""What stages must know of the sampler of a run: what it asks for, and how often it calls the model in a step."""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable
from dataclasses import dataclass

from ...guidance import ancestral_sigma_down
from .steps import Course

# Samplers that reuse the predictions of earlier steps: how their names begin. The host's uni_pc calls itself unipc.
MULTISTEP = (
    "cfgpp_ud10_ab",
    "deis",
    "dpmpp_2m",
    "dpmpp_3m",
    "er_sde",
    "gradient_estimation",
    "ipndm",
    "lms",
    "res_multistep",
    "sa_solver",
    "uni_pc",
    "unipc",
)

# Samplers of this pack that choose the weight of every call themselves.
SETS_WEIGHT = ("rectified_cfgpp",)

# What the names of CFG++ samplers hold, of this pack, the host and others.
CFGPP = re.compile(r"cfg_?(pp|\+\+)")


@dataclass(frozen=True, eq=False)
class Sampler:
    """The sampler of a run. `source` is the host's object: a KSAMPLER, or whatever another node made."""

    source: object

    @property
    def function(self):
        """The loop over the steps; None where a sampler is made otherwise."""
        function = getattr(self.source, "sampler_function", None)
        return function.func if isinstance(function, functools.partial) else function

    @property
    def name(self) -> str:
        """The host's name of the sampler: `euler`, `dpmpp_2m`, ..."""
        name = getattr(self.function, "__name__", type(self.source).__name__)
        return name.removeprefix("sample_").removesuffix("_function")

    @property
    def options(self) -> dict:
        return getattr(self.source, "extra_options", {})

    @functools.cached_property
    def is_cfgpp(self) -> bool:
        """Whether it is a CFG++ sampler, of the host, of this pack or of another: one whose cfg is lambda.

        Such a sampler reads the negative's prediction at every step. Its name says so, or its own code does.
        """
        if self.sets_weight:
            return False
        if self.options.get("cfg_pp", False) or CFGPP.search(self.name.lower()):
            return True
        code = getattr(self.function, "__code__", None)
        return code is not None and "cfg_pp" not in code.co_varnames and reads(code, "uncond_denoised")

    @property
    def is_multistep(self) -> bool:
        """Whether the sampler itself remembers predictions from step to step."""
        return self.name.startswith(MULTISTEP)

    @property
    def sets_weight(self) -> bool:
        """Whether the sampler sets the guider's weight, from call to call."""
        return self.name in SETS_WEIGHT

    @property
    def is_known(self) -> bool:
        """Whether it is known which of its calls belong to one step."""
        return self.name in CALLS or self.name in ONCE

    def course(self, sigmas: tuple[float, ...], kind: str) -> Course:
        """The course of a run over these sigmas, on a model of this family."""
        calls = CALLS.get(self.name, once)
        hot = self.is_known and self.options.get("s_churn", 0.0) > 0.0
        return Course(sigmas, lambda i: calls(sigmas, i, self.options, kind), hot)

    def usual_weight(self, before: float | None) -> float | None:
        """The weight of a step before any stage changes it, for a guider that came with the weight `before`.

        That is `before`, or for a sampler that sets its own weight the largest one. None if the guider has no weight.
        """
        if before is None or not self.sets_weight:
            return before
        return 1.0 + self.options["lam_max"]


def reads(code: types.CodeType, word: str) -> bool:
    """Whether a function, or one that is written inside it, holds this word, such as a key that it looks up."""
    return any(reads(c, word) if isinstance(c, types.CodeType) else c == word for c in code.co_consts)


# ---- how often a sampler calls the model in step i

Calls = Callable[[tuple, int, dict, str], int]


def once(sigmas, i, options, kind) -> int:
    return 1


def until_zero(times: int) -> Calls:
    """So often, but once in a step that ends at 0."""
    return lambda sigmas, i, options, kind: 1 if sigmas[i + 1] == 0.0 else times


def heunpp2(sigmas, i, options, kind) -> int:
    return min(3, len(sigmas) - 1 - i)


def ancestral(sigmas, i, options, kind) -> int:
    """Twice, but once in a step that removes all noise."""
    if sigmas[i + 1] > sigmas[i]:
        return 2
    return 2 if ancestral_sigma_down(sigmas[i], sigmas[i + 1], eta=options.get("eta", 1.0), kind=kind) > 0.0 else 1


CALLS: dict[str, Calls] = {
    "heun": until_zero(2),
    "heunpp2": heunpp2,
    "dpm_2": until_zero(2),
    "dpm_2_ancestral": ancestral,
    "dpmpp_2s_ancestral": ancestral,
    "dpmpp_2s_ancestral_cfg_pp": ancestral,
    "dpmpp_sde": until_zero(2),
    "dpmpp_sde_gpu": until_zero(2),
    "exp_heun_2_x0": until_zero(2),
    "exp_heun_2_x0_sde": until_zero(2),
    "seeds_2": until_zero(2),
    "seeds_3": until_zero(3),
}

ONCE = frozenset(
    (
        "cfgpp_ud10_ab",
        "ddim",
        "ddpm",
        "deis",
        "dpmpp_2m",
        "dpmpp_2m_cfg_pp",
        "dpmpp_2m_sde",
        "dpmpp_2m_sde_gpu",
        "dpmpp_2m_sde_heun",
        "dpmpp_2m_sde_heun_gpu",
        "dpmpp_3m_sde",
        "dpmpp_3m_sde_gpu",
        "er_sde",
        "euler",
        "euler_ancestral",
        "euler_ancestral_cfg_pp",
        "euler_cfg_pp",
        "euler_pp",
        "gradient_estimation",
        "gradient_estimation_cfg_pp",
        "ipndm",
        "ipndm_v",
        "lcm",
        "lcm_upscale",
        "lms",
        "rectified_cfgpp",
        "res_multistep",
        "res_multistep_ancestral",
        "res_multistep_ancestral_cfg_pp",
        "res_multistep_cfg_pp",
        "sa_solver",
        "sa_solver_pece",
        "unipc",
        "unipc_bh2",
    )
)
