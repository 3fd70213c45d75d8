"""What runs plans: DBOS carries them through every crash, and what happens is told to the log.

Only the worker imports this package; DBOS is loaded when a `Carrier` is opened and not before.
"""
