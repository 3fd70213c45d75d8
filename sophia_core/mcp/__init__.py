"""Servers of the Model Context Protocol: other people's tools, resources and prompts; nothing they say is believed."""
