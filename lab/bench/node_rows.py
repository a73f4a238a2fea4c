"""What bench.py measures of the nodes: NODES, a row for each setting of a node that is worth knowing."""

from dataclasses import dataclass

import comfy_extras.nodes_cfg
import comfy_extras.nodes_eps
import comfy_extras.nodes_fresca
import comfy_extras.nodes_lumina2
import comfy_extras.nodes_pag
import comfy_extras.nodes_sag
import comfy_extras.nodes_tcfg

from ..pack import guidance as g
from ..pack import nodes
from .ways import Way, against, chain, host_perp_neg_guider, patch

# ---- The settings of our nodes


def weight(scale, start=0.0, end=1.0):
    return patch(nodes.strength.scheduled_cfg.ScheduledCFG, scale, start, end, "weight 1")


def negative(mode, value):
    return against(nodes.negatives.negative_guidance.NegativeGuidance, mode, value, 0.0, 1.0)


def threshold(mode, mimic_scale, strength=1.0):
    node = nodes.rules.dynamic_thresholding.DynamicThresholding
    return patch(node, mode, mimic_scale, 0.995, True, "mean", "ad", strength)


def adg(mode, strength=1.0):
    return patch(nodes.rules.angle_domain.AngleDomain, 60.0, mode, strength)


def apg(**knobs):
    return patch(nodes.rules.apg.AdaptiveProjected, 1.0, {"preset": "custom", **knobs})


def beta_cfg(a, b):
    form = {"form": "normalised (ours)", "reference": 0.1}
    return patch(nodes.rules.beta_cfg.BetaCFG, 1.0, a, b, 1.0, 1.0, form)


def ratio_aware_node(preset):
    return patch(nodes.rules.ratio_aware.RatioAware, "w_max", 1.0, {"preset": preset})


def zero_star(steps, strength=1.0):
    return patch(nodes.rules.cfg_zero_star.CFGZeroStar, steps, strength)


def tcfg(strength):
    return patch(nodes.rules.tcfg.TangentialDamping, strength)


def rescale(phi):
    return patch(nodes.corrections.rescale.Rescale, phi, "v")


def energy(mode, strength=1.0):
    return patch(nodes.corrections.energy_preserving.EnergyPreserving, mode, "sample", strength)


def frequency(mode, **knobs):
    return patch(nodes.rules.frequency.FrequencyDecoupled, 1.0, {"mode": mode, **knobs})


def skimmed(mode, skim_scale=4.0):
    return patch(nodes.rules.skimmed.SkimmedCFG, skim_scale, mode, True, False, 1.0)


def pmc(floor):
    return patch(nodes.rules.pmc.NormCapped, 1.05, floor, 1.0)


def momentum(alpha):
    return patch(nodes.corrections.momentum_guidance.MomentumGuidance, alpha, 0.6, 0.3, 0.95)


def history(value):
    return patch(nodes.corrections.higs.HistoryGuidance, value, 0.75, 1.0, 0.4, 1.0, False)


def sliding(gain, chatter_free=False):
    return patch(nodes.rules.smc.SlidingMode, gain, 5.0, "relative", chatter_free, 1.0)


def norm_limit(scope, strength=1.0):
    return patch(nodes.corrections.norm_limit.NormLimit, 1.0, scope, strength)


def tag(eta, start=0.0, end=1.0):
    return patch(nodes.corrections.tangential.TangentialAmplifying, eta, start, end)


def epsilon_scaling(scale):
    return patch(nodes.corrections.epsilon_scaling.EpsilonScaling, scale)


def tsr(k):
    return patch(nodes.corrections.temporal_score_rescaling.TemporalScoreRescaling, k, 1.0)


def contrastive(strength):
    return against(nodes.negatives.contrastive.ContrastiveCFG, 0.2, "sum (paper)", strength, 0.0, 1.0)


def dynamic_negative(weight):
    node = nodes.negatives.dynamic_negative.DynamicNegative
    return against(node, weight, "positive", 0.01, 0.2, 2e-4, 1e-6, 0.8)


