# SPDX-License-Identifier: Apache-2.0
"""The errors this package raises: each has a stable code, a cause and a cure.

Library code raises them and never prints. A front turns one into text and into the exit code of its class.
The codes are listed, with what to do about each, in ``docs/errors.md``.
"""

from __future__ import annotations


class SecureProvisionError(Exception):
    """Base of every error that is raised on purpose.

    Args:
        code: stable identifier, ``SE`` and three digits; people search for it and script against it.
        cause: one sentence: what is wrong, with the values that were seen (never a secret).
        cure: one sentence: what the reader should do next.
        place: file, partition label, profile key or eFuse that the cause is about.
    """

    exit_code = 1

    def __init__(self, code: str, cause: str, *, cure: str, place: str | None = None) -> None:
        super().__init__(f"{code}: {cause}")
        self.code = code
        self.cause = cause
        self.cure = cure
        self.place = place

    def as_dict(self) -> dict[str, str | None]:
        """The error as it is shown with ``--format json``."""
        return {"code": self.code, "place": self.place, "cause": self.cause, "cure": self.cure}


class CheckError(SecureProvisionError):
    """A check found something wrong in what the user gave (exit code 1)."""

    exit_code = 1


class UsageError(SecureProvisionError):
    """The command, an option or the profile is wrong (exit code 2)."""

    exit_code = 2


class InputError(SecureProvisionError):
    """An input is missing, unreadable or not supported (exit code 3)."""

    exit_code = 3


class ToolError(SecureProvisionError):
    """An external tool is missing or failed (exit code 4)."""

    exit_code = 4


class DeviceError(SecureProvisionError):
    """The device is in a state that forbids going on (exit code 5)."""

    exit_code = 5
