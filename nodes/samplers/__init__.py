"""Methods that need a loop over the steps of their own: as stages of a MODEL they would not be exact."""

CATEGORY = "advanced/guidance/Azimuth/7 samplers"
