"""What is a pass conditioned with? The prompt and the guidance embedding, step by step."""
