"""What a method remembers from step to step: a momentum, an average, a posterior.

Shapes: any value. Units: none.
Departures: a step may be evaluated more than once (Heun, 2S and SDE samplers do). Every evaluation of a step reads the
value that stood when the step began. What the last one at its beginning keeps is the value of the next step: nothing
advances twice, and what is seen at a trial point, further on in the step, is not kept.
"""

__all__ = ["Memory"]


class Memory:
    """One value that belongs to one run: `begin` each step, read `value`, and `keep` its successor.

    value: what the last evaluation of an earlier step kept; None at first.
    """

    def __init__(self):
        self.value = None
        self._next = None
        self._step = None
        self._trial = False

    def begin(self, step: int, *, trial: bool = False) -> None:
        """Say which step the next evaluation belongs to; the same number again is the same step.

        `trial` says that it looks at a point further on in the step, so that nothing is kept of it.
        """
        self._trial = trial and step == self._step
        if step != self._step:
            self.value, self._step = self._next, step

    def keep(self, value) -> None:
        """Store what the next step will find as `value`."""
        if not self._trial:
            self._next = value
