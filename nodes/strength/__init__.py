"""How strongly, this step? Weights, their schedules, and steps that leave the negative pass out."""

CATEGORY = "advanced/guidance/Azimuth/1 strength"
