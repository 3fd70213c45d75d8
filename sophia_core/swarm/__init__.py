"""Runs of plans: several agents at work, durable, watched, approved, and replayed from their events."""
