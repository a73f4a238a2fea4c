"""How stages reach the host. pipeline.py is the entrance; docs/architecture.md draws one step through it."""