def safe_latent(preset, strength):
    return against(nodes.negatives.safe_latent.SafeLatent, strength, {"preset": preset})


def term(node, **values):
    """An added term over the whole run."""
    return patch(node, **{"scale": 3.0, "start": 0.0, "end": 1.0, **values})


def pag(**values):
    node = nodes.terms.perturbed_attention.PerturbedAttention
    return term(node, strength=1.0, blocks="auto", rescale=0.0, **values)


def seg(**values):
    return term(nodes.terms.smoothed_energy.SmoothedEnergy, blocks="auto", rescale=0.0, **values)


def tpg(**values):
    return term(nodes.terms.token_perturbation.TokenPerturbation, blocks="auto", rescale=0.0, **values)


def skip_layer(scale):
    values = {"scale": scale, "blocks": "middle 0", "skip": "block", "start": 0.0, "end": 1.0, "rescale": 0.0}
    return patch(nodes.terms.skip_layer.SkipLayer, {"preset": "custom", **values})


def sag(**values):
    return term(nodes.terms.self_attention.SelfAttention, blur=2.0, **values)


def autoguidance(model, lab):
    return term(nodes.terms.autoguidance.Autoguidance, weak_model=lab.other, rescale=0.0)(model, lab)


def nag(scale):
    return against(nodes.negatives.nag.NormalizedAttention, scale, 0.0, 1.0, {"preset": "SD1.5, SDXL"})


def distilled_guidance(mode, value):
    return patch(nodes.conditions.distilled_guidance.DistilledGuidance, mode, value, 0.0, 1.0, 1.5, 3.5, "all")


def cads(scale):
    return patch(nodes.conditions.cads.ConditionAnnealing, scale, 0.6, 0.9, 1.0)


def adaptive(threshold):
    return patch(nodes.strength.adaptive_guidance.AdaptiveGuidance, threshold, 0.2, "eps")


def reuse(every):
    return patch(nodes.strength.uncond_reuse.UncondReuse, every, "auto", 0.2, 1.0)


def cfgpp(lam):
    return patch(nodes.strength.cfgpp.CFGPlusPlus, lam, 30.0)


def cfgpp_sampler(method, **options):
    return nodes.samplers.cfgpp_dpmpp.CFGPPSampler.execute("official", {"method": method, **options}).args[0]


def rectified_sampler(lam_max):
    return nodes.samplers.rectified_cfgpp.RectifiedCFGPP.execute(lam_max, 0.0, 0.5).args[0]


# ---- The rows

PLAIN = Way()
INTERVAL = Way(weight(7.0, 0.2, 0.8))


@dataclass(frozen=True)
class Node:
    """One row: `way` against plain CFG. `host` is the host's own way to the same; `off`: it must be free.

    `on`: which of the Lab's models it is measured on. One that changes blocks of the network is measured with it, on
    `model`, and its passes are part of its time.
    """

    name: str
    way: Way
    host: Way | None = None
    off: bool = False
    on: str = "idle"


