"""The board: what is to be done, from the backlog to done, and the runs, sessions and commits that belong to it."""
