"""Self-Attention Guidance: away from what the model makes of a picture that is blurred where its attention goes."""

import functools

from comfy_api.latest import io

from ...guidance import attention_mass, blurred_where_attended, with_same_noise
from ..engine import guided, inputs, pipeline, weak
from ..engine.networks import block_patches, blocks
from ..engine.networks.unfit import Unfit
from . import CATEGORY

NAME = "Self-Attention Guidance (SAG)"


class Watcher:
    """The term in one run, for which it records the middle block's self-attention in a step's first pass.

    found  the recorded calls, one for each model call; queries and keys are those of the whole batch. None while
           nothing is recorded, or where another node predicts twice in one call
    """

    def __init__(self, sigma: float, shape, chosen, net):
        self.sigma = sigma
        self.attend = functools.partial(shape.attend, chosen=chosen, change=self.look, net=net, reached=[])
        self.found = None

    def watch(self, model_options: dict) -> dict:
        options = weak.host_copy(model_options)
        block_patches.note_sizes(options["transformer_options"])
        self.attend(options["transformer_options"])
        self.found = []
        return options

    def look(self, attention) -> None:
        if self.found is not None:
            self.found.append(attention.to_keep())

    def __call__(self, args, run, moment):
        found, self.found = self.found, None  # the passes that follow are not recorded
        base = base_of(args, run, moment)
        denoised = moment.cond if base == "cond" else moment.uncond
        attention, rows = seen(found or (), args[base], args["input"])
        queries, keys = (attention.by_head(t)[rows].to(moment.x.device) for t in (attention.queries, attention.keys))
        mass = attention_mass(queries, keys, attention.tokens)
        blurred = blurred_where_attended(denoised, mass, size=attention.size, sigma=self.sigma)
        x = with_same_noise(args["input"], denoised, blurred, args["sigma"], kind=run.kind)
        other = weak.predicted(args, weak.copied(args["model_options"]), base, x)
        return moment.but(cond=blurred, other=other)


def base_of(args, run, moment) -> str:
    """The prediction that the term starts from, by its name in `args`.

    It is the unconditional one, as in the paper; the positive's where this model makes no other.
    """
    if moment.uncond is None or not run.guider_kind.one_model:
        return "cond"
    return guided.baseline_of(args)


def seen(found, conds, x):
    """The recorded call that evaluated these conditionings for the whole of x, and their rows in its batch.

    Raises Unfit if there is none.
    """
    wanted = {cond["uuid"] for cond in conds}
    calls = [(attention, uuid) for attention in found for uuid in attention.options["uuids"] if uuid in wanted]
    if len({uuid for _, uuid in calls}) == 1:
        attention, uuid = calls[0]
        uuids, latent = attention.options["uuids"], attention.options[block_patches.SIZES][0]
        rows = attention.queries.shape[0] // len(uuids)
        if tuple(latent[2:]) == tuple(x.shape[2:]) and rows == x.shape[0] and attention.size is not None:
            first = uuids.index(uuid) * rows
            return attention, slice(first, first + rows)
    raise Unfit(
        "its attention cannot be seen as a whole, because of areas, context windows or another node; do without these "
        "or choose another term"
    )


def opened(sigma, model, run):
    frames = [shape[2] if len(shape) == 5 else 1 for shape in run.latent_shapes]
    if frames != [1] or len(run.latent_shapes[0]) < 4:
        raise Unfit("it works on single pictures, and the latent is none; choose another term")
    shape, chosen = blocks.choose(model, None, run, NAME, attention=True)
    return Watcher(sigma, shape, chosen, blocks.network(model))


class SelfAttention(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthSelfAttention",
            display_name=NAME,
            category=CATEGORY,
            description="Pushes the picture away from what the model makes of it when the places that it attends to "
            "are blurred: finer detail there.",
            search_aliases=["SAG", "self attention", "blur", "fine detail"],
            inputs=[
                inputs.model_input(),
                inputs.term_scale(0.5, "0.5 to 0.75 for SD1.5 and SDXL"),
                inputs.plain_float(
                    "blur",
                    2.0,
                    0.0,
                    10.0,
                    0.1,
                    "sigma, in latent pixels, of the blur: 1 to 3. 0 = off, and costs nothing.",
                ),
                *inputs.window_inputs("the term"),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, scale, blur, start, end) -> io.NodeOutput:
        sigma = inputs.finite_float(NAME, "blur", blur, 0.0, 10.0)
        stage = weak.term(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 100.0),
            inputs.as_window(NAME, start, end),
            functools.partial(opened, sigma),
            off=sigma == 0.0,
            words=f", blur {sigma:g}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [SelfAttention]
