"""The steps that a model does: with tools of its choice where it is able, in fixed slots where it is not.

Only the worker imports this package; pydantic-ai is loaded with the first step that is free to call tools.
"""
