"""A workflow as nodes that name their inputs, and the plan by which the front-end builds it."""

from specimens.kinds import Node, Recipe

FILES = {  # for each loader its widget and the folder of its files
    "CheckpointLoaderSimple": ("ckpt_name", "checkpoints"),
    "UNETLoader": ("unet_name", "diffusion_models"),
    "CLIPLoader": ("clip_name", "text_encoders"),
    "VAELoader": ("vae_name", "vae"),
}
HUB = "https://huggingface.co/{}/resolve/main/{}"
WHERE = {  # where the front-end offers to fetch a file from
    "sd_xl_base_1.0.safetensors": ("stabilityai/stable-diffusion-xl-base-1.0", ""),
    "sd_xl_base_0.9.safetensors": ("stabilityai/stable-diffusion-xl-base-0.9", ""),
    "sd3.5_large_fp8_scaled.safetensors": ("Comfy-Org/stable-diffusion-3.5-fp8", ""),
    "flux1-dev-fp8.safetensors": ("Comfy-Org/flux1-dev", ""),
    "Chroma1-HD-fp8mixed.safetensors": ("Comfy-Org/Chroma1-HD_repackaged", "split_files/diffusion_models/"),
    "t5xxl_fp8_e4m3fn_scaled.safetensors": ("comfyanonymous/flux_text_encoders", ""),
    "ae.safetensors": ("Comfy-Org/Lumina_Image_2.0_Repackaged", "split_files/vae/"),
}


def link(value):
    """Source node and output of an input's value, or None for a plain value."""
    if isinstance(value, Node):
        return value, 0
    return value if isinstance(value, tuple) and isinstance(value[0], Node) else None


def sources(node: Node) -> list[Node]:
    return [found[0] for value in node.inputs.values() if (found := link(value))]


def in_order(ends: tuple[Node, ...]) -> list[Node]:
    """All nodes, each after those that it needs."""
    found: dict[Node, None] = {}

    def visit(node: Node) -> None:
        for source in sources(node):
            visit(source)
        found.setdefault(node)

    for end in ends:
        visit(end)
    return list(found)


def columns(nodes: list[Node]) -> dict[Node, int]:
    """For each node its column: next to the first node that needs it, and all loaders at the left."""
    depth: dict[Node, int] = {}
    for node in nodes:
        depth[node] = max((depth[source] + 1 for source in sources(node)), default=0)
    for node in nodes:
        if node.row is not None and not any(node in sources(other) for other in nodes):
            depth[node] = max(depth.values())
    for node in reversed(nodes):
        for source in sources(node):
            if source.kind in (*FILES, "AzimuthLabLoader"):
                continue
            needed_by = [depth[other] for other in nodes if source in sources(other)]
            depth[source] = min(needed_by) - 1
    return depth


def height(node: Node) -> int:
    """What stands at the top of its column: loaders, then our nodes, then samplers, then the rest."""
    tops = (
        lambda kind: kind in FILES,
        lambda kind: kind.startswith("Azimuth"),
        lambda kind: "Sampler" in kind,
    )
    return next((index for index, is_kind in enumerate(tops) if is_kind(node.kind)), len(tops))


def plan(recipe: Recipe) -> list[dict]:
    """What BUILD needs to know, node by node."""
    nodes = sorted(in_order(recipe.ends), key=height)
    place = columns(in_order(recipe.ends))
    number = {node: index for index, node in enumerate(nodes)}
    note = Node("MarkdownNote", {"": f"## {recipe.heading}\n\n{recipe.advice}"}, "About this workflow", (380, 190))
    return [
        {
            "kind": node.kind,
            "title": node.title,
            "size": node.size,
            "row": node.row,
            "column": place.get(node, 0),
            "models": models(node),
            "values": [[name, value] for name, value in node.inputs.items() if not link(value)],
            "links": [
                [name, number[found[0]], found[1]] for name, value in node.inputs.items() if (found := link(value))
            ],
        }
        for node in [*nodes, note]
    ]


def models(node: Node) -> list[dict]:
    """The file that a loader needs, as the front-end notes it."""
    if node.kind not in FILES:
        return []
    widget, folder = FILES[node.kind]
    file = node.inputs[widget]
    repository, inside = WHERE[file]
    return [{"name": file, "url": HUB.format(repository, inside + file), "directory": folder}]
