"""CFG-Zero*: guidance with an optimised scale of the negative, and a run that begins with zero-init."""

import functools
import logging

from comfy_api.latest import io

from ...guidance import Constant, cfg_zero_star
from ..engine import inputs, pipeline
from ..engine.stages import Combine
from . import CATEGORY

NAME = "CFG-Zero*"

MOST_STEPS = 20
# Parts of the names of samplers that add fresh noise.
NOISY = ("ancestral", "sde", "ddpm", "lcm", "seeds", "sa_solver")


def combine(zero_steps, m):
    guided = cfg_zero_star(m.cond, m.uncond, scale=m.scale, x=m.x)
    steps = min(zero_steps, len(m.sigmas) - 2)  # at least the last step is guided
    if steps < 1 or not m.from_noise:
        return guided
    return m.x if m.step < steps else guided


def stands_still(run) -> bool:
    """Whether a step of this sampler leaves the latent as it is where the prediction is x itself."""
    noisy = any(part in run.sampler.name for part in NOISY) and run.sampler.options.get("eta", 1.0) != 0.0
    return not (noisy or run.sampler.is_cfgpp or run.sampler.options.get("s_churn", 0.0))


def say_where_zero_init_fails(steps, run) -> None:
    """Nothing is said where the rule is at none of the steps that zero-init is for."""
    if not any(step.index < steps for stage in run.of(Combine) for step in run.on(stage)):
        return
    if not run.from_noise:
        run.say(
            f"{NAME}: zero_init_steps has no effect in a run that does not begin at the model's largest sigma; set it "
            f"to 0, or denoise to 1."
        )
    elif not stands_still(run):
        run.say(
            f"{NAME}: zero_init_steps leaves too much noise with {run.sampler.name}; set it to 0, or choose a sampler "
            f"that adds no noise, such as euler.",
            logging.WARNING,
        )


class CFGZeroStar(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthCFGZeroStar",
            display_name=NAME,
            category=CATEGORY,
            description="Guides a flow model against as much of the negative as explains the positive, and leaves out "
            "the first steps of a run, at which its velocity is least sure.",
            search_aliases=[
                "cfg zero",
                "cfg-zero star",
                "zero init",
                "optimized scale",
                "flow matching",
                "cleaner video",
            ],
            inputs=[
                inputs.model_input(),
                io.Int.Input(
                    "zero_init_steps",
                    default=1,
                    min=0,
                    max=MOST_STEPS,
                    tooltip="K, how many first steps leave the latent as it is, in runs from pure noise alone; the "
                    "paper (arXiv 2503.18886) recommends 4 % of the steps: 1 or 2. Wrong with SDE, ancestral and "
                    "cfg_pp samplers, which then keep too much noise. 0 = off.",
                ),
                inputs.strength_input(),
                *inputs.window_inputs("the rule", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, zero_init_steps, strength, start=0.0, end=1.0) -> io.NodeOutput:
        steps = inputs.whole(NAME, "zero_init_steps", zero_init_steps, 0, MOST_STEPS)
        stage = Combine(
            NAME,
            Constant(float(steps)),
            "zero_init_steps",
            rule=functools.partial(combine, steps),
            check=functools.partial(say_where_zero_init_fails, steps),
            **inputs.blend(NAME, strength, start, end),
            acts_at_1=steps > 0,
            steady=steps < 1,
            words="zero-init for {} steps",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [CFGZeroStar]
