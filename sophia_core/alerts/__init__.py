"""Watching over what is measured, and telling somebody when it goes wrong."""
