"""What else pulls? The difference to what a weaker model makes of the prompt."""

CATEGORY = "advanced/guidance/Azimuth/5 terms for structure"
