"""What a run tells its user: sentences that it has logged, and counts that it reports at its end."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor

from .stages import Stage

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Account:
    """The account of one run.

    said        every sentence that was logged, so that none is logged twice
    due         for each stage that may leave negative passes out: how many were due while it counted
    left_out    for each such stage: how many of these it left out
    non_finite  (sigma, flag) for each call, both on the device; the flag says whether any prediction was not finite
    offered     the attention stages that some step handed to the model
    met         those of the offered ones that an attention of the model has used, or that have said why none did
    """

    said: set[str] = field(default_factory=set)
    due: Counter = field(default_factory=Counter)
    left_out: Counter = field(default_factory=Counter)
    non_finite: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    offered: set[Stage] = field(default_factory=set)
    met: set[Stage] = field(default_factory=set)

    def say(self, sentence: str, level: int = logging.INFO) -> None:
        """Log a sentence, once a run."""
        if sentence not in self.said:
            self.said.add(sentence)
            logger.log(level, sentence)

    def count(self, stage: Stage, due: int, left_out: int) -> None:
        """Note how many negative passes a call was due to make, and how many of them the stage left out."""
        self.due[stage] += due
        self.left_out[stage] += left_out
