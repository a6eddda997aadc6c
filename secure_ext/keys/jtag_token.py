# SPDX-License-Identifier: Apache-2.0
"""The token with which firmware opens JTAG that was closed in software."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

_MESSAGE = bytes(32)


def jtag_token_of(key: bytes) -> bytes:
    """What ``esp_hmac_jtag_enable`` takes (32 bytes) on a board with that key in eFuse (32 bytes).

    Source: ESP-IDF, ``docs/en/api-reference/peripherals/hmac.rst``, HMAC for Enabling JTAG.
    """
    mac = HMAC(key, SHA256())
    mac.update(_MESSAGE)
    return mac.finalize()
