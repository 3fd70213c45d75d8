"""What servers measure: fetched from their `/metrics`, read, and told in one set of names."""
