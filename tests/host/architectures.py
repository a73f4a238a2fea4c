"""Tiny configurations of the host's own classes, for `tiny.architecture` to make random models of."""

import comfy.ldm.audio.embedders
import comfy.supported_models
import torch

WIDTH = 64
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1],
    "context_dim": WIDTH,
    "num_heads": 4,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
    "legacy": False,
}


def without_a_middle():
    """A UNet with attention everywhere but in its middle, as in some distilled ones."""
    return comfy.supported_models.SD15({**UNET, "transformer_depth_middle": -1})


def sd2():
    """SD2's UNet, which predicts v: the host tells by the spread of a bias, in `hints`."""
    config = comfy.supported_models.SD20({**UNET, "use_linear_in_transformer": True})
    config.unet_config["num_head_channels"] = 16  # which the host sets to 64
    return config


def sdxl():
    """SDXL's UNet, to which the pooled text and the sizes of the picture are one vector."""
    sizes = {"use_linear_in_transformer": True, "num_heads": -1, "num_head_channels": 16}
    deeper = {"transformer_depth": [0, 2], "transformer_depth_middle": 2, "transformer_depth_output": [0, 0, 2, 2]}
    vector = {"num_classes": "sequential", "adm_in_channels": 8 + 6 * 256}
    return comfy.supported_models.SDXL({**UNET, **sizes, **deeper, **vector})


def dit():
    """SD3's transformer: 4-D latents of a flow model."""
    embedder = {"target": "torch.nn.Linear", "params": {"in_features": WIDTH, "out_features": 64}}
    shape = {"in_channels": 16, "depth": 1, "num_blocks": 3, "input_size": None}
    embedding = {"context_embedder_config": embedder, "adm_in_channels": 8}
    return comfy.supported_models.SD3({**shape, **embedding})


def flux():
    """Flux's transformer, which reads a number for the guidance that was distilled into it."""
    size = {"hidden_size": 64, "num_heads": 2, "axes_dim": [8, 12, 12], "mlp_ratio": 2.0, "theta": 10000}
    depth = {"depth": 1, "depth_single_blocks": 1, "patch_size": 2, "in_channels": 16, "out_channels": 16}
    text = {"context_in_dim": WIDTH, "vec_in_dim": 8, "txt_ids_dims": [], "qkv_bias": True}
    return comfy.supported_models.Flux({"image_model": "flux", "guidance_embed": True, **size, **depth, **text})


def schnell():
    """The same without an embedding for guidance."""
    return comfy.supported_models.FluxSchnell({**flux().unet_config, "guidance_embed": False})


def video():
    """Wan's transformer: 5-D latents of a flow model."""
    size = {"dim": 64, "ffn_dim": 64, "num_heads": 2, "num_layers": 2, "text_dim": WIDTH, "freq_dim": 32}
    return comfy.supported_models.WAN21_T2V({"image_model": "wan2.1", "model_type": "t2v", **size})


def video_from_picture():
    """The same, made to begin with a picture, which it also reads beside its text."""
    own = {"model_type": "i2v", "in_dim": 36, "image_model": "wan2.1"}
    return comfy.supported_models.WAN21_I2V({**video().unet_config, **own})


def audio():
    """Stable Audio's transformer: 3-D latents of a v model."""
    return comfy.supported_models.StableAudio(
        {"audio_model": "dit1.0", "embed_dim": 64, "num_heads": 1, "depth": 2, "project_cond_tokens": True}
    )


def packed():
    """LTX's transformer for a video with its sound: two latents, packed into one."""
    video = {"cross_attention_dim": 64, "attention_head_dim": 32, "num_attention_heads": 2}
    sound = {"audio_cross_attention_dim": 64, "audio_attention_head_dim": 32, "audio_num_attention_heads": 2}
    connector = {"connector_num_layers": 1, "connector_attention_head_dim": 32, "connector_num_attention_heads": 2}
    size = {"num_layers": 2, "caption_channels": WIDTH, **connector}
    return comfy.supported_models.LTXAV({"image_model": "ltxav", **video, **sound, **size})


