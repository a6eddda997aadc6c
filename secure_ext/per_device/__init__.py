"""PRODUCE for one device: keys of its own, the bundle made with them, and their end."""
