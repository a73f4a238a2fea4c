"""What the corrections with a history have in common: a warning where something else looks back too."""

import logging

from .apg import NAME as APG
from .stages import Combine


def warn_of_overlap(name: str, above: float, remedy: str, run) -> None:
    """Say once that the sampler, or APG's momentum, already does in part what the node `name` does, if its number ever
    lies above a bound."""
    if run.most(name) <= above:
        return
    if run.is_multistep:
        run.say(
            f"{name}: the sampler {run.sampler_name} reuses earlier steps too, and the two add up; {remedy}.",
            logging.WARNING,
        )
    if any(stage.node == APG and stage.remembers and stage.strength > 0.0 for stage in run.of(Combine)):
        run.say(
            f"{name}: the momentum of {APG} looks back at earlier steps too, and the two add up; set that momentum to "
            f"0 or bypass one of the two nodes.",
            logging.WARNING,
        )
