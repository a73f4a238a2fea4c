"""Guidance Report: the resolved pipeline of a MODEL, in words."""

import comfy.samplers
from comfy_api.latest import io
from server import PromptServer

from . import guiders, inputs, pipeline, stages
from .run import Run

NAME = "Guidance Report"

HEADINGS = {
    stages.Negative: "Further negatives",
    stages.Baseline: "Baseline",
    stages.Weight: "Weight",
    stages.Combine: "Combine rule",
    stages.Correct: "Correction",
}


def stage_lines(own) -> list[str]:
    lines = []
    for kind, heading in HEADINGS.items():
        found = [str(stage) for stage in own if isinstance(stage, kind)]
        lines += [f"{heading}:", *(f"  - {line}" for line in found)] if found else []
    return lines


def foreign_lines(model) -> list[str]:
    options = model.model_options
    lines = []
    if "sampler_cfg_function" in options:
        fate = "replaced" if any(isinstance(s, stages.Combine) for s in stages.of(model)) else "kept"
        lines.append(f"Cfg function of another node: {pipeline.name(options['sampler_cfg_function'])} ({fate})")
    for function in options.get("sampler_pre_cfg_function", []):
        lines.append(f"Pre-CFG function of another node: {pipeline.name(function)} (runs before Azimuth)")
    before = True
    for function in options.get("sampler_post_cfg_function", []):
        if function is pipeline.guide:
            before = False
            continue
        lines.append(
            f"Post-CFG function of another node: {pipeline.name(function)} (runs {'before' if before else 'after'} "
            "Azimuth)"
        )
    return lines


def run_lines(model, cfg: float, sigmas) -> list[str]:
    """The weight of every step, for a plain euler run over these sigmas."""
    if len(sigmas) < 2:
        return ["No steps: the sigmas hold fewer than two values"]
    kind = pipeline.model_kind(model)
    run = Run.open(
        stages.of(model), tuple(sigmas.tolist()), kind, guiders.GUIDERS[-1], comfy.samplers.ksampler("euler")
    )
    scales = run.scales(cfg)
    passes = sum(2 if scale != 1.0 else 1 for scale in scales)
    weights = " ".join(f"{scale:.4g}" for scale in scales)
    return [
        f"Weights over {len(scales)} steps (euler, cfg {cfg:g}): {weights}",
        f"Passes: {passes} in place of {2 * len(scales)}, further negatives not counted",
    ]


def report(model, cfg: float, sigmas=None) -> str:
    own = stages.of(model)
    lines = [f"Model: {'flow' if pipeline.model_kind(model) == 'flow' else 'eps, v or EDM'}"]
    lines += stage_lines(own) or ["No Azimuth stage: plain CFG"]
    if not any(isinstance(stage, stages.Weight) for stage in own):
        lines.append("Weight: the sampler's cfg")
    if not any(isinstance(stage, stages.Combine) for stage in own):
        lines.append("Combine rule: CFG")
    lines += foreign_lines(model)
    if sigmas is not None:
        lines += run_lines(model, cfg, sigmas)
    return "\n".join(lines)


class GuidanceReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthReport",
            display_name=NAME,
            category=inputs.CATEGORY,
            description="Says in words what guidance a MODEL carries: every stage in the order in which it runs, "
            "the functions of other nodes beside it and, with sigmas, the weight of every step.",
            search_aliases=["guidance debug", "cfg info", "show pipeline"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The MODEL to describe, as it goes into the sampler."),
                io.Sigmas.Input("sigmas", optional=True, tooltip="The run's sigmas, to list the weight of every step."),
                io.Float.Input(
                    "cfg",
                    default=7.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="The sampler's cfg, for the list of weights. 1 = guidance off.",
                ),
            ],
            outputs=[io.String.Output(display_name="report", tooltip="The report as text.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **_):
        return float("nan")  # never the same: what the cache serves sends no text to a page opened since

    @classmethod
    def execute(cls, model, cfg, sigmas=None) -> io.NodeOutput:
        text = report(model, cfg, sigmas)
        page = text.replace("\n", "\n\n")  # Nodes 2.0 reads Markdown, in which a single line break is none
        PromptServer.instance.send_progress_text(page, cls.hidden.unique_id)
        return io.NodeOutput(text, ui={"text": (text,)})


NODES = [GuidanceReport]
