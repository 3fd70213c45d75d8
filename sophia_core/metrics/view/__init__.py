"""What the metrics look like, as rows, cards and lines of text: pure, for the pane, `sophia top` and a shell alike."""
