"""Conversations: the one way to run a turn, and the commands around it."""
