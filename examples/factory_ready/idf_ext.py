"""Adds the actions of idf-secure-provision to idf.py."""

import sys

try:
    from secure_ext.idf import action_extensions
except ImportError as error:
    sys.stderr.write(f"WARNING: no secure-* actions: {error}. Run: python -m pip install idf-secure-provision\n")

    def action_extensions(*_):
        """Add nothing."""
        return {}
