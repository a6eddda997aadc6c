# SPDX-License-Identifier: Apache-2.0
"""What bootloader and app were built with: what their images show, else what the manifest has of the build.

An image is believed first: a message that is compiled in only with an option shows the option. The other way round it
shows nothing, because logs can be left out of a build; then the manifest's ``settings`` tell, and where there are none
(bundles of earlier versions) it stays unseen.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from secure_ext.prove.boot_check.app_image import WholeImage
from secure_ext.prove.boot_check.idf_version import IdfVersion, read_version

_APP_DESCRIPTION = struct.Struct("<II8x32x32x16x16x32s")
_BOOTLOADER_DESCRIPTION = struct.Struct("<B2xBI32s")
_BOOTLOADER_MAGIC = 0x50
_FIRST_SEGMENT = 0x20
Setting = bool | int | str

MESSAGES = {
    "SECURE_ENABLE_SECURE_ROM_DL_MODE": b"Failed to enable Secure Download mode",
    "SECURE_DISABLE_ROM_DL_MODE": b"Failed to disable ROM download mode",
    "BOOTLOADER_APP_ANTI_ROLLBACK": b"Incorrect secure version of app",
    "SECURE_SIGNED_ON_UPDATE_NO_SECURE_BOOT": b"This app is not signed, but check signature on update is enabled",
    "ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL": b"Enabling ECC constant time operations forcefully failed",
    "EFUSE_VIRTUAL": b"eFuse virtual mode is enabled",
}
"""What an app says, if it says it, only where it was built with an option (``esp_efuse_startup.c``, ``secure_boot.c``,
``esp_security/src/init.c``)."""

TWO_CORES = b"Running on single core variant of a chip, but app is built with multi-core support"
"""In ``cpu_start.c`` of an app that starts the second core."""
OCTAL = b"Octal Flash option selected, but EFUSE not configured"
"""Likewise, of an app for octal flash alone."""
TOO_FAST = b"Flash encryption with CPU frequency > 160MHz is not supported"
"""In ``esp_security/src/init.c`` of an ESP32-C5's app that checks its clock and was built for more."""


@dataclass(frozen=True)
class Firmware:
    """An image and what is known of its build.

    Attributes:
        content: the image.
        version: of ESP-IDF; None if neither the image nor the manifest tells.
        secure_version: what anti-rollback compares; 0 without it.
        settings: Kconfig symbols of the build, without ``CONFIG_``; empty if the manifest has none.
    """

    content: bytes = field(repr=False)
    version: IdfVersion | None
    secure_version: int
    settings: Mapping[str, Setting]

    def shows(self, message: bytes) -> bool:
        """Whether the image has this message."""
        return message in self.content

    def has(self, setting: str) -> bool:
        """Whether it was built with an option."""
        message = MESSAGES.get(setting)
        return self.settings.get(setting) is True or (message is not None and self.shows(message))

    def number(self, setting: str) -> int | None:
        """The value of a number; None if the manifest does not have it."""
        value = self.settings.get(setting)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def app_firmware(image: WholeImage, settings: Mapping[str, Setting], told: str | None) -> Firmware:
    """Of an app (``esp_app_desc_t``, ``esp_app_desc.h``); `told` is the version of ESP-IDF in the manifest."""
    _, secure_version, version = _APP_DESCRIPTION.unpack_from(image.content, _FIRST_SEGMENT)
    return Firmware(image.content, _version(version, told), secure_version, settings)


def bootloader_firmware(image: WholeImage, settings: Mapping[str, Setting], told: str | None) -> Firmware:
    """Of a bootloader, which has a description since 5.2 (``esp_bootloader_desc_t``, ``esp_bootloader_desc.h``)."""
    magic, secure_version, _, version = _BOOTLOADER_DESCRIPTION.unpack_from(image.content, _FIRST_SEGMENT)
    if magic != _BOOTLOADER_MAGIC:
        return Firmware(image.content, read_version(told), 0, settings)
    return Firmware(image.content, _version(version, told), secure_version, settings)


def _version(field: bytes, told: str | None) -> IdfVersion | None:
    return read_version(field.split(b"\0")[0].decode("ascii", "replace")) or read_version(told)
