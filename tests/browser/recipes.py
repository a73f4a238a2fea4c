"""The recipes of example_workflows/: a new method is a new one here."""

from .graphs import Node
from .pieces import (
    FLUX,
    SD3,
    azimuth,
    checkpoint,
    chroma,
    described,
    picture,
    sampled_by,
    schedule,
    side_by_side,
    text,
    two_passes,
    unchanged,
)

RECIPES = {
    "scheduled_cfg": lambda: picture(
        "Scheduled CFG",
        "The weight rises from 2 to 12 over the run: loose composition first, firm detail last. Choose "
        "another shape in Guidance Schedule, or unlink it and type one number.",
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("linear", first=2.0, last=12.0)),
        "a quiet harbour at sunrise, fishing boats, mist over the water, oil painting",
        cfg=7.0,
    ),
    "guidance_interval": lambda: picture(
        "Guidance interval",
        "Guidance acts from 15 % to 75 % of the run and is off elsewhere, which keeps variety and skips four "
        "in ten negative passes. Inside the interval the weight can be higher than usual: try 8 to 12.",
        lambda load: azimuth("ScheduledCFG", load, scale=9.0, start=0.15, end=0.75),
        "a red fox resting in fresh snow, morning light, wildlife photograph",
        cfg=7.0,
    ),
    "compress_guidance": lambda: picture(
        "Compress Guidance",
        "Four steps in ten are guided, at a weight raised so that the mean over the run stays 4; the others make no "
        "negative pass. If the picture burns, add APG, or raise share; a larger exponent puts most of them first.",
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("compressed", scale=4.0, share=0.4, exponent=1.0)),
        "an otter floating on its back among kelp, overcast light, wildlife photograph",
        cfg=4.0,
        steps=30,
    ),
    "flow_sd3_c2fg_schedule": lambda: picture(
        "C2FG",
        "The weight grows exponentially as the noise falls: 3 at pure noise, 6.7 where none is left. Raise rate for "
        "more detail at the same layout; rate 0 is the constant 3.",
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("exponential", scale=3.0, rate=0.8)),
        "an apothecary's cabinet with labelled drawers and dried herbs, window light, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    "flow_sd3_cfg_truncation": lambda: picture(
        "CFG truncation",
        "Guidance decides the layout in the first 40 % of the steps and is off after them: six negative passes in ten "
        "are saved. Raise end if details drift from the prompt; the model card of Lumina 2 takes 0.25.",
        lambda load: azimuth(
            "ScheduledCFG", load, scale=schedule("interval", inside=4.5, outside=1.0, start=0.0, end=0.4)
        ),
        "a row of beach huts under a thundercloud, wet sand with reflections, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    "negative_guidance": lambda: picture(
        "Negative Guidance, two chained",
        "Each further negative has its own weight and window, so one strong word does not weaken the others. "
        "Perpendicular mode removes only what the prompt itself does not ask for; the second begins after a "
        "fifth of the run.",
        lambda load: azimuth(
            "NegativeGuidance",
            azimuth(
                "NegativeGuidance",
                load,
                negative=text(load.out(1), "bananas, citrus", "First further negative"),
            ),
            negative=text(load.out(1), "plastic, glossy, studio flash", "Second further negative"),
            weight=0.7,
            start=0.2,
        ),
        "a bowl of fruit on a wooden table, soft window light, still life photograph",
        cfg=7.0,
    ),
    "negative_prompt_presets": lambda: picture(
        "Negative Prompt Presets",
        "Write your own negative text, choose the kind of picture and edit its list; the joined text goes to "
        "the negative prompt. Choosing a preset again restores its list.",
        unchanged,
        "portrait of an old fisherman with a white beard, soft window light, photograph",
        Node("AzimuthNegativePrompt", {"text": "hat", "preset": "photographic portrait"}, size=(400, 320)),
        cfg=6.0,
    ),
    "dynamic_thresholding": lambda: picture(
        "Dynamic Thresholding",
        "The prompt is followed at cfg 15 while the contrast stays that of cfg 6. If the picture still looks "
        "burnt, lower mimic_scale; if it looks flat, raise the percentile to 1.",
        lambda load: azimuth("DynamicThresholding", load, mimic_scale=6.0),
        "a stained glass window with a blue heron among reeds, sunlight falling through",
        cfg=15.0,
    ),
    "cfg_plus_plus": lambda: picture(
        "CFG++",
        "Lambda runs from 0 to 1 and takes the place of cfg, whose number is ignored; 0.6 is about cfg 7.5. "
        "It is exact with euler, ddim and euler_ancestral, so keep one of them.",
        lambda load: azimuth("CFGPlusPlus", load, lam=0.6),
        "a paper boat on a rain puddle, reflections of street lamps, close-up photograph",
        cfg=7.0,
        sampler_name="euler",
        scheduler="normal",
        steps=30,
    ),
    "angle_domain_guidance": lambda: picture(
        "Angle Domain Guidance (ADG)",
        "The weight turns the prediction instead of stretching it, so cfg 10 keeps natural colours. Lower "
        "max_angle for a gentler picture; exact rotation also keeps the contrast of weight 1.",
        lambda load: azimuth("AngleDomain", load),
        "a market street in the rain at night, neon signs, umbrellas, cinematic photograph",
        cfg=10.0,
    ),
    "adaptive_projected_guidance": lambda: picture(
        "Adaptive Projected Guidance (APG)",
        "The part of the update that only raises the saturation is left out, so cfg 12 keeps natural colours. The "
        "preset is the paper's for SDXL; other models have their own, or choose custom.",
        lambda load: azimuth("APG", load, preset="SDXL"),
        "a hot air balloon festival above a valley at dawn, colourful fabric, photograph",
        cfg=12.0,
    ),
    "beta_cfg": lambda: picture(
        "Beta-CFG",
        "The update is divided by its own norm and the weight rises and falls over the run, so no step is pushed much "
        "harder than another. If the picture is soft, raise reference; if it is burnt, lower it.",
        lambda load: azimuth("BetaCFG", load, form="normalised (ours)"),
        "a blue tit on a mossy branch in the rain, shallow depth of field, wildlife photograph",
        cfg=7.0,
    ),
    "ratio_aware_guidance": lambda: picture(
        "Ratio-Aware Guidance (RAAG, MAMBO-G)",
        "Flow models are pushed too hard in their first steps. The weight starts low there and reaches 10 later, so "
        "that few steps suffice. It takes the place of the sampler's cfg, which only has to differ from 1.",
        lambda load: azimuth("RatioAware", load, preset="MAMBO-G"),
        "an old tram climbing a steep street by the sea, golden hour, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=20,
    ),
    "flow_sd3_cfg_zero_star": lambda: picture(
        "CFG-Zero*",
        "Guides away from as much of the negative as the positive shares, and leaves the latent as it is in the "
        "first step, where a flow model is least sure. Keep a sampler that adds no noise, such as euler.",
        lambda load: azimuth("CFGZeroStar", load, zero_init_steps=1),
        "a lighthouse keeper reading by an oil lamp, storm outside the window, oil painting",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    "tangential_damping_cfg": lambda: picture(
        "Tangential Damping CFG (TCFG)",
        "What the negative does not share with the positive is taken out of it before guidance. Nothing to tune; "
        "it combines with any rule, so add ADG or APG after it for a higher cfg.",
        lambda load: azimuth("TangentialCFG", load),
        "a tabby cat asleep on a stack of old atlases, dust in the sunlight, photograph",
        cfg=5.0,
    ),
    "rescale_cfg": lambda: picture(
        "Rescale CFG (Azimuth)",
        "The guided prediction gets the spread of the positive one, so cfg 10 does not burn. Raise phi for a calmer "
        "picture, lower it if greys look flat.",
        lambda load: azimuth("RescaleCFG", load, phi=0.7),
        "an iceberg under the midnight sun, calm sea, wide angle photograph",
        cfg=10.0,
    ),
    "energy_preserving_guidance": lambda: picture(
        "Energy-Preserving Guidance (EP-CFG)",
        "The network's guided prediction keeps the norm of the positive one, whatever the cfg. Try robust if small "
        "bright spots set the contrast of the whole picture.",
        lambda load: azimuth("EnergyPreserving", load),
        "a narrow street of blue houses with clay pots and bougainvillea, noon light, photograph",
        cfg=10.0,
    ),
    "frequency_decoupled_guidance": lambda: picture(
        "Frequency-Decoupled Guidance (FDG)",
        "Fine detail is guided at cfg 10, layout and colour at half of it: the paper's weights for SDXL. Lower low for "
        "calmer colours, raise high for more detail; FreSca in the same node splits the spectrum sharply.",
        lambda load: azimuth("Frequency", load, **{"mode": "FDG", "mode.low": 0.5, "mode.high": 1.0}),
        "a watchmaker's bench with tiny gears and springs, macro photograph, warm light",
        cfg=10.0,
    ),
    "skimmed_cfg": lambda: picture(
        "Skimmed CFG",
        "The values that cfg 12 would drive furthest out get the weight 4, the others keep 12. If the picture still "
        "looks burnt, lower skim_scale; as published does what the original node does.",
        lambda load: azimuth("SkimmedCFG", load, skim_scale=4.0),
        "a parade of paper dragons in a narrow old street, lanterns, confetti, photograph",
        cfg=12.0,
    ),
    "norm_capped_guidance": lambda: picture(
        "Norm-Capped Guidance (PMC-CFG)",
        "Each step uses as much of cfg 9 as keeps the prediction within 1.1 times its norm: little at first, all of it "
        "later. If the layout drifts from the prompt, raise floor.",
        lambda load: azimuth("PMC", load, gamma=1.1, floor=0.2),
        "a wooden rowing boat on a still alpine lake, reflections, early autumn, photograph",
        cfg=9.0,
    ),
    "momentum_guidance": lambda: picture(
        "Momentum Guidance (MG)",
        "Each prediction is moved on in the direction in which it has been changing, which sharpens a short run of "
        "euler and costs nothing. If edges harden, lower alpha; it also works at cfg 1 without a negative.",
        lambda load: azimuth("MomentumGuidance", load, alpha=0.5),
        "a clockmaker's workbench, brass gears and loupes, warm lamp light, macro photograph",
        **SD3,
        sampler_name="euler",
        cfg=3.5,
        steps=18,
    ),
    "history_guidance": lambda: picture(
        "History Guidance (HiGS)",
        "The detail that is new against the steps before is amplified, so a low cfg and few steps come out crisp. Keep "
        "to samplers such as euler; with dpmpp_2m and its kin use a weight of 0.5 at most.",
        lambda load: azimuth("HiGS", load, weight=1.75),
        "a fern forest after rain, a wooden footbridge, soft green light, photograph",
        cfg=4.0,
        sampler_name="euler",
        scheduler="normal",
        steps=20,
    ),
    "sliding_mode_guidance": lambda: picture(
        "Sliding Mode Guidance (SMC-CFG)",
        "The difference between the two predictions is pushed towards zero from step to step, which holds a high cfg "
        "back. On flow models the paper's absolute gain can be chosen; if you see grain, switch on chatter_free.",
        lambda load: azimuth("SMC", load, gain=0.2, gain_unit="absolute, flow only"),
        "a red tram climbing a steep street between tiled houses, morning haze, photograph",
        **SD3,
        sampler_name="euler",
        cfg=7.5,
        steps=28,
    ),
    "guidance_norm_limit": lambda: picture(
        "Guidance Norm Limit",
        "At cfg 12 the guided prediction is scaled back to the length of the positive one, so the prompt is followed "
        "closely and the colours stay. Raise the limit to 1.2 for more contrast, or limit every pixel by itself.",
        lambda load: azimuth("NormLimit", load, limit=1.0, scope="sample"),
        "a parrot on a wet branch in the rainforest, shallow depth of field, photograph",
        cfg=12.0,
    ),
    "tangential_amplifying_guidance": lambda: picture(
        "Tangential Amplifying Guidance (TAG)",
        "Every step keeps the part that removes noise and takes the rest 1.2 times as far, the paper's number for "
        "SDXL. It also works at cfg 1 and on distilled models; use 1.15 for SD1.5 and 1.05 for SD3.",
        lambda load: azimuth("TAG", load, eta=1.2),
        "a violin maker at her workbench, hands and tools in focus, warm lamp, photograph",
        cfg=6.0,
        sampler_name="euler",
    ),
    "epsilon_scaling": lambda: picture(
        "Epsilon Scaling",
        "A little less noise is taken away at every step, which brings out texture. Stay between 1.004 and 1.02: more "
        "shows as grain, and more steps want less of it.",
        lambda load: azimuth("EpsilonScaling", load, scale=1.01),
        "close-up of weathered oak bark with moss and lichen, overcast light, photograph",
        cfg=6.0,
    ),
    "temporal_score_rescaling": lambda: picture(
        "Temporal Score Rescaling (TSR)",
        "A k below 1 samples from a broader distribution than the model's and shows more detail, a k above 1 smooths. "
        "A larger data_sigma acts earlier in the run.",
        lambda load: azimuth("TSR", load, k=0.95, data_sigma=1.0),
        "an old town on a hillside above the sea, many roofs and windows, clear afternoon, photograph",
        cfg=6.0,
    ),
    "negative_guidance_not": lambda: picture(
        "Negative Guidance, NOT",
        "The prompt AND NOT the further negative: weight 0.5 is half as strong as the prompt at every step, so it "
        "follows the falling cfg. Raise it towards 1 where the word still shows.",
        lambda load: azimuth(
            "NegativeGuidance",
            azimuth("ScheduledCFG", load, scale=schedule("linear", first=9.0, last=4.0)),
            negative=text(load.out(1), "people, crowd", "Further negative"),
            mode="not",
            weight=0.5,
        ),
        "a seaside promenade with striped deck chairs on a summer afternoon, photograph",
        cfg=7.0,
    ),
    "contrastive_cfg": lambda: picture(
        "Contrastive CFG (CCFG)",
        "The further negative repels while it is close and lets go once it is far off. The prompt counts up to twice, "
        "so the cfg is half the usual one, and the sampler's negative stays empty.",
        lambda load: azimuth(
            "ContrastiveCFG",
            load,
            negative=text(load.out(1), "cars, traffic", "Further negative"),
            tau=100.0,
            norm="mean (ours)",
        ),
        "a narrow street in an old town with balconies full of flowers, morning sun, photograph",
        "",
        cfg=3.5,
    ),
    "dynamic_negative_guidance": lambda: picture(
        "Dynamic Negative Guidance (DNG)",
        "The further negative all but sleeps until the picture begins to look like it, and then pushes as hard as is "
        "needed. Keep a sampler that adds noise, such as euler_ancestral, and raise prior if it wakes too late.",
        lambda load: azimuth("DynamicNegative", load, negative=text(load.out(1), "sheep", "Further negative")),
        "a green pasture on a hillside with an old stone wall, drifting clouds, photograph",
        cfg=6.0,
        sampler_name="euler_ancestral",
        scheduler="normal",
        steps=30,
    ),
    "safe_latent_diffusion": lambda: picture(
        "Safe Latent Diffusion (SLD)",
        "The concept is kept out only where the latent leans towards it, and only after the first fifth of the run, so "
        "the composition stays. Take weak for a hint of it, max where nothing of the concept may be left.",
        lambda load: azimuth(
            "SafeLatent",
            load,
            negative=text(load.out(1), "blood, violence, weapons, nudity", "Concept to keep away from"),
            preset="strong",
        ),
        "a knight resting in a sunlit clearing after the battle, oil painting",
        cfg=7.0,
    ),
    "perturbed_attention_guidance": lambda: picture(
        "Perturbed-Attention Guidance (PAG)",
        "Each step asks once more with the attention of the middle block switched off, and moves away from that: "
        "clearer shapes at a moderate cfg. With cfg 1 it works alone, at the price of a plain run.",
        lambda load: azimuth("PerturbedAttention", load, scale=3.0),
        "a wrought iron greenhouse full of ferns, overcast light, architectural photograph",
        cfg=4.0,
    ),
    "smoothed_energy_guidance": lambda: picture(
        "Smoothed Energy Guidance (SEG)",
        "The attention of the middle block is blurred instead of switched off, which is gentler than PAG. Lower blur "
        "towards 1 for less, raise scale for more.",
        lambda load: azimuth("SmoothedEnergy", load, scale=3.0),
        "a violin maker at work, wood shavings, warm window light, photograph",
        cfg=4.0,
    ),
    "token_perturbation_guidance": lambda: picture(
        "Token Perturbation Guidance (TPG)",
        "Each step asks once more with parts of the picture in each other's places, and moves away from that: a firmer "
        "composition at a moderate cfg. With cfg 1 it works alone, at the price of a plain run.",
        lambda load: azimuth("TokenPerturbation", load, scale=2.0),
        "a harbour town on a steep hillside, boats below, early morning, gouache",
        cfg=4.0,
    ),
    "self_attention_guidance": lambda: picture(
        "Self-Attention Guidance (SAG)",
        "What the model looks at most is blurred and shown to it again, and the difference sharpens detail there. "
        "0.5 to 0.75 is enough.",
        lambda load: azimuth("SelfAttention", load, scale=0.6),
        "a snow leopard on a ledge, falling snow, telephoto photograph",
        cfg=5.0,
    ),
    "autoguidance": lambda: picture(
        "Autoguidance",
        "A worse model of the same family answers the same prompt, and the picture moves away from what it gets wrong. "
        "Use an earlier or smaller model of yours as the weaker one, and lower cfg.",
        lambda load: azimuth("Autoguidance", load, weak_model=checkpoint("sd_xl_base_0.9.safetensors"), scale=0.8),
        "a cabinet of curiosities, shells and minerals, museum photograph",
        "blurry, low quality",
        cfg=3.0,
    ),
    "flow_flux_distilled_guidance": lambda: picture(
        "Distilled Guidance on Flux-dev",
        "Two passes at embedded guidance 1.5 and 3.5 stand in for a positive and a negative one, so Angle Domain "
        "Guidance acts on Flux-dev at cfg 1. They are made in the first 60 % of the run; mode schedule costs no pass "
        "at all.",
        lambda load: azimuth(
            "AngleDomain", azimuth("DistilledGuidance", load, mode="two passes", guidance=5.0, start=0.0, end=0.6)
        ),
        "an old sailor mending a net on a wooden pier, overcast morning, documentary photograph",
        "",
        **FLUX,
        sampler_name="euler",
        cfg=1.0,
        steps=20,
    ),
    "flow_flux_normalized_attention_guidance": lambda: picture(
        "Normalized Attention Guidance (NAG) on Flux-dev",
        "A negative prompt at cfg 1: what the picture reads in the prompt is pushed away from what it would read in "
        "the negative. Raise scale for more of it; a step takes about twice as long while it acts.",
        lambda load: azimuth(
            "NAG", load, negative=text(load.out(1), "glasses, hat", "What to keep away from"), scale=5.0, end=0.8
        ),
        "a watchmaker at his bench, portrait, window light, documentary photograph",
        "",
        **FLUX,
        sampler_name="euler",
        cfg=1.0,
        steps=20,
    ),
    "condition_annealing": lambda: picture(
        "Condition Annealing (CADS)",
        "Noise on the prompts in the first steps lets the layout differ more from seed to seed. Change the seed to see "
        "it; a larger tau1 brings the prompt back.",
        lambda load: azimuth("CADS", load, scale=0.25),
        "a cabin by a lake in autumn, oil painting",
        cfg=8.0,
    ),
    "cfg_plus_plus_sampler": lambda: picture(
        "CFG++ with DPM++ 2M",
        "The guider's cfg is lambda here, 0.4 to 0.8: 0.6 is about cfg 7.5. For pictures that stay as they are from "
        "one number of steps to another use a plain cfg instead: with CFG++ more steps mean more guidance.",
        unchanged,
        "a fox asleep among fallen leaves, macro photograph, soft light",
        sample=sampled_by("AzimuthCFGPPSampler", method="DPM++ 2M", form="official"),
        cfg=0.6,
        scheduler="karras",
        steps=25,
    ),
    "adaptive_guidance": lambda: picture(
        "Adaptive Guidance",
        "The negative pass is left out once it says the same as the positive one, so the end of the run goes up "
        "to twice as fast. The log says how many passes were skipped; lower the threshold to skip more.",
        lambda load: azimuth("AdaptiveGuidance", load),
        "a narrow gauge steam train crossing a stone viaduct in autumn, aerial photograph",
        cfg=7.0,
        steps=30,
    ),
    "uncond_reuse": lambda: picture(
        "Uncond Reuse",
        "From a fifth of the run on, only every other step predicts the negative; between them its last difference to "
        "the prompt is used again, at the full weight. every 3 is faster still; compare it with every 1, which is off.",
        lambda load: azimuth("UncondReuse", load, every=2),
        "a lighthouse on a basalt cliff at dusk, waves breaking, photograph",
        cfg=7.0,
        steps=30,
    ),
    "guidance_report": lambda: picture(
        "Guidance Report",
        "The report lists what the MODEL will do and the weight of every step, before you trust a picture to "
        "it. Set its cfg, steps and scheduler to those of the sampler.",
        lambda load: azimuth(
            "AngleDomain",
            azimuth("ScheduledCFG", load, scale=schedule("interval", inside=9.0, outside=1.0, start=0.1, end=0.8)),
        ),
        "an observatory on a hill under the milky way, long exposure photograph",
        cfg=7.0,
        more=described(7.0),
    ),
    "stack_schedule_adg_thresholding": two_passes,
    "flow_sd3_scheduled_cfg": lambda: picture(
        "Flow model, SD3 class",
        "Flow models want lower weights, 3.5 to 5, and gain most from leaving out the very first and the "
        "last steps. Inside that interval Angle Domain Guidance keeps the colours calm.",
        lambda load: azimuth(
            "AngleDomain",
            azimuth(
                "ScheduledCFG",
                load,
                scale=schedule("interval", inside=5.0, outside=1.0, start=0.05, end=0.85),
            ),
        ),
        "a glass teapot with blooming tea on a linen cloth, bright kitchen, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    "flow_sd3_skip_layer_guidance": lambda: picture(
        "Skip Layer Guidance on SD3.5",
        "Blocks 7 to 9 are left out in one more pass during the first fifth of the run, which is meant for hands "
        "and bodies. The presets begin with the numbers for other models: STG for video, S2 for any.",
        lambda load: azimuth("SkipLayer", load, preset="SLG: SD3.5 medium"),
        "a dancer leaping on an empty stage, side light, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    "flow_sd3_rectified_cfgpp": lambda: picture(
        "Rectified-CFG++",
        "Each step follows the positive alone and is corrected by guidance that is measured half a step ahead: three "
        "passes. lam_max takes the place of the guider's cfg, which is not used; 3 is about cfg 4.",
        unchanged,
        "a hand-painted sign that says OPEN above the door of a small bakery, morning light, photograph",
        sample=sampled_by("AzimuthRectifiedCFGPP", lam_max=3.0, gamma=0.0, fraction=0.5),
        **SD3,
        cfg=4.0,
        steps=20,
    ),
    "flow_chroma_negative_guidance": chroma,
    "lab_ve_side_by_side": lambda: side_by_side("ve", "karras", "EDM model"),
    "lab_flow_side_by_side": lambda: side_by_side("flow", "simple", "flow model"),
}
