"""What is a pass conditioned with? The prompt and the guidance embedding, step by step."""

CATEGORY = "advanced/guidance/Azimuth/2 conditions"
