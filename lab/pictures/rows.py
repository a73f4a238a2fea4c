"""The rows of the contact sheet and of the help pages' pictures, from the specimens; what is sampled for them, and how
that is called.
"""

from collections.abc import Iterable
from dataclasses import replace

from specimens import found
from specimens.kinds import Node, Picture
from specimens.pictures import HIGH, LOW, text

MODELS = {
    "ve": "EDM model (sigma 40 to 0.01)",
    "flow": "Rectified flow model",
    "flow_distilled": "Guidance-distilled flow model",
}
PROMPTS = (
    "a large red circle at the left on a grey background",
    "a large yellow cross at the top on a black background",
)
# The same on the narrow pictures of the help pages.
SHORT_MODELS = {
    "ve": "tiny EDM model",
    "flow": "tiny flow model",
    "flow_distilled": "tiny guidance-distilled flow model",
}
SHORT_PROMPTS = ("red circle", "yellow cross")
SEED, STEPS, PER_PROMPT = 2026, 20, 2


# ---- What has no specimen yet


def Row(label, note, scale=HIGH, chain=(), models=("ve", "flow"), sampler=None) -> Picture:
    return Picture(label, note, scale, chain, models, sampler)


def schedule(shape: str, **values) -> Node:
    return Node("AzimuthSchedule", {"shape": shape, **{f"shape.{name}": values[name] for name in values}})


def dynamic(kind: str, name: str, option: str, **values) -> Node:
    """A node whose input `name` has options with inputs of their own."""
    return Node(kind, {name: option, **{f"{name}.{key}": values[key] for key in values}})


def apg(threshold: float, momentum: float) -> Node:
    values = {"eta": 0.0, "norm_threshold": threshold, "momentum": momentum}
    return Node("AzimuthAPG", {"preset": "custom", **{f"preset.{name}": values[name] for name in values}})


def pink(method: str, **inputs) -> Node:
    """A node that keeps pink away."""
    return Node(f"Azimuth{method}", {"negative": text("on a pink background"), **inputs})


def autoguidance(scale: float) -> Node:
    """Away from a smaller model that has learned for a shorter time."""
    return Node("AzimuthAutoguidance", {"weak_model": Node("AzimuthLabLoader", {"model": "ve_small"}), "scale": scale})


def skipped(preset: str, **values) -> Node:
    return dynamic("AzimuthSkipLayer", "preset", preset, **values)


NAG = {"scale": 11.0, "preset": "SD1.5, SDXL"}
OLD_ROWS = (
    Row("Plain CFG", f"cfg {LOW:g}", LOW),
    Row("Plain CFG", f"cfg {HIGH:g}"),
    Row(
        "Scheduled CFG",
        f"cfg {HIGH:g} in the middle half, else 1",
        chain=(Node("AzimuthScheduledCFG", {"scale": HIGH, "start": 0.25, "end": 0.75}),),
    ),
    Row(
        "Scheduled CFG",
        f"triangle, cfg {HIGH:g} on average",
        chain=(Node("AzimuthScheduledCFG", {"scale": schedule("triangle", mean=HIGH, low=1.0)}),),
    ),
    Row(
        "Negative Guidance",
        f"cfg {LOW:g}: perpendicular to 'pink', weight 0.5",
        LOW,
        chain=(Node("AzimuthNegativeGuidance", {"negative": text("on a pink background"), "weight": 0.5}),),
    ),
    Row(
        "Dynamic Thresholding",
        f"cfg {HIGH:g} with the contrast of cfg {LOW:g}",
        chain=(Node("AzimuthDynamicThresholding", {"mode": "mimic", "mimic_scale": LOW}),),
    ),
    Row("CFG++", "lambda 0.6", chain=(Node("AzimuthCFGPlusPlus", {"lam": 0.6}),)),
    Row(
        "Angle Domain Guidance",
        f"cfg {HIGH:g}: paper's, at most 20 degrees",
        chain=(Node("AzimuthAngleDomain", {"mode": "paper", "max_angle": 20.0}),),
    ),
    Row(
        "Angle Domain Guidance",
        f"cfg {HIGH:g}: exact rotation, at most 20 degrees",
        chain=(Node("AzimuthAngleDomain", {"mode": "exact rotation", "max_angle": 20.0}),),
    ),
)


