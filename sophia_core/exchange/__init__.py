"""Conversations that leave and come in: exports to files, imports from other programs."""
