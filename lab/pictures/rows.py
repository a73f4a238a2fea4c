"""The rows of the contact sheet and of the help pages' pictures, from the specimens; what is sampled for them, and how
that is called.
"""

from collections.abc import Iterable

from specimens import found
from specimens.kinds import Picture

MODELS = {
    "ve": "EDM model (sigma 40 to 0.01)",
    "flow": "Rectified flow model",
    "flow_distilled": "Guidance-distilled flow model",
}
PROMPTS = (
    "a large red circle at the left on a grey background",
    "a large yellow cross at the top on a black background",
)
# The same on the narrow pictures of the help pages.
SHORT_MODELS = {
    "ve": "tiny EDM model",
    "flow": "tiny flow model",
    "flow_distilled": "tiny guidance-distilled flow model",
}
SHORT_PROMPTS = ("red circle", "yellow cross")
SEED, STEPS, PER_PROMPT = 2026, 20, 2

FOUND = found("PICTURES")
ROWS = tuple(sorted((row for row in FOUND if row.sheet), key=lambda row: row.sheet))
MORE = tuple(row for row in FOUND if not row.sheet)  # for the help pages alone, so that the demo stays short


def models_of(rows: Iterable[Picture]) -> list[str]:
    """The models that any of these rows is about."""
    rows = tuple(rows)
    return [model for model in MODELS if any(model in row.models for row in rows)]
