"""CFG++ as a weight per step, for samplers that take first-order steps."""

import functools
import logging

from comfy_api.latest import io

from ...guidance import ancestral_sigma_down, cfgpp_scale
from ..engine import inputs, pipeline
from ..engine.stages import Weight
from . import CATEGORY

NAME = "CFG++"

EXACT = ("euler", "euler_ancestral")


def is_exact(run) -> bool:
    return run.sampler.name in EXACT and not run.sampler.options.get("s_churn", 0.0)


def step_weight(limit, run, step, lam, scale):
    """The CFG weight that makes this step a CFG++ step; lambda itself for samplers that are CFG++ already."""
    if run.sampler.is_cfgpp:
        return lam
    sigma_next = step.sigma_next
    if run.sampler.name == "euler_ancestral":
        eta = run.sampler.options.get("eta", 1.0)
        sigma_next = ancestral_sigma_down(step.sigma, sigma_next, eta=eta, kind=run.kind)
    return cfgpp_scale(lam, step.sigma, sigma_next, kind=run.kind, limit=limit)


def say_where_not_exact(run) -> None:
    if run.sampler.is_cfgpp:
        run.say(f"{NAME}: {run.sampler.name} is a CFG++ sampler already; its cfg is set to lambda.")
    elif not is_exact(run):
        run.say(
            f"{NAME} is exact with euler, ddim and euler_ancestral only; with {run.sampler.name} it is an "
            "approximation, so prefer one of those samplers.",
            logging.WARNING,
        )


class CFGPlusPlus(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthCFGPlusPlus",
            display_name=NAME,
            category=CATEGORY,
            description="CFG++ with the ordinary euler, ddim and euler_ancestral samplers: guidance that stays on "
            "the model's manifold at low lambda. The sampler's cfg is ignored.",
            search_aliases=["cfg++", "cfgpp", "cfg_pp", "manifold constrained"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "lam",
                    default=0.6,
                    low=0.0,
                    high=1.0,
                    step=0.01,
                    tooltip="lambda (arXiv 2406.08070), not a cfg: 0.2, 0.4, 0.6, 0.8, 1 are about cfg 2, 5, 7.5, "
                    "9, 12.5; 0.4 to 0.8 is useful. A number or a Guidance Schedule. 0 = unconditional; "
                    "bypass the node to switch it off.",
                    display_name="lambda",
                ),
                inputs.plain_float(
                    "limit",
                    30.0,
                    1.0,
                    1000.0,
                    0.5,
                    "The largest weight a step may take (not in the paper): 20 to 50. Very short steps, as "
                    "of the schedulers beta and linear_quadratic, ask for more. 1000 = practically no limit.",
                    advanced=True,
                ),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def execute(cls, model, lam, limit) -> io.NodeOutput:
        stage = Weight(
            NAME,
            inputs.as_schedule(NAME, "lam", lam, 0.0, 1.0),
            "lam",
            rule=functools.partial(step_weight, inputs.finite_float(NAME, "limit", limit, 1.0, 1000.0)),
            unit="lambda",
            check=say_where_not_exact,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [CFGPlusPlus]
