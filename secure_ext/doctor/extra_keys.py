# SPDX-License-Identifier: Apache-2.0
"""Rules about keys of the firmware's own: whether it can use them, and what they open."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Match, Rule, Severity, Subject
from secure_ext.policy.policy import JtagAccess


def _curve_is_off(subject: Subject) -> Iterator[Match]:
    for extra in subject.policy.extra_keys:
        if extra.purpose == "ECDSA_KEY_P192" and not subject.policy.secure_boot.p192_curve:
            yield Match(f"extra_keys.{extra.name}", "the firmware is built without the curve P-192")


def _jtag_by_token(subject: Subject) -> Iterator[Match]:
    if subject.policy.locks_down and subject.policy.lockdown.jtag is JtagAccess.BY_HMAC:
        yield Match(
            subject.policy.origin("lockdown.jtag"),
            "firmware that is given the token opens JTAG, and a debugger then reads decrypted memory",
        )


RULES = (
    Rule(
        "SP175",
        Severity.WARNING,
        "ECDSA key on a curve that the firmware has not",
        _curve_is_off,
        explanation="P-192 is too short for what has to last, so ESP-IDF leaves it off, and some chips close it for "
        "ever at their first start. The key would be burned and never be used.",
        source="ESP-IDF components/esp_security/Kconfig (ESP_ECDSA_ENABLE_P192_CURVE); components/mbedtls/Kconfig "
        "(MBEDTLS_HARDWARE_ECDSA_SIGN)",
        cure="use ECDSA_KEY (P-256), or set CONFIG_ESP_ECDSA_ENABLE_P192_CURVE=y and build again",
    ),
    Rule(
        "SP176",
        Severity.INFO,
        "JTAG can be opened with a token",
        _jtag_by_token,
        explanation="JTAG is closed in software only, so that the maker can debug boards that come back. The firmware "
        "opens it when it is given the token, which is computed from a key in eFuse. Who has the token, and firmware "
        "that takes it, has the board.",
        source="ESP-IDF manual, HMAC, HMAC for Enabling JTAG",
        cure="keep the token as safe as a signing key, use a key for each board, or set lockdown.jtag: disabled",
    ),
)
