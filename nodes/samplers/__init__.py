"""Methods that no MODEL can carry exactly: each is a loop of its own over the steps."""

CATEGORY = "advanced/guidance/Azimuth/7 samplers"
