"""The pictures of the README and of the help pages."""
