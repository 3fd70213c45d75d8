"""The one gate: what tools may do, by rule or because a person said so."""
