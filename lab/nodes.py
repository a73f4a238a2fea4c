"""The lab's one node."""

from comfy_api.latest import ComfyExtension, io

from .models.networks import NAMES, load


class AzimuthLabLoader(io.ComfyNode):
    """Loads one of the lab's models as the host's own MODEL, CLIP and VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AzimuthLabLoader",
            display_name="Azimuth Lab Loader",
            category="azimuth/lab",
            description="Loads a tiny text-to-image model that draws coloured shapes at 32x32 pixels.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list(NAMES),
                    default=NAMES[0],
                    tooltip="ve: EDM preconditioning, sigma up to 40. flow: rectified flow, sigma up to 1.",
                )
            ],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        return io.NodeOutput(*load(model))


class LabExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [AzimuthLabLoader]
