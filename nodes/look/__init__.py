"""What happened? The stages of a MODEL in words."""

CATEGORY = "advanced/guidance/Azimuth/8 look"
