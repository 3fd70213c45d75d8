"""The parts of the metrics pane."""
