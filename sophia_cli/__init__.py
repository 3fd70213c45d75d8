"""The front door for shells and scripts: `sophia …`. It never imports the terminal app; it starts it by name."""
