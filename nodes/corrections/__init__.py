"""Is the result still an image? Corrections of a guided prediction."""

CATEGORY = "advanced/guidance/Azimuth/6 corrections of the result"
