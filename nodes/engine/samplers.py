"""What stages must know of the sampler of a run. All of it is read from the sampler's name and its options."""

from __future__ import annotations

from dataclasses import dataclass

# Samplers that reuse the predictions of earlier steps: how their names begin. The host's uni_pc calls itself unipc.
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

# Samplers of this pack that choose the weight of every call themselves.
SETS_WEIGHT = ("rectified_cfgpp",)


@dataclass(frozen=True, eq=False)
class Sampler:
    """The sampler of a run. `source` is the host's object: a KSAMPLER, or whatever another node made."""

    source: object

    @property
    def name(self) -> str:
        """The host's name of the sampler: `euler`, `dpmpp_2m`, ..."""
        function = getattr(self.source, "sampler_function", None)
        return getattr(function, "__name__", type(self.source).__name__).removeprefix("sample_")

    @property
    def options(self) -> dict:
        return getattr(self.source, "extra_options", {})

    @property
    def is_cfgpp(self) -> bool:
        """Whether it is a CFG++ sampler, of the host or of this pack: one whose cfg is lambda.

        Such a sampler reads the negative's prediction at every step.
        """
        return self.name.endswith("_cfg_pp")

    @property
    def is_multistep(self) -> bool:
        """Whether the sampler itself remembers predictions from step to step."""
        return self.name.startswith(MULTISTEP)

    @property
    def sets_weight(self) -> bool:
        """Whether the sampler sets the guider's weight, from call to call."""
        return self.name in SETS_WEIGHT

    def usual_weight(self, before: float | None) -> float | None:
        """The weight of a step before any stage changes it, for a guider that came with the weight `before`.

        That is `before`, or for a sampler that sets its own weight the largest one. None if the guider has no weight.
        """
        if before is None or not self.sets_weight:
            return before
        return 1.0 + self.options["lam_max"]
