"""Rules about the key files the policy names; their content is judged when they are loaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from secure_ext.plan.doctor.rule import Hit, Rule, Severity, Subject
from secure_ext.policy.policy import KeySource, NvsScheme


def _sources(subject: Subject) -> Iterator[tuple[str, KeySource]]:
    policy = subject.policy
    if policy.flash_encryption.enabled:
        yield "flash_encryption.key", policy.flash_encryption.key
    if policy.nvs.scheme is NvsScheme.HMAC:
        yield "nvs.key", policy.nvs.key
    for source in policy.secure_boot.keys:
        yield "secure_boot.keys", source


def _exposed(subject: Subject) -> Iterator[Hit]:
    if os.name != "posix":
        return
    for setting, source in _sources(subject):
        if source.path is None:
            continue
        try:
            mode, content = source.path.stat().st_mode, source.path.read_bytes()
        except (OSError, ValueError):
            continue  # the key cannot be read: loading it says why
        if stat.S_IMODE(mode) & 0o077 and not content.startswith(b"-----BEGIN PUBLIC KEY"):
            yield Hit(
                f"{setting}: {source.path.name}",
                "other users of this machine can read the key file",
                f"chmod 600 {source.path.name}",
            )


def _shared_key(subject: Subject) -> Iterator[Hit]:
    policy = subject.policy.flash_encryption
    if policy.release and not policy.key.per_device:
        yield Hit(
            "flash_encryption.key",
            "every board made from this bundle gets the same flash encryption key",
            "set flash_encryption.key: per-device in the profile, so that one lost key does not open them all",
        )


RULES = (
    Rule("SP080", Severity.WARNING, "key file is readable by others", _exposed),
    Rule("SP081", Severity.INFO, "one flash encryption key for all boards of a bundle", _shared_key),
)