ROPE = {"axes_dim": [8, 12, 12], "theta": 10000, "qkv_bias": True}
SMALL = {"hidden_size": 64, "num_heads": 2, "mlp_ratio": 2.0, "depth": 2, "depth_single_blocks": 2, **ROPE}
TEXTS = {"context_in_dim": 64, "vec_in_dim": 8, "txt_ids_dims": []}


def chroma():
    """Chroma's transformer, Flux's without a pooled text."""
    size = {"in_channels": 64, "out_channels": 64, "patch_size": 2, "in_dim": 64, "out_dim": 64, "hidden_dim": 64}
    return comfy.supported_models.Chroma({"image_model": "chroma", **SMALL, **TEXTS, **size, "n_layers": 1})


def qwen():
    """Qwen-Image's transformer."""
    size = {"num_layers": 2, "attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": 64}
    return comfy.supported_models.QwenImage({"image_model": "qwen_image", "axes_dims_rope": (8, 12, 12), **size})


def hunyuan():
    """HunyuanVideo's transformer, which refines its text."""
    size = {"in_channels": 16, "out_channels": 16, "patch_size": [1, 2, 2], "guidance_embed": False}
    off = {"byt5": False, "meanflow": False, "use_cond_type_embedding": False, "vision_in_dim": None}
    texts = {"context_in_dim": 64, "vec_in_dim": 8, "meanflow_sum": False}
    return comfy.supported_models.HunyuanVideo({"image_model": "hunyuan_video", **SMALL, **texts, **size, **off})


def lumina():
    """Lumina 2's transformer, one sequence of text and picture."""
    size = {"dim": 64, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 1, "patch_size": 2}
    rope = {"axes_dims": [8, 12, 12], "axes_lens": [300, 512, 512], "in_channels": 16}
    text = {"cap_feat_dim": WIDTH, "qk_norm": True}
    return comfy.supported_models.Lumina2({"image_model": "lumina2", **text, **size, **rope})


def z_image():
    """The same as Z-Image has it, with texts padded to multiples."""
    own = {"z_image_modulation": True, "pad_tokens_multiple": 4, "time_scale": 1000.0}
    own |= {"dim": 256, "n_heads": 8, "n_kv_heads": 8}
    return comfy.supported_models.ZImage({**lumina().unet_config, **own})


def cosmos():
    """The transformer of Cosmos Predict 2 and Anima."""
    size = {"max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16, "out_channels": 16}
    depth = {"model_channels": 64, "num_blocks": 2, "num_heads": 2, "patch_spatial": 2, "patch_temporal": 1}
    rest = {"crossattn_emb_channels": WIDTH, "concat_padding_mask": True, "use_adaln_lora": True, "adaln_lora_dim": 16}
    rope = {"pos_emb_cls": "rope3d", "pos_emb_learnable": True, "pos_emb_interpolation": "crop"}
    return comfy.supported_models.CosmosT2IPredict2({"image_model": "cosmos_predict2", **size, **depth, **rest, **rope})


def ltx():
    """LTX's transformer for a video without sound."""
    size = {"cross_attention_dim": 64, "attention_head_dim": 32, "num_attention_heads": 2, "num_layers": 2}
    return comfy.supported_models.LTXV({"image_model": "ltxv", "caption_channels": WIDTH, **size})


def hints():
    """The weights of a checkpoint that the host wants to see before it makes a model."""
    seconds = comfy.ldm.audio.embedders.NumberConditioner(768, min_val=0, max_val=512).state_dict()
    names = ("seconds_start", "seconds_total")
    audio = {f"conditioner.conditioners.{name}.{key}": v for name in names for key, v in seconds.items()}
    return {**audio, "output_blocks.11.1.transformer_blocks.0.norm1.bias": torch.tensor([-1.0, 1.0])}
