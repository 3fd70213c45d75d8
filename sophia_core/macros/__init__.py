"""Macros: lists of command lines with parameters, written by hand or recorded, and themselves commands."""
