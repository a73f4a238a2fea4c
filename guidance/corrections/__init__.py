"""Is the result still an image? Corrections of a guided prediction."""
