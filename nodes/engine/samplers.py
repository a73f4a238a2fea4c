"""What stages must know of the sampler of a run. A sampler says it by its name and its options alone."""

from __future__ import annotations

from dataclasses import dataclass

# How the names of samplers begin that reuse the predictions of earlier steps. The host's uni_pc calls itself unipc.
MULTISTEP = (
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

# Of the samplers of this pack, those whose steps are made of calls at weights of their own.
SETS_WEIGHT = ("rectified_cfgpp",)


@dataclass(frozen=True, eq=False)
class Sampler:
    """The sampler of a run. `source` is the host's object: a KSAMPLER, or whatever another node made."""

    source: object

    @property
    def name(self) -> str:
        """The host's name of it: `euler`, `dpmpp_2m`, ..."""
        function = getattr(self.source, "sampler_function", None)
        return getattr(function, "__name__", type(self.source).__name__).removeprefix("sample_")

    @property
    def options(self) -> dict:
        return getattr(self.source, "extra_options", {})

    @property
    def is_cfgpp(self) -> bool:
        """Whether it is a CFG++ sampler, of the host or of this pack: its cfg is lambda, and it reads the negative."""
        return self.name.endswith("_cfg_pp")

    @property
    def is_multistep(self) -> bool:
        """Whether it remembers predictions from step to step itself."""
        return self.name.startswith(MULTISTEP)

    @property
    def sets_weight(self) -> bool:
        """Whether it sets the guider's weight itself, from call to call."""
        return self.name in SETS_WEIGHT

    def usual_weight(self, before: float | None) -> float | None:
        """The weight of a step before any stage, for a guider that came with the weight `before`.

        That is `before`, or the largest weight of a sampler that sets its own. None where the guider has no weight.
        """
        if before is None or not self.sets_weight:
            return before
        return 1.0 + self.options["lam_max"]
