# SPDX-License-Identifier: Apache-2.0
"""What identifies a key in the open. Part of ``provision.py``: standard library only, Python 3.9 and later."""

from __future__ import annotations

import hashlib

_PREFIX = b"idf-secure-provision key fingerprint v1\0"


def fingerprint(key: bytes) -> str:
    """32 hex digits that identify `key` and tell nothing about it.

    Not its plain hash: on ESP32-C2 the SHA-256 of the burned 16 bytes is the flash encryption key itself
    (ESP-IDF ``docs/en/security/flash-encryption.rst``), and must never be published.
    """
    return hashlib.sha256(_PREFIX + key).hexdigest()[:32]
