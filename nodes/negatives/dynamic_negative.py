"""Dynamic Negative Guidance: a further negative whose weight follows the probability that the run ends at it."""

import functools
import logging

from comfy_api.latest import io

from ...guidance import dynamic_negative_terms
from ..engine import inputs, pipeline
from ..engine.stages import Negative
from . import CATEGORY

NAME = "Dynamic Negative Guidance (DNG)"

# The options of `base`, each with the field of `Moment` that is D_b: the prediction that the negative is compared with.
BASES = {"positive": "cond", "sampler's negative": "uncond"}
KNOBS = [
    inputs.plain_float(
        "prior",
        0.01,
        1e-6,
        0.5,
        0.005,
        "p_0, how likely the negative is held to be at the first step: 0.001 to 0.2. Higher acts sooner. weight 0 "
        "switches the node off.",
    ),
    inputs.plain_float(
        "tau",
        0.2,
        0.0,
        10.0,
        0.01,
        "tau, how far every step is believed: 0.05 to 1. 0 = what the steps show is ignored.",
    ),
    inputs.plain_float(
        "delta",
        2e-4,
        0.0,
        0.1,
        1e-4,
        "delta, a bias towards the negative that grows as the noise falls: 0 to 0.001. 0 = none.",
        advanced=True,
    ),
    inputs.plain_float(
        "p_min",
        1e-6,
        1e-9,
        0.01,
        1e-6,
        "The least the posterior may fall to: 1e-6 to 1e-3. Higher lets the negative come back sooner. weight 0 "
        "switches the node off.",
        advanced=True,
    ),
    inputs.plain_float(
        "p_max",
        0.8,
        0.5,
        0.99,
        0.01,
        "The most the posterior may rise to, and with it the strength, weight p/(1 - p): 0.8 is 4 weights, 0.99 is 99 "
        "and burns. weight 0 switches the node off.",
        advanced=True,
    ),
]
STOCHASTIC = ("ancestral", "sde", "ddpm", "lcm", "seeds", "sa_solver")


def draws_noise(run) -> bool:
    """Whether a run's sampler adds noise between its steps."""
    options = run.sampler.options
    named = any(word in run.sampler.name for word in STOCHASTIC)
    amount = options.get("eta", 1.0 if named else 0.0)
    return (amount != 0.0 or options.get("s_churn", 0.0) != 0.0) and options.get("s_noise", 1.0) != 0.0


def say_where_heuristic(run) -> None:
    if not draws_noise(run):
        run.say(
            f"{NAME}: {run.sampler.name} adds no noise, so the posterior is a heuristic here; prefer euler_ancestral "
            f"or ddpm.",
            logging.WARNING,
        )


def follow(base, knobs, m):
    return dynamic_negative_terms(
        getattr(m, base), m.other, x=m.x, sigma=m.sigma, kind=m.kind, scale=m.value, state=m.memory, **knobs
    )


def checked(values: dict) -> dict[str, float]:
    knobs = inputs.floats(NAME, KNOBS, values)
    if not knobs["p_min"] <= knobs["prior"] <= knobs["p_max"]:
        raise ValueError(
            f"{NAME}, input prior: {knobs['prior']:g} does not lie between p_min, {knobs['p_min']:g}, and p_max, "
            f"{knobs['p_max']:g}; move one of the three."
        )
    return knobs


class DynamicNegative(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthDynamicNegative",
            display_name=NAME,
            category=CATEGORY,
            description="A further negative that all but sleeps until the picture begins to look like it, and then "
            "pushes as hard as is needed. For samplers that add noise, such as euler_ancestral.",
            search_aliases=["DNG", "dynamic negative", "negative prompt", "posterior", "concept removal"],
            inputs=[
                inputs.model_input(),
                inputs.negative_input("D_n, what is to be kept out"),
                inputs.number(
                    "weight",
                    default=5.0,
                    low=0.0,
                    high=100.0,
                    step=0.05,
                    tooltip="lambda_0, on the scale of a cfg where the negative is as likely as not: 1 to 10. A number "
                    "or a Guidance Schedule. 0 = off, and costs nothing.",
                ),
                io.Combo.Input(
                    "base",
                    options=list(BASES),
                    default="positive",
                    tooltip="D_b, what the negative is told apart from: positive, the paper's choice for text to "
                    "image, or the sampler's negative, its choice without a prompt (arXiv 2410.14398). weight 0 "
                    "switches the node off.",
                ),
                *KNOBS,
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def execute(cls, model, negative, weight, base, prior, tau, delta, p_min, p_max) -> io.NodeOutput:
        knobs = checked({"prior": prior, "tau": tau, "delta": delta, "p_min": p_min, "p_max": p_max})
        field = BASES[inputs.choice(NAME, "base", base, BASES)]
        stage = Negative(
            NAME,
            inputs.as_schedule(NAME, "weight", weight, 0.0, 100.0),
            "weight",
            remembers=True,
            conditioning=inputs.conditioning(NAME, "negative", negative),
            term=functools.partial(follow, field, knobs),
            mode=f"away from it to the {base}, prior {knobs['prior']:g}, tau {knobs['tau']:g}",
            beside=field,
            remark=say_where_heuristic,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [DynamicNegative]
