"""What the user sees."""

import shutil
import sys
import time


class Stop(Exception):
    """What the user can mend; the text is one sentence that says how."""


def say(text):
    print(text, flush=True)


class Progress:
    """What is being done, how far it is and for how long: a line that changes, on a pipe one now and then."""

    EVERY = 20.0  # seconds between two lines on a pipe

    def __init__(self, what):
        self.what, self.started, self.said = what, time.monotonic(), 0.0
        self.live = sys.stdout.isatty()

    @property
    def seconds(self):
        return time.monotonic() - self.started

    def show(self, how_far=""):
        line = f"{self.what}: {how_far + ', ' if how_far else ''}{self.seconds:.0f} s"
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write("\r" + line[:width].ljust(width))
            sys.stdout.flush()
        elif not self.said or self.seconds - self.said >= self.EVERY:
            self.said = max(self.seconds, 1e-9)
            say(line)

    def __enter__(self):
        self.show()
        return self

    def __exit__(self, kind, *_):
        if self.live:
            sys.stdout.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
        say(f"{self.what}: {'stopped' if kind else 'done'} after {self.seconds:.0f} s")
