"""Service level objectives: what is promised, how it stands, and how fast the error budget is spent."""
