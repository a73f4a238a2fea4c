"""Guidance Report: the resolved pipeline of a MODEL, in words."""

import functools

import comfy.samplers
import torch
from comfy_api.latest import io
from server import PromptServer

from ...guidance import quoted
from ..engine import guided, guiders, inputs, parametrisation, pipeline, stages, weak
from ..engine.run import Run
from . import CATEGORY

NAME = "Guidance Report"

HEADINGS = {
    stages.Condition: "Conditioning",
    stages.Attention: "Attention",
    stages.Pair: "Pair, at cfg 1",
    stages.Negative: "Further negatives",
    stages.Baseline: "Baseline",
    stages.Weight: "Weight",
    stages.Skip: "Negative passes",
    stages.Reuse: "Reused predictions",
    stages.Combine: "Combine rule",
    stages.Add: "Added term",
    stages.Correct: "Correction",
}


def fate(model, stage) -> str:
    """What keeps a stage from acting on this model in any run, in brackets; "" if nothing does."""
    if not isinstance(stage, (stages.Condition, stages.Attention, stages.Pair)):
        return ""
    why = stage.obstacle(model.model, [])
    return f" (no effect {why})" if why else ""


def stage_lines(model) -> list[str]:
    lines = []
    for kind, heading in HEADINGS.items():
        found = [f"{stage}{fate(model, stage)}" for stage in stages.of(model) if isinstance(stage, kind)]
        lines += [f"{heading}:", *(f"  - {line}" for line in found)] if found else []
    return lines


def foreign_lines(model) -> list[str]:
    options = model.model_options
    lines = []
    if "sampler_cfg_function" in options:
        fate = next((f"replaced{s.window}" for s in stages.of(model) if isinstance(s, stages.Combine)), "kept")
        lines.append(f"Cfg function of another node: {guided.name(options['sampler_cfg_function'])} ({fate})")
    for function in options.get("sampler_pre_cfg_function", []):
        lines.append(f"Pre-CFG function of another node: {guided.name(function)} (runs before Azimuth)")
    before = True
    for function in options.get("sampler_post_cfg_function", []):
        if function is guided.guide:
            before = False
            continue
        lines.append(
            f"Post-CFG function of another node: {guided.name(function)} (runs {'before' if before else 'after'} "
            "Azimuth)"
        )
    return lines


def one_frame(model) -> list[tuple[int, ...]]:
    """The shape of a latent that the MODEL could be given: one picture, or one frame.

    Only a run knows the real shape. With this one, no stage that acts on single pictures is reported as without effect.
    """
    space = model.model.latent_format
    return [(1, space.latent_channels, *(1,) * (space.latent_dimensions - 2), *(64,) * min(space.latent_dimensions, 2))]


def run_lines(model, cfg: float, sigmas) -> list[str]:
    """The weight of every step, for a plain euler run over these sigmas."""
    if len(sigmas) < 2:
        return ["No steps: the sigmas hold fewer than two values"]
    levels = tuple(sigmas.tolist())
    network, from_noise = parametrisation.of(model), pipeline.starts_from_noise(model, levels)
    sampler = comfy.samplers.ksampler("euler")
    own = tuple(s for s in stages.of(model) if not fate(model, s) and (cfg == 1.0 or not isinstance(s, stages.Pair)))
    run = Run.open(own, levels, network, guiders.PLAIN, sampler, one_frame(model), from_noise)
    run.before = run.usual = cfg
    weak.open_terms(model, run)
    idle = ", ".join(dict.fromkeys(stage.node for stage in own if stage not in run.stages))
    scales = run.scales(cfg)
    two = functools.partial(guiders.wants_negative_pass, None, guiders.PLAIN, model_options=model.model_options)
    pairs = [two(scale) for scale in scales]
    terms = [run.counting(stages.Add, scale, step) for step, scale in zip(run.steps, scales, strict=True)]
    passes = len(pairs) + sum(pairs) + sum(map(len, terms))
    without = len(pairs) * (1 + two(cfg))
    weights = " ".join(f"{scale:.4g}" for scale in scales)
    skips = "".join(f", before {stage.node} skips any" for stage in run.of(stages.Skip) + run.of(stages.Reuse))
    return [
        *([f"No effect on this model: {idle}"] if idle else []),
        f"Weights over {len(scales)} steps (euler, cfg {cfg:g}): {weights}",
        f"Passes: {passes} in place of {without}, further negatives not counted{skips}",
    ]


def kind_of_model(model) -> str:
    if not parametrisation.is_known(model):
        return parametrisation.unknown(model)
    network = parametrisation.of(model)
    if network.family == "flow in ve":
        return "flow, in sigma coordinates"
    return "flow" if network.is_flow else "eps, v or EDM"


def report(model, cfg: float, sigmas=None) -> str:
    own = stages.of(model)
    lines = [f"Model: {kind_of_model(model)}"]
    lines += stage_lines(model) or ["No Azimuth stage: plain CFG"]
    paired = cfg == 1.0 and any(isinstance(stage, stages.Pair) and not fate(model, stage) for stage in own)
    if not paired and not any(isinstance(stage, stages.Weight) for stage in own):
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
            category=CATEGORY,
            description="Says in words what guidance a MODEL carries: every stage in the order in which it runs, "
            "the functions of other nodes beside it and, with sigmas, the weight of every step.",
            search_aliases=["guidance debug", "cfg info", "show pipeline"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The MODEL to describe, as it goes into the sampler."),
                io.Sigmas.Input("sigmas", optional=True, tooltip="The run's sigmas, to list the weight of every step."),
                inputs.plain_float(
                    "cfg",
                    7.0,
                    0.0,
                    100.0,
                    0.05,
                    "The sampler's cfg, for the list of weights. 1 = guidance off.",
                ),
            ],
            outputs=[io.String.Output(display_name="report", tooltip="The report as text.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **_):
        return float("nan")  # never equal, so the node always runs: a cached result would send no text to a new page

    @classmethod
    def execute(cls, model, cfg, sigmas=None) -> io.NodeOutput:
        cfg = inputs.finite_float(NAME, "cfg", cfg, 0.0, 100.0)
        if sigmas is not None and not (torch.is_tensor(sigmas) and sigmas.ndim == 1):
            raise ValueError(f"{NAME}, input sigmas: got {quoted(sigmas)}; connect the SIGMAS of a scheduler.")
        text = report(inputs.a_model(NAME, "model", model), cfg, sigmas)
        page = text.replace("\n", "\n\n")  # Nodes 2.0 reads Markdown, which ignores a single line break
        PromptServer.instance.send_progress_text(page, cls.hidden.unique_id)
        return io.NodeOutput(text, ui={"text": (text,)})


NODES = [GuidanceReport]
