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
    calls       for each added term: how many calls it counted in
    rested      for each added term: in how many of these a cache answered for the network
    unfollowed  how many calls left out the pass by which EasyCache decides
    acted       the stages whose rule has been called
    taken       the weights that calls were given and that showed in their results
    finite      (sigma, flags) for each look at predictions, both on the device: which samples were finite
    later       (stage, sentence) for each sentence that is true only if no other node sets another weight
    raised      whether another node has set the weight of some call
    offered     the attention stages that some step handed to the model
    met         those of the offered ones that an attention of the model has used, or that have said why none did
    """

    said: set[str] = field(default_factory=set)
    due: Counter = field(default_factory=Counter)
    left_out: Counter = field(default_factory=Counter)
    calls: Counter = field(default_factory=Counter)
    rested: Counter = field(default_factory=Counter)
    unfollowed: int = 0
    acted: set[Stage] = field(default_factory=set)
    taken: list[float] = field(default_factory=list)
    finite: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    later: list[tuple[Stage, str]] = field(default_factory=list)
    raised: bool = False
    offered: set[Stage] = field(default_factory=set)
    met: set[Stage] = field(default_factory=set)

    def say(self, sentence: str, level: int = logging.INFO) -> None:
        """Log a sentence, once a run."""
        if sentence not in self.said:
            self.said.add(sentence)
            logger.log(level, sentence)

    def say_later(self, stage: Stage, sentence: str) -> None:
        """Keep a sentence that is true only if no other node sets another weight, which shows at the run's end."""
        self.later.append((stage, sentence))

    def count(self, stage: Stage, due: int, left_out: int) -> None:
        """Note how many negative passes a call was due to make, and how many of them the stage left out."""
        self.due[stage] += due
        self.left_out[stage] += left_out

    def count_rest(self, stage: Stage, rests: bool) -> None:
        """Note that an added term counted in a call, and whether it rested there."""
        self.calls[stage] += 1
        self.rested[stage] += rests

    def see(self, given, shown) -> None:
        """Note the weight that a call was given, if it is the one that the call shows."""
        if isinstance(given, float) and isinstance(shown, float) and given == shown:
            self.taken.append(given)
