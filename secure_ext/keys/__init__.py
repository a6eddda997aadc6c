"""PRODUCE keys: read from files or generated."""
