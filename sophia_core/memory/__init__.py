"""Memory: finding what was said by what it means."""
