"""Chip revisions as people write them. A revision is a number: major * 100 + minor."""

from __future__ import annotations


def revision_text(revision: int) -> str:
    """``v3.1`` for 301."""
    return f"v{revision // 100}.{revision % 100}"


def revision_range(least: int, most: int | None) -> str:
    """Which chips something is for; `most` is None where there is no limit."""
    return f"{revision_text(least)} or later" if most is None else f"{revision_text(least)} to {revision_text(most)}"
