"""What a run tells its user: the sentences that it has logged, and what it counts to report at its end."""

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
    due         for each stage that may leave negative passes out, how many there were
    left_out    how many of them it left out
    non_finite  for each call its sigma, and whether anything that it predicted was not finite; both on the device
    offered     attention stages that some step handed to the model
    met         those of them that an attention of the model has met, or that have said why not
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
        """Note negative passes that a call was due to make, and how many of them a stage left out."""
        self.due[stage] += due
        self.left_out[stage] += left_out
