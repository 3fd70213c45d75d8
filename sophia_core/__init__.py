"""The core: commands go in, events come out; it knows nothing about terminals, sockets or SQL."""
