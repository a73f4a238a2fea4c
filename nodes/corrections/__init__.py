"""Is the result still an image? What is done to a guided prediction."""

CATEGORY = "advanced/guidance/Azimuth/6 corrections of the result"
