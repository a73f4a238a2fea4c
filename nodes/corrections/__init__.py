"""Is the result still an image? Corrections of a guided prediction."""

CATEGORY = "advanced/guidance/Azimuth/corrections of the result"
