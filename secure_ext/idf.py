# SPDX-License-Identifier: Apache-2.0
"""What idf.py loads; the name is in entry points and in projects, so it stays."""

from __future__ import annotations

from secure_ext.cli.extension import action_extensions

__all__ = ["action_extensions"]