CFGPP_2M = Node("AzimuthCFGPPSampler", {"method": "DPM++ 2M"})
CFGPP_2S = dynamic("AzimuthCFGPPSampler", "method", "DPM++ 2S ancestral", eta=1.0, s_noise=1.0)

# For the help pages alone, so that the demo stays short.
OLD_MORE = (
    Row("CFG++ Sampler", "DPM++ 2M, lambda 0.6", 0.6, sampler=CFGPP_2M),
    Row("CFG++ Sampler", "DPM++ 2S ancestral, lambda 0.6", 0.6, sampler=CFGPP_2S),
    Row(
        "Rectified-CFG++",
        f"lam_max {LOW - 1:g}: as cfg {LOW:g}",
        sampler=Node("AzimuthRectifiedCFGPP", {"lam_max": LOW - 1}),
    ),
    Row(
        "Rectified-CFG++",
        f"lam_max {HIGH - 1:g}: as cfg {HIGH:g}",
        sampler=Node("AzimuthRectifiedCFGPP", {"lam_max": HIGH - 1}),
    ),
    Row("APG", f"cfg {HIGH:g}: threshold 5, momentum -0.5", chain=(apg(5.0, -0.5),)),
    Row("APG", f"cfg {HIGH:g}: no threshold, no momentum", chain=(apg(0.0, 0.0),)),
    Row(
        "Beta-CFG",
        f"cfg {HIGH:g}: normalised, reference 0.02, gamma 1",
        chain=(Node("AzimuthBetaCFG", {"form": "normalised (ours)", "form.reference": 0.02, "gamma": 1.0}),),
    ),
    Row(
        "Ratio-Aware Guidance",
        "preset RAAG: w_max 18, alpha 12",
        chain=(Node("AzimuthRatioAware", {"preset": "RAAG"}),),
    ),
    Row(
        "Ratio-Aware Guidance",
        f"cfg {HIGH:g}: MAMBO-G's alpha 8",
        chain=(Node("AzimuthRatioAware", {"preset": "MAMBO-G", "weight": "sampler cfg"}),),
    ),
    Row(
        "Adaptive Guidance",
        f"cfg {LOW:g}: threshold 0.991, start 0.4",
        LOW,
        chain=(Node("AzimuthAdaptiveGuidance", {"threshold": 0.991, "start": 0.4}),),
    ),
    Row(
        "Uncond Reuse",
        f"cfg {LOW:g}: every 3rd step from 0.2 on",
        LOW,
        chain=(Node("AzimuthUncondReuse", {"every": 3}),),
    ),
    Row(
        "Compress Guidance",
        f"cfg {LOW:g} on average, in half of the steps",
        chain=(Node("AzimuthScheduledCFG", {"scale": schedule("compressed", scale=LOW, share=0.5, exponent=1.0)}),),
    ),
    Row(
        "C2FG",
        f"exponential from cfg {LOW:g}, rate 0.8",
        chain=(Node("AzimuthScheduledCFG", {"scale": schedule("exponential", scale=LOW, rate=0.8)}),),
    ),
    Row(
        "CFG truncation",
        f"cfg {HIGH:g} in the first 0.3 of the steps, then 1",
        chain=(
            Node(
                "AzimuthScheduledCFG",
                {"scale": schedule("interval", inside=HIGH, outside=1.0, start=0.0, end=0.3)},
            ),
        ),
    ),
    Row(
        "CFG-Zero*",
        f"cfg {LOW:g}: one step of zero-init",
        LOW,
        chain=(Node("AzimuthCFGZeroStar", {"zero_init_steps": 1}),),
    ),
    Row("CFG-Zero*", f"cfg {HIGH:g}: no zero-init", chain=(Node("AzimuthCFGZeroStar", {"zero_init_steps": 0}),)),
    Row("TCFG", f"cfg {LOW:g}", LOW, chain=(Node("AzimuthTangentialCFG"),)),
    Row("TCFG", f"cfg {HIGH:g}", chain=(Node("AzimuthTangentialCFG"),)),
    Row("Rescale CFG", f"cfg {HIGH:g}: phi 0.7", chain=(Node("AzimuthRescaleCFG", {"phi": 0.7}),)),
    Row("Rescale CFG", f"cfg {HIGH:g}: phi 1", chain=(Node("AzimuthRescaleCFG", {"phi": 1.0}),)),
    Row("EP-CFG", f"cfg {HIGH:g}: plain", chain=(Node("AzimuthEnergyPreserving"),)),
    Row("EP-CFG", f"cfg {HIGH:g}: robust", chain=(Node("AzimuthEnergyPreserving", {"mode": "robust"}),)),
    Row(
        "FDG",
        f"cfg {HIGH:g} for detail, {HIGH / 4:g} for the coarse part",
        chain=(dynamic("AzimuthFrequency", "mode", "FDG", low=0.25, high=1.0),),
    ),
    Row(
        "FreSca",
        f"cfg {LOW:g}: high 2, cutoff 0.3",
        LOW,
        chain=(dynamic("AzimuthFrequency", "mode", "FreSca", low=1.0, high=2.0, cutoff=0.3),),
    ),
    Row(
        "Skimmed CFG",
        f"cfg {HIGH:g}: exact, skim_scale {LOW:g}",
        chain=(Node("AzimuthSkimmedCFG", {"skim_scale": LOW, "mode": "exact"}),),
    ),
    Row(
        "Skimmed CFG",
        f"cfg {HIGH:g}: as published, skim_scale {LOW:g}",
        chain=(Node("AzimuthSkimmedCFG", {"skim_scale": LOW, "mode": "as published"}),),
    ),
    Row("PMC-CFG", f"cfg {HIGH:g}: gamma 1.05", chain=(Node("AzimuthPMC", {"gamma": 1.05}),)),
    Row(
        "PMC-CFG",
        f"cfg {HIGH:g}: gamma 1.15, floor 0.1",
        chain=(Node("AzimuthPMC", {"gamma": 1.15, "floor": 0.1}),),
    ),
    Row("Momentum Guidance", f"cfg {LOW:g}: alpha 0.5", LOW, chain=(Node("AzimuthMomentumGuidance"),)),
    Row("Momentum Guidance", "cfg 1: alpha 1", 1.0, chain=(Node("AzimuthMomentumGuidance", {"alpha": 1.0}),)),
    Row("History Guidance", f"cfg {LOW:g}: weight 1.75", LOW, chain=(Node("AzimuthHiGS"),)),
    Row("History Guidance", "cfg 1: weight 1.75", 1.0, chain=(Node("AzimuthHiGS"),)),
    Row("Sliding Mode Guidance", f"cfg {HIGH:g}: relative gain 0.2", chain=(Node("AzimuthSMC"),)),
    Row(
        "Sliding Mode Guidance",
        f"cfg {HIGH:g}: relative gain 0.2, chatter-free",
        chain=(Node("AzimuthSMC", {"chatter_free": True}),),
    ),
    Row("Norm Limit", f"cfg {HIGH:g}: per sample", chain=(Node("AzimuthNormLimit", {"scope": "sample"}),)),
    Row("Norm Limit", f"cfg {HIGH:g}: per pixel", chain=(Node("AzimuthNormLimit", {"scope": "pixel"}),)),
    Row("TAG", f"cfg {LOW:g}: eta 1.15", LOW, chain=(Node("AzimuthTAG", {"eta": 1.15}),)),
    Row("TAG", "cfg 1: eta 1.3", 1.0, chain=(Node("AzimuthTAG", {"eta": 1.3}),)),
    Row("Epsilon Scaling", f"cfg {LOW:g}: scale 1.02", LOW, chain=(Node("AzimuthEpsilonScaling", {"scale": 1.02}),)),
    Row("TSR", f"cfg {LOW:g}: k 0.9", LOW, chain=(Node("AzimuthTSR", {"k": 0.9}),)),
    Row("TSR", f"cfg {LOW:g}: k 2", LOW, chain=(Node("AzimuthTSR", {"k": 2.0}),)),
    Row(
        "Negative Guidance",
        f"cfg {LOW:g}: not 'pink', weight 0.5",
        LOW,
        chain=(pink("NegativeGuidance", mode="not", weight=0.5),),
    ),
    Row(
        "Contrastive CFG",
        f"cfg {LOW:g}: away from 'pink', tau 0.2, norm: sum",
        LOW,
        chain=(pink("ContrastiveCFG", tau=0.2, norm="sum (paper)"),),
    ),
    Row(
        "Dynamic Negative Guidance",
        f"cfg {LOW:g}: away from 'pink', weight 5, prior 0.2",
        LOW,
        chain=(pink("DynamicNegative", weight=5.0, prior=0.2),),
    ),
    Row(
        "Safe Latent Diffusion",
        f"cfg {LOW:g}: away from 'pink', strong",
        LOW,
        chain=(pink("SafeLatent", preset="strong"),),
    ),
    Row("PAG", f"cfg {LOW:g}: scale 2", LOW, (Node("AzimuthPerturbedAttention", {"scale": 2.0}),)),
    Row("PAG", "cfg 1: scale 2, no negative pass", 1.0, (Node("AzimuthPerturbedAttention", {"scale": 2.0}),)),
    Row("SEG", f"cfg {LOW:g}: scale 2", LOW, (Node("AzimuthSmoothedEnergy", {"scale": 2.0}),)),
    Row("SEG", "cfg 1: scale 2, no negative pass", 1.0, (Node("AzimuthSmoothedEnergy", {"scale": 2.0}),)),
    Row(
        "Skip Layer Guidance",
        f"cfg {LOW:g}: scale 1 without the middle block",
        LOW,
        (skipped("custom", blocks="middle 0", scale=1.0, skip="block", start=0.0, end=1.0, rescale=0.0),),
    ),
    Row(
        "Skip Layer Guidance",
        f"cfg {LOW:g}: S2, scale 0.5, one random block",
        LOW,
        (skipped("S2: any model", count=1, seed=0, scale=0.5, skip="block", start=0.1, end=0.9, rescale=0.0),),
    ),
    Row("Self-Attention Guidance", f"cfg {LOW:g}: scale 0.75", LOW, (Node("AzimuthSelfAttention", {"scale": 0.75}),)),
    Row("Autoguidance", "cfg 1: scale 1, no negative pass", 1.0, (autoguidance(1.0),), ("ve",)),
    Row("Autoguidance", f"cfg {LOW:g}: scale 1", LOW, (autoguidance(1.0),), ("ve",)),
    Row("NAG", "cfg 1: away from 'pink', scale 11, no negative pass", 1.0, chain=(pink("NAG", **NAG),)),
    Row("NAG", f"cfg {LOW:g}: away from 'pink', scale 11", LOW, chain=(pink("NAG", **NAG),)),
    Row("CADS", f"cfg {LOW:g}: noise 0.25", LOW, chain=(Node("AzimuthCADS", {"scale": 0.25}),)),
    Row("CADS", f"cfg {LOW:g}: noise 0.25 until time 0.3", LOW, chain=(Node("AzimuthCADS", {"tau1": 0.3}),)),
)


