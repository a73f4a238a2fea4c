"""What a method remembers from step to step: a momentum, an average, a posterior.

Shapes: any value. Units: none.
Departures: a step may be evaluated more than once (Heun, 2S and SDE samplers do). Every evaluation of a step reads the
value that stood when the step began. What the last one keeps is the value of the next step: nothing advances twice.
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

    def begin(self, step: int) -> None:
        """Say which step the next evaluation belongs to; the same number again is the same step."""
        if step != self._step:
            self.value, self._step = self._next, step

    def keep(self, value) -> None:
        """Store what the next step will find as `value`."""
        self._next = value
