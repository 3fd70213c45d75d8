"""The swarm on the screen."""
