"""The parts of the screen that know nothing of the app: attributes come down to them, messages go up."""
