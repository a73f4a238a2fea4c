"""What guidance costs: `python dev.py bench`."""