NODES = (
    Node("plain CFG", PLAIN),
    Node("Scheduled CFG at the sampler's cfg", Way(weight(7.0)), off=True),
    Node("Scheduled CFG at the sampler's cfg, from a schedule", Way(weight(g.Linear(7.0, 7.0))), off=True),
    Node("Scheduled CFG at weight 1", Way(weight(1.0))),
    Node("Scheduled CFG, interval 0.2 to 0.8", INTERVAL),
    Node(
        "Negative Guidance, perpendicular",
        Way(negative("perpendicular", 1.0)),
        Way(guider=host_perp_neg_guider),
    ),
    Node("Negative Guidance, compose", Way(negative("compose", 1.0))),
    Node("Negative Guidance, partial 0.5", Way(negative("partial", 0.5))),
    Node("Negative Guidance, partial 1", Way(negative("partial", 1.0))),
    Node("Negative Guidance at weight 0", Way(negative("perpendicular", 0.0)), off=True),
    Node("Dynamic Thresholding, mimic", Way(threshold("mimic", 4.0))),
    Node("Dynamic Thresholding, imagen", Way(threshold("imagen", 4.0))),
    Node("Dynamic Thresholding at mimic = cfg", Way(threshold("mimic", 7.0)), off=True),
    Node("CFG++", Way(cfgpp(0.6)), Way(sampler="euler_cfg_pp", cfg=0.6)),
    Node(
        "CFG++ Sampler, DPM++ 2M",
        Way(sampler=cfgpp_sampler("DPM++ 2M"), cfg=0.6),
        Way(sampler="dpmpp_2m_cfg_pp", cfg=0.6),
    ),
    Node(
        "CFG++ Sampler, DPM++ 2S ancestral",
        Way(sampler=cfgpp_sampler("DPM++ 2S ancestral", eta=1.0, s_noise=1.0), cfg=0.6),
        Way(sampler="dpmpp_2s_ancestral_cfg_pp", cfg=0.6),
    ),
    Node("Rectified-CFG++ Sampler", Way(sampler=rectified_sampler(3.5))),
    Node("ADG", Way(adg("paper"))),
    Node("ADG, exact rotation", Way(adg("exact rotation"))),
    Node("ADG at strength 0", Way(adg("paper", strength=0.0)), off=True),
    Node("APG", Way(apg(eta=0.0, norm_threshold=5.0, momentum=0.0))),
    Node("APG with momentum", Way(apg(eta=0.0, norm_threshold=5.0, momentum=-0.5))),
    Node("Beta-CFG", Way(beta_cfg(2.0, 3.0))),
    Node("Beta-CFG without a density", Way(beta_cfg(1.0, 1.0))),
    Node("Ratio-Aware Guidance", Way(ratio_aware_node("RAAG"))),
    Node("CFG-Zero*", Way(zero_star(1))),
    Node("CFG-Zero* at strength 0", Way(zero_star(1, strength=0.0)), off=True),
    Node("TCFG", Way(tcfg(1.0)), Way(patch(comfy_extras.nodes_tcfg.TCFG))),
    Node("TCFG at strength 0", Way(tcfg(0.0)), off=True),
    Node("Rescale CFG", Way(rescale(0.7))),
    Node("Rescale CFG at phi 0", Way(rescale(0.0)), off=True),
    Node("EP-CFG", Way(energy("plain"))),
    Node("EP-CFG, robust", Way(energy("robust"))),
    Node("EP-CFG at strength 0", Way(energy("plain", strength=0.0)), off=True),
    Node("FDG", Way(frequency("FDG", low=0.5, high=1.0))),
    Node(
        "FreSca",
        Way(frequency("FreSca", low=1.0, high=1.25, cutoff=0.3)),
        Way(patch(comfy_extras.nodes_fresca.FreSca, 1.0, 1.25, 20)),
    ),
    Node("FDG with gains of 1", Way(frequency("FDG", low=1.0, high=1.0)), off=True),
    Node("Skimmed CFG, exact", Way(skimmed("exact"))),
    Node("Skimmed CFG, as published", Way(skimmed("as published"))),
    Node("Skimmed CFG at the sampler's cfg", Way(skimmed("exact", 7.0)), off=True),
    Node("PMC-CFG", Way(pmc(0.0))),
    Node("PMC-CFG with floor 1", Way(pmc(1.0)), off=True),
    Node("Momentum Guidance", Way(momentum(0.5))),
    Node("Momentum Guidance at alpha 0", Way(momentum(0.0)), off=True),
    Node("HiGS", Way(history(1.75))),
    Node("HiGS at weight 0", Way(history(0.0)), off=True),
    Node("SMC-CFG", Way(sliding(0.2))),
    Node("SMC-CFG, chatter-free", Way(sliding(0.2, chatter_free=True))),
    Node("SMC-CFG at gain 0", Way(sliding(0.0)), off=True),
    Node(
        "Norm Limit",
        Way(norm_limit("sample")),
        Way(patch(comfy_extras.nodes_lumina2.RenormCFG, 100.0, 1.0)),
    ),
    Node(
        "Norm Limit, pixel",
        Way(norm_limit("pixel")),
        Way(patch(comfy_extras.nodes_cfg.CFGNorm, 1.0)),
    ),
    Node("Norm Limit at strength 0", Way(norm_limit("sample", strength=0.0)), off=True),
    Node("TAG", Way(tag(1.15))),
    Node("TAG in a window", Way(tag(1.15, 0.2, 0.8))),
    Node("TAG at eta 1", Way(tag(1.0)), off=True),
    Node(
        "Epsilon Scaling",
        Way(epsilon_scaling(1.005)),
        Way(patch(comfy_extras.nodes_eps.EpsilonScaling, 1.005)),
    ),
    Node("Epsilon Scaling at 1", Way(epsilon_scaling(1.0)), off=True),
    Node(
        "TSR",
        Way(tsr(0.95)),
        Way(patch(comfy_extras.nodes_eps.TemporalScoreRescaling, 0.95, 1.0)),
    ),
    Node("TSR at k 1", Way(tsr(1.0)), off=True),
    Node("Negative Guidance, not", Way(negative("not", 0.5))),
    Node("Contrastive CFG", Way(contrastive(1.0))),
    Node("Contrastive CFG at strength 0", Way(contrastive(0.0)), off=True),
    Node("Dynamic Negative Guidance", Way(dynamic_negative(5.0))),
    Node("Dynamic Negative Guidance at weight 0", Way(dynamic_negative(0.0)), off=True),
    Node("Safe Latent Diffusion, medium", Way(safe_latent("medium", 1.0))),
    Node("Safe Latent Diffusion at strength 0", Way(safe_latent("medium", 0.0)), off=True),
    Node("PAG at scale 0", Way(pag(scale=0.0)), off=True),
    Node(
        "PAG, with its passes",
        Way(pag()),
        Way(patch(comfy_extras.nodes_pag.PerturbedAttentionGuidance, 3.0)),
        on="model",
    ),
    Node("SEG, with its passes", Way(seg(blur=10000.0)), on="model"),
    Node("SEG at blur 0", Way(seg(blur=0.0)), off=True),
    Node("TPG, with its passes", Way(tpg()), on="model"),
    Node("TPG at scale 0", Way(tpg(scale=0.0)), off=True),
    Node("Skip Layer Guidance, with its passes", Way(skip_layer(1.0)), on="model"),
    Node("Skip Layer Guidance at scale 0", Way(skip_layer(0.0)), off=True),
    Node(
        "SAG, with its passes",
        Way(sag(scale=0.5)),
        Way(patch(comfy_extras.nodes_sag.SelfAttentionGuidance, 0.5, 2.0)),
        on="model",
    ),
    Node("Autoguidance, with its passes", Way(autoguidance), on="model"),
    Node("NAG, with its attentions", Way(nag(3.0)), on="model"),
    Node("NAG at scale 1", Way(nag(1.0)), off=True),
    Node("Distilled Guidance, schedule", Way(distilled_guidance("schedule", g.Linear(5.0, 2.0))), on="distilled"),
    Node("Distilled Guidance, two passes", Way(distilled_guidance("two passes", 7.0), cfg=1.0), on="distilled"),
    Node("CADS", Way(cads(0.25))),
    Node("CADS at scale 0", Way(cads(0.0)), off=True),
    Node("Adaptive Guidance, 0.9999", Way(adaptive(0.9999))),
    Node("Adaptive Guidance at threshold 1", Way(adaptive(1.0)), off=True),
    Node("Uncond Reuse, every 2", Way(reuse(2))),
    Node("Uncond Reuse at every 1", Way(reuse(1)), off=True),
    Node(
        "interval + negative + ADG + imagen",
        Way(chain(INTERVAL.patch, negative("perpendicular", 1.0), adg("paper"), threshold("imagen", 4.0))),
    ),
)
