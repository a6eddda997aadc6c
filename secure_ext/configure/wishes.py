# SPDX-License-Identifier: Apache-2.0
"""What a project shall have; what nobody says is what Espressif recommends for production.

Source of the recommendations: ESP-IDF manual, Security, "Security Features Enablement Workflows".
"""

from __future__ import annotations

from dataclasses import replace

from secure_ext.policy.profile import Profile, Value
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.frozen import frozen


@frozen
class Wishes:
    """Each is None where nobody has said anything.

    Attributes:
        flash_encryption: ``off``, ``development`` or ``release``.
        key_size: ``128``, ``256`` or ``128-derived``.
        secure_boot: Secure Boot V2.
        scheme: ``rsa3072``, ``ecdsa256`` or ``ecdsa384``.
        nvs: ``off``, ``hmac`` or ``flash-encryption``.
        nvs_key_id: key block of the HMAC key.
        download_mode: ``secure``, ``disabled`` or ``open``.
        build_signs_with: the key with which the build signs; empty if it does not sign.
        secure_version: anti-rollback, with the app's version.
    """

    flash_encryption: str | None = None
    key_size: str | None = None
    secure_boot: bool | None = None
    scheme: str | None = None
    nvs: str | None = None
    nvs_key_id: int | None = None
    download_mode: str | None = None
    build_signs_with: str | None = None
    secure_version: int | None = None

    def over(self, profile: Profile) -> Profile:
        """A profile with these wishes in the place of its own."""
        said: dict[str, Value | None] = {
            "flash_encryption.mode": self.flash_encryption,
            "flash_encryption.key_size": self.key_size,
            "secure_boot.enabled": self.secure_boot,
            "secure_boot.scheme": self.scheme,
            "nvs.scheme": self.nvs,
            "nvs.key_id": self.nvs_key_id,
            "lockdown.download_mode": self.download_mode,
        }
        return replace(profile, values={**profile.values, **{key: one for key, one in said.items() if one is not None}})

    def completed_by(self, profile: Profile) -> Wishes:
        """The same, with what a profile says about the rest."""
        size = profile.text("flash_encryption.key_size")
        said = Wishes(
            flash_encryption=profile.text("flash_encryption.mode"),
            key_size=None if size == KeySize.ESP32.value else size,
            secure_boot=profile.flag("secure_boot.enabled"),
            scheme=profile.text("secure_boot.scheme"),
            nvs=profile.text("nvs.scheme"),
            nvs_key_id=profile.integer("nvs.key_id"),
            download_mode=profile.text("lockdown.download_mode"),
        )
        return Wishes(
            **{
                name: value if (value := getattr(self, name)) is not None else getattr(said, name)
                for name in vars(said)
            }
        )
