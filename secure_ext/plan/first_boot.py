# SPDX-License-Identifier: Apache-2.0
"""What the firmware itself will burn at its first boot after provisioning; nothing, if plan and sdkconfig agree.

Bootloader and app burn eFuses on their own where the chip is not yet as their sdkconfig says. This goes through that
code in the order in which it runs, on the state that the plan leaves behind:

- bootloader: ``components/bootloader_support/src/bootloader_utility.c`` (load_image, set_actual_ota_seq),
  ``secure_boot_v2/secure_boot.c``, ``flash_encryption/flash_encrypt.c``, ``<chip>/*_secure_features.c``;
- app: ``components/efuse/src/esp_efuse_startup.c``, ``components/bootloader_support/src/flash_encrypt.c`` and
  ``secure_boot.c`` (the init checks), ``components/esp_security/src/init.c``,
  ``components/nvs_sec_provider/nvs_sec_provider.c``.

What an application burns with calls of its own cannot be seen here.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.build import Build, Role
from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.chips.chip import Chip
from secure_ext.formats.app_description import read_app_description
from secure_ext.formats.partition_table import DATA_OTA, TYPE_APP, TYPE_DATA, Partition
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.steps import BurnField, BurnKey, Plan, WriteProtect
from secure_ext.station.frozen import frozen

_ROM_LOG = {"BOOT_ROM_LOG_ALWAYS_OFF": 3, "BOOT_ROM_LOG_ON_GPIO_LOW": 1, "BOOT_ROM_LOG_ON_GPIO_HIGH": 2}
_P192_AND_P256 = 2
_FACTORY = 0x00


@frozen
class FirstBootBurn:
    """One thing that the firmware burns, or tries to.

    Attributes:
        efuse: espefuse's name of the field or block, or what is done to it.
        by: ``bootloader`` or ``app``.
        setting: the Kconfig symbol, without ``CONFIG_``, that makes it do so.
        reason: what it does, in words.
        enables: it turns on flash encryption or secure boot, which the plan leaves off.
        fails_because: why the burn cannot succeed; the firmware then reports an error or does not start. Empty if it
            will succeed.
        aborts: the app does not start where the burn fails.
    """

    efuse: str
    by: str
    setting: str
    reason: str
    enables: bool = False
    fails_because: str = ""
    aborts: bool = False


def first_boot_burns(
    build: Build, chip: Chip, plan: Plan, images: tuple[PlannedImage, ...], boot: Partition | None = None
) -> tuple[FirstBootBurn, ...]:
    """Everything that bootloader and app will burn after `plan` is done, in their order.

    `boot` is the app partition that the profile has a new board start.
    """
    firmware = _Firmware(build, chip, plan, images, boot)
    if bootloader_refuses(build.config, chip, plan):
        return ()
    return (*firmware.bootloader(), *firmware.app())


def update_burns(build: Build, chip: Chip, plan: Plan) -> tuple[FirstBootBurn, ...]:
    """Everything that the app of `build` will burn as an update of boards that `plan` has provisioned."""
    return tuple(_Firmware(build, chip, plan, ()).app())


def bootloader_refuses(config: SdkConfig, chip: Chip, plan: Plan) -> str:
    """Why a bootloader with this `config` starts no app on a chip that was provisioned by `plan`; empty if it does."""
    state = _State(chip, plan)
    for built, required, done, feature in (
        (
            config.enabled("SECURE_FLASH_ENC_ENABLED"),
            "SECURE_FLASH_REQUIRE_ALREADY_ENABLED",
            state.encrypts,
            "flash encryption",
        ),
        (
            config.enabled("SECURE_BOOT_V2_ENABLED"),
            "SECURE_BOOT_REQUIRE_ALREADY_ENABLED",
            state.verifies,
            "secure boot",
        ),
    ):
        if built and config.enabled(required) and not done:
            return f"with CONFIG_{required} it starts no app while {feature} is off, and the plan leaves it off"
    both_built = config.enabled("SECURE_FLASH_ENC_ENABLED") and config.enabled("SECURE_BOOT_V2_ENABLED")
    if chip.has_one_key_block and both_built and state.encrypts != state.verifies:
        return (
            "it is built for flash encryption and secure boot, whose keys share one block on this chip, and it stops "
            "when it finds one of them without the other"
        )
    return ""


class _State:
    """What is burned when the plan is done."""

    def __init__(self, chip: Chip, plan: Plan) -> None:
        self.chip = chip
        actions = [step.action for step in plan.steps]
        self.values = {action.field: action.value for action in actions if isinstance(action, BurnField)}
        self.locked = {action.wr_dis_bit for action in actions if isinstance(action, WriteProtect)}
        self.purposes = {action.block.name: action.purpose for action in actions if isinstance(action, BurnKey)}

    @property
    def encrypts(self) -> bool:
        return self.chip.crypt_count.name in self.values

    @property
    def verifies(self) -> bool:
        return self.chip.secure_boot_enable.name in self.values

    def lacks(self, field: str, value: int = 1) -> bool:
        """Whether the chip has the field, and bits of `value` are still clear in it."""
        return self.chip.efuses.find(field) is not None and bool(value & ~self.values.get(field, 0))

    def is_locked(self, field: str) -> bool:
        """Whether nothing can be burned into the field any more."""
        found = self.chip.efuses.find(field)
        return found is not None and found.wr_dis_bit in self.locked

    def is_unlocked(self, field: str) -> bool:
        """Whether the field could be write-protected, and is not."""
        found = self.chip.efuses.find(field)
        return found is not None and found.wr_dis_bit is not None and found.wr_dis_bit not in self.locked


class _Firmware:
    def __init__(
        self,
        build: Build,
        chip: Chip,
        plan: Plan,
        images: tuple[PlannedImage, ...],
        boot: Partition | None = None,
    ) -> None:
        self.build = build
        self.boot = boot
        self.config = build.config
        self.chip = chip
        self.images = images
        self.state = _State(chip, plan)

    def field(
        self, by: str, name: str, value: int, setting: str, reason: str, *, aborts: bool = False
    ) -> Iterator[FirstBootBurn]:
        if self.state.lacks(name, value):
            locked = "the plan write-protects the field" if self.state.is_locked(name) else ""
            yield FirstBootBurn(name, by, setting, reason, fails_because=locked, aborts=aborts)
            self.state.values[name] = value | self.state.values.get(name, 0)

    def bootloader(self) -> Iterator[FirstBootBurn]:
        yield from self._anti_rollback()
        yield from self._enables_secure_boot()
        yield from self._enables_flash_encryption()

    def _anti_rollback(self) -> Iterator[FirstBootBurn]:
        """An OTA slot that counts as valid has its secure version burned at once: one that the profile names, and the
        first where OTA data are untouched."""
        version = self._first_secure_version()
        field = self.chip.efuses.find("SECURE_VERSION")
        room = min(self.config.integer("BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD") or 0, field.bits if field else 0)
        rows = self.build.partitions.partitions
        has_ota_data = any(row.type == TYPE_DATA and row.subtype == DATA_OTA for row in rows)
        has_factory = any(row.type == TYPE_APP and row.subtype == _FACTORY for row in rows)
        starts_slot = not has_factory if self.boot is None else self.boot.subtype != _FACTORY
        wanted = self.config.enabled("BOOTLOADER_APP_ANTI_ROLLBACK") and has_ota_data and starts_slot
        if wanted and 0 < version <= room:
            yield from self.field(
                "bootloader",
                "SECURE_VERSION",
                (1 << version) - 1,
                "BOOTLOADER_APP_SECURE_VERSION",
                f"records the app's secure version {version}, so that no older app starts any more",
            )

    def _first_secure_version(self) -> int:
        """Of the app that starts first: the image that the profile names may be of another build."""
        image = next((image for image in self.images if self.boot and image.partition == self.boot.label), None)
        described = None if image is None else read_app_description(image.content)
        configured = self.config.integer("BOOTLOADER_APP_SECURE_VERSION") or 0
        return configured if described is None else described.secure_version

    def _enables_secure_boot(self) -> Iterator[FirstBootBurn]:
        roles = (Role.BOOTLOADER, Role.APP)
        signed = all(image.signed_already for image in self.images if image.role in roles and image.header is not None)
        if self.config.enabled("SECURE_BOOT_V2_ENABLED") and not self.state.verifies and signed:
            yield FirstBootBurn(
                self.chip.secure_boot_enable.name,
                "bootloader",
                "SECURE_BOOT_V2_ENABLED",
                "turns secure boot on, with the digests of the keys that signed the bootloader",
                enables=True,
            )

    def _enables_flash_encryption(self) -> Iterator[FirstBootBurn]:
        if self.config.enabled("SECURE_FLASH_ENC_ENABLED") and not self.state.encrypts:
            yield FirstBootBurn(
                self.chip.crypt_count.name,
                "bootloader",
                "SECURE_FLASH_ENC_ENABLED",
                "turns flash encryption on, with a key of its own that nobody knows",
                enables=True,
            )

    def app(self) -> Iterator[FirstBootBurn]:
        yield from self._locks_crypt_count()
        yield from self._revokes_free_slots()
        yield from self._closes_download_mode()
        yield from self._closes_rom()
        yield from self._ecc()
        yield from self._makes_hmac_key()

    def _locks_crypt_count(self) -> Iterator[FirstBootBurn]:
        count = self.chip.crypt_count
        full = (1 << count.bits) - 1
        wanted = self.config.enabled("SECURE_FLASH_ENCRYPTION_MODE_RELEASE") and self.config.enabled("SECURE_BOOT")
        both_on = self.state.encrypts and self.state.verifies
        if wanted and both_on and self.state.lacks(count.name, full) and self.state.is_unlocked(count.name):
            yield FirstBootBurn(
                f"write protection of {count.name}",
                "app",
                "SECURE_FLASH_ENCRYPTION_MODE_RELEASE",
                "makes flash encryption permanent: the board can be flashed in plaintext no more",
            )
            if count.wr_dis_bit is not None:
                self.state.locked.add(count.wr_dis_bit)

    def _revokes_free_slots(self) -> Iterator[FirstBootBurn]:
        wanted = self.config.enabled("SECURE_BOOT_V2_ENABLED") and self.state.verifies
        if not wanted or self.config.enabled("SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS"):
            return
        for slot in range(self.chip.facts.digest_slots):
            if f"SECURE_BOOT_DIGEST{slot}" not in self.state.purposes.values() and self.chip.facts.digest_slots > 1:
                yield from self.field(
                    "app",
                    f"SECURE_BOOT_KEY_REVOKE{slot}",
                    1,
                    "SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS",
                    f"revokes the free digest slot {slot + 1}: no signing key can be added later",
                )

    def _closes_download_mode(self) -> Iterator[FirstBootBurn]:
        off = self.chip.facts.download_off
        if self.config.enabled("SECURE_DISABLE_ROM_DL_MODE"):
            reason = "disables the download mode: no serial access any more"
            yield from self.field("app", off, 1, "SECURE_DISABLE_ROM_DL_MODE", reason, aborts=True)
        elif self.config.enabled("SECURE_ENABLE_SECURE_ROM_DL_MODE") and self.state.lacks(off):
            setting = "SECURE_ENABLE_SECURE_ROM_DL_MODE"
            reason = "switches to secure download mode: espefuse can do nothing any more"
            yield from self.field("app", "ENABLE_SECURITY_DOWNLOAD", 1, setting, reason, aborts=True)

    def _closes_rom(self) -> Iterator[FirstBootBurn]:
        if self.config.enabled("ESP32_DISABLE_BASIC_ROM_CONSOLE"):
            reason = "closes the BASIC interpreter of the ROM"
            yield from self.field("app", "CONSOLE_DEBUG_DISABLE", 1, "ESP32_DISABLE_BASIC_ROM_CONSOLE", reason)
        for setting, value in _ROM_LOG.items():
            if self.config.enabled(setting):
                reason = "sets for ever when the ROM prints its log"
                yield from self.field("app", "UART_PRINT_CONTROL", value, setting, reason, aborts=True)

    def _ecc(self) -> Iterator[FirstBootBurn]:
        setting = "ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL"
        if self.config.enabled(setting):
            reason = "forces calculations with elliptic curves to constant time"
            yield from self.field("app", "ECC_FORCE_CONST_TIME", 1, setting, reason, aborts=True)
        if self.config.enabled("ESP_ECDSA_ENABLE_P192_CURVE"):
            reason = "allows the curve P-192 besides P-256"
            setting = "ESP_ECDSA_ENABLE_P192_CURVE"
            yield from self.field("app", "ECDSA_CURVE_MODE", _P192_AND_P256, setting, reason, aborts=True)
        if not self.config.enabled("SECURE_BOOT_V2_ENABLED"):
            return
        fields = ["ECDSA_CURVE_MODE"]
        skipped = self.config.enabled("SECURE_BOOT_SKIP_WRITE_PROTECTION_SCA")
        if not skipped and not self.config.enabled("SECURE_BOOT_ECDSA_KEY_LEN_384_BITS"):
            fields.append("SECURE_BOOT_SHA384_EN")
        for name in fields:
            if self.state.is_unlocked(name):
                yield FirstBootBurn(
                    f"write protection of {name}",
                    "app",
                    "SECURE_BOOT_V2_ENABLED",
                    "locks the field, so that nobody can change how signatures are verified",
                )

    def _makes_hmac_key(self) -> Iterator[FirstBootBurn]:
        key_id = self.config.integer("NVS_SEC_HMAC_EFUSE_KEY_ID")
        wanted = self.config.enabled("NVS_ENCRYPTION") and self.config.enabled("NVS_SEC_KEY_PROTECT_USING_HMAC")
        if not wanted or key_id is None or key_id < 0:
            return
        block = f"BLOCK_KEY{key_id}"
        purpose = self.state.purposes.get(block)
        if purpose == "HMAC_UP" or block not in {known.name for known in self.chip.key_blocks}:
            return
        fails = ""
        if purpose is not None:
            fails = f"the plan burns another key into {block} ({purpose})"
        elif self.state.is_locked("RD_DIS"):
            fails = "RD_DIS is write-protected by then, and the key could not be read-protected"
        yield FirstBootBurn(
            block,
            "app",
            "NVS_SEC_HMAC_EFUSE_KEY_ID",
            "makes an HMAC key of its own for NVS encryption, which nobody knows",
            fails_because=fails,
        )
