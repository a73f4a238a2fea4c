"""What else pulls? The difference to what a weaker model makes of the prompt."""
