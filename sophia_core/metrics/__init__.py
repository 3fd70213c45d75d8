"""What servers and this app measure, and what follows from it."""
