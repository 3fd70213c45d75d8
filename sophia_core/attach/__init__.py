"""Attachments: files and pictures that go with a question."""
