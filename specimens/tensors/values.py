"""What counts as a number, and how a message repeats a value."""

from ..kinds import Helper

HELPERS = [Helper("is_number"), Helper("quoted"), Helper("shortened")]
