"""What corrections with a history share: a warning if something else in the run reuses earlier steps too."""

import logging

from .stages import Combine


def warn_of_overlap(name: str, above: float, remedy: str, run) -> None:
    """Warn if the sampler, or the momentum of a combine rule, reuses earlier steps as the node `name` does.

    Nothing is said while that node's number stays at or below `above` for the whole run. `remedy` ends the sentence
    about the sampler.
    """
    if run.most(name) <= above:
        return
    if run.sampler.is_multistep:
        run.say(
            f"{name}: the sampler {run.sampler.name} reuses earlier steps too, and the two add up; {remedy}.",
            logging.WARNING,
        )
    for stage in run.of(Combine):
        if stage.momentum and stage.strength > 0.0:
            run.say(
                f"{name}: the momentum of {stage.node} looks back at earlier steps too, and the two add up; set that "
                f"momentum to 0 or bypass one of the two nodes.",
                logging.WARNING,
            )
