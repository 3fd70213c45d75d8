"""What the log of a run looks like to a person: its state at any point, and lines to show it in. Pure, no IO."""
