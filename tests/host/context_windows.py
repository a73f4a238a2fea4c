"""The host's context windows: a video that is predicted in pieces."""

import comfy.context_windows
from tiny import tensor


def windowed(patched, length=4, overlap=2, dim=2):
    patched = patched.clone()
    schedule = comfy.context_windows.get_matching_context_schedule("standard_static")
    fuse = comfy.context_windows.get_matching_fuse_method("pyramid")
    patched.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        schedule, fuse, context_length=length, context_overlap=overlap, dim=dim
    )
    comfy.context_windows.create_prepare_sampling_wrapper(patched)
    return patched


FRAMES = {"x": tensor(5, 1, 16, 8, 4, 4), "sigma": 0.6}
