"""What the corrections with a history have in common: a warning where something else looks back too."""

import logging

from .stages import Combine


def warn_of_overlap(name: str, above: float, remedy: str, run) -> None:
    """Say once that the sampler, or the momentum of a combine rule, does in part what the node `name` does, if the
    number of that node ever lies above a bound."""
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
