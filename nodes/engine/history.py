"""What corrections with a history share: a warning if something else in the run reuses earlier steps too."""

import logging

from .stages import Combine


def warn_of_overlap(name: str, above: float, remedy: str, run) -> None:
    """Warn if the sampler, or the momentum of a combine rule, reuses earlier steps as the node `name` does.

    Nothing is said while that node's number, times its share, stays at or below `above` for the whole run. `remedy`
    ends the sentence about the sampler.
    """
    if run.most(name) <= above:
        return
    if run.sampler.is_multistep:
        run.say(
            f"{name}: the sampler {run.sampler.name} reuses earlier steps too, and the two add up; {remedy}.",
            logging.WARNING,
        )
    own = [step for stage in run.stages if stage.node == name for step in run.on(stage)]
    for stage in run.of(Combine):
        if stage.momentum and any(run.share(stage, step) for step in own):
            run.say(
                f"{name}: the momentum of {stage.node} looks back at earlier steps too, and the two add up; set that "
                f"momentum to 0 or bypass one of the two nodes.",
                logging.WARNING,
            )
