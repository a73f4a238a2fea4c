"""Nodes of others, which the tests put beside ours: the host's, and some that only the tests have."""

import comfy.samplers
from comfy_extras.nodes_model_advanced import RescaleCFG
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_tcfg import TCFG
from tiny import run_node


def pag(patched):
    return run_node(PerturbedAttentionGuidance, patched, 2.0)


def tcfg(patched):
    return run_node(TCFG, patched)


def rescale(patched):
    return RescaleCFG().patch(patched, 0.7)[0]


def making_all_predictions(patched):
    """The MODEL with a function in the place of the host's own, which asks for all predictions at once."""

    def make_them_all(args):
        model_options = {key: value for key, value in args["model_options"].items() if key != "context_handler"}
        return comfy.samplers.calc_cond_batch(args["model"], args["conds"], args["input"], args["sigma"], model_options)

    patched = patched.clone()
    patched.set_model_sampler_calc_cond_batch_function(make_them_all)
    return patched


def by_return(args):
    return {"img": args["img"] * 1.2, "txt": args["txt"] * 0.9} if args["block_index"] % 2 == 0 else {}


def in_place(args):
    args["img"].mul_(1.2)
    return {}


def after_blocks(patched, theirs):
    """The MODEL with a function that runs after each of a transformer's blocks, such as the two above."""
    patched = patched.clone()
    patched.set_model_double_block_patch(theirs)
    return patched
