"""Tools for those who change SOPHIA; nothing here is installed."""
