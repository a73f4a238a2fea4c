"""What is the positive kept away from? Further negatives, each with a strength of its own."""

CATEGORY = "advanced/guidance/Azimuth/3 negatives"
