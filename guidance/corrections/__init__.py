"""Is the result still an image? What is done to a guided prediction."""
