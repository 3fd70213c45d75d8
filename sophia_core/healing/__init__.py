"""Self-healing: what is unlike itself, what is about to be full, and how SOPHIA goes about with it."""
