"""Long texts: read in a time that grows with their length alone, and never repeated in full."""

import time

import pytest
from azimuth.guidance import MOST_QUOTED, Curve, Steps, quoted, shortened
from azimuth.nodes.engine.networks import blocks
from azimuth.nodes.negatives.negative_prompt import join
from azimuth.nodes.strength.schedule import GuidanceSchedule

MANY = 200_000
TEXTS = {
    "blanks": " " * MANY,
    "blanks between": f"7{' ' * MANY}x",
    "blanks before": f"{' ' * MANY}x",
    "lines": "\n" * MANY + "7",
    "tabs and a range": f"7{chr(9) * MANY}-",
    "digits": "9" * MANY,
    "zeros": "0" * MANY + "7",
    "commas": "," * MANY,
    "ranges": "0-999," * 1000,
    "letters": "input" * (MANY // 5),
    "dashes": "7-" * (MANY // 2),
    "points": "." * MANY,
}


def within_a_second(call):
    """What it raises or returns, as text."""
    start = time.process_time()
    try:
        said = str(call())
    except ValueError as refused:
        said = str(refused)
    assert time.process_time() - start < 1.0
    return said


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_long_text_is_read_at_once_and_not_repeated(text):
    for said in (
        within_a_second(lambda: blocks.parse("A node", text)),
        within_a_second(lambda: GuidanceSchedule.execute({"shape": "per step", "weights": text})),
    ):
        assert len(said) < 2 * MOST_QUOTED + 100
    within_a_second(lambda: join(text, text))


def test_the_number_of_blocks_is_bounded():
    every = ", ".join(f"{kind} 0-999" for kind in blocks.KINDS) * 100
    assert "longer than 1000 characters; write" in within_a_second(lambda: blocks.parse("A node", every))
    assert len(blocks.parse("A node", ",".join(["0-999"] * 160))) == 1000
    assert len(blocks.listed(blocks.parse("A node", ",".join(map(str, range(0, 500, 2)))))) <= MOST_QUOTED


def test_a_value_is_quoted_in_200_characters_at_most():
    for value in ("x" * 1000, 10**5000, [1] * 1000, type("Long" * 100, (), {})(), "x \n" * 1000):
        assert len(quoted(value)) <= MOST_QUOTED + 2 and "\n" not in quoted(value)
    assert shortened("a\nb") == "a b" and shortened("x" * MOST_QUOTED) == "x" * MOST_QUOTED
    assert shortened("x" * 201).endswith("x...")


def test_a_long_schedule_is_shortened_in_the_log():
    curve = Curve(tuple((i / 999, 0.5) for i in range(1000)))
    assert len(str(Steps(tuple(range(1000))))) < 250 and len(str(curve)) < 300
