"""Is the result still an image? What is done to a guided prediction."""

CATEGORY = "advanced/guidance/Azimuth/corrections of the result"