def distilled(note: str, *chain: Node) -> Picture:
    """A row on the distilled model, which has no negative pass."""
    label = "Distilled Guidance" if chain else "No guidance node"
    return Row(label, note, 1.0, chain, ("flow_distilled",))


DISTILLED = (
    distilled("cfg 1: the embedding at 3.5"),
    distilled("cfg 1: the embedding at 8", Node("AzimuthDistilledGuidance", {"guidance": 8.0})),
    distilled(
        "cfg 1: the embedding from 1 to 6",
        Node("AzimuthDistilledGuidance", {"guidance": schedule("linear", first=1.0, last=6.0)}),
    ),
    distilled(
        f"two passes, guidance {HIGH:g}",
        Node("AzimuthDistilledGuidance", {"mode": "two passes", "guidance": HIGH}),
    ),
    distilled(
        f"two passes, guidance {HIGH:g}, with APG",
        apg(0.0, 0.0),
        Node("AzimuthDistilledGuidance", {"mode": "two passes", "guidance": HIGH}),
    ),
)
OLD_MORE += DISTILLED
OLD = (*(replace(row, sheet=line) for line, row in enumerate(OLD_ROWS, 1)), *OLD_MORE)


# ---- The rows

FOUND = found("PICTURES")
EVERY = (*FOUND, *(row for row in OLD if row.name not in {new.name for new in FOUND}))
ROWS = tuple(sorted((row for row in EVERY if row.sheet), key=lambda row: row.sheet))
MORE = tuple(row for row in EVERY if not row.sheet)  # for the help pages alone, so that the demo stays short


def models_of(rows: Iterable[Picture]) -> list[str]:
    """The models that any of these rows is about."""
    rows = tuple(rows)
    return [model for model in MODELS if any(model in row.models for row in rows)]
