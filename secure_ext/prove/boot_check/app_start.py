# SPDX-License-Identifier: Apache-2.0
"""Does the app come to its ``app_main``? What its own start compares with the chip, and aborts or asserts over.

Sources (ESP-IDF ``components``): ``efuse/src/esp_efuse_startup.c`` (init_efuse_secure, init_efuse_rom_log; until 5.2
``esp_system/startup.c``) with ``efuse/<chip>/esp_efuse_fields.c``, ``esp_security/src/init.c`` (esp_security_init),
``spi_flash/esp_flash_spi_init.c`` and ``flash_ops.c`` (init_flash), ``esp_system/port/cpu_start.c``; read at every
release from 5.0 to 6.1-beta1. An init function that returns an error ends in ``abort()`` (``esp_system/startup.c``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from secure_ext.prove.boot_check.chip_facts import CHIPS
from secure_ext.prove.boot_check.efuses import Efuses
from secure_ext.prove.boot_check.findings import Findings
from secure_ext.prove.boot_check.firmware import OCTAL, TOO_FAST, TWO_CORES, Firmware
from secure_ext.prove.boot_check.header_flash_size import BelievedSize
from secure_ext.prove.boot_check.idf_version import Since, may_have, surely_has
from secure_ext.prove.boot_check.key_blocks import has_secure_boot, is_encrypting

_MEGABYTE = 0x100000
_CLOSED_IS_FINE: Since = {(5, 2): 7, (5, 3): 5, (5, 4): 4, (5, 5): 2, (6, 0): 0}
"""be280d34314 and its backports: ``esp_efuse_enable_rom_secure_download_mode`` accepts DIS_DOWNLOAD_MODE."""
_CHECKS_CLOCK: Since = {(5, 5): 2, (6, 0): 0}
_FASTEST = 160
_CHECKS_32_BIT: dict[str, Since] = {
    "esp32c6": {(5, 4): 0},
    "esp32h2": {(5, 4): 0},
    "esp32p4": {(5, 3): 2, (5, 4): 0},
}
_ROM_LOG_ABORTS: Since = {(5, 3): 0}
_ROM_LOG = {"BOOT_ROM_LOG_ON_GPIO_LOW": 1, "BOOT_ROM_LOG_ON_GPIO_HIGH": 2, "BOOT_ROM_LOG_ALWAYS_OFF": 3}
_P256_FOR_EVER, _WITH_P192 = 3, (1, 2)


@dataclass(frozen=True)
class Board:
    """What the app finds: eFuses, the flash chip's bytes, and what the bootloader took them for."""

    efuses: Efuses
    flash_size: int
    believed: BelievedSize


def check_app_start(app: Firmware, board: Board, is_signed: bool, findings: Findings) -> None:
    """What this app stops at on this board, whose image has a signature sector or not."""
    before = len(findings.faults)
    _cores(app, board.efuses, findings)
    _flash(app, board, findings)
    _secure_version(app, board.efuses, findings)
    _security(app, board.efuses, is_signed, findings)
    for field, why in _cannot_burn(app, board.efuses):
        findings.fault("BC32", f"at every start the app wants to burn {field}, cannot, and aborts: {why}")
    if not app.settings:
        findings.say("app: its build's settings are not in the manifest; what its image does not show was not judged")
    if len(findings.faults) == before:
        findings.say("app: nothing that its start compares with the chip stops it")


def _cores(app: Firmware, efuses: Efuses, findings: Findings) -> None:
    field = CHIPS[efuses.chip].one_core
    if not efuses.value(field):
        return
    one = app.has("FREERTOS_UNICORE") or app.has("ESP_SYSTEM_SINGLE_CORE_MODE")
    if app.shows(TWO_CORES) or (app.settings and not one):
        findings.fault("BC28", f"{field} is burned: this chip has one core, and the app starts two")


def _flash(app: Firmware, board: Board, findings: Findings) -> None:
    octal = app.has("ESPTOOLPY_OCT_FLASH") and not app.has("ESPTOOLPY_FLASH_MODE_AUTO_DETECT")
    if (octal or app.shows(OCTAL)) and not board.efuses.value("FLASH_TYPE"):
        findings.fault("BC37", "the app was built for octal flash, FLASH_TYPE does not say that this is one: it aborts")
    taken_for, by = board.believed.most, "the bootloader's header"
    if app.has("SPI_FLASH_SIZE_OVERRIDE"):
        taken_for, by = _MEGABYTE << (app.content[3] >> 4), "the app's header"
    if board.flash_size < taken_for:
        findings.fault(
            "BC25",
            f"the flash has {board.flash_size:#x} bytes, and by {by} it is taken for one of {taken_for:#x}: the app "
            "asserts at every start",
        )
    chip, since = board.efuses.chip, _CHECKS_32_BIT.get(board.efuses.chip)
    is_late = chip == "esp32p4" and board.efuses.revision() >= 1
    if taken_for > 16 * _MEGABYTE and since and may_have(app.version, since) and not is_late:
        findings.fault("BC26", f"the app of an {chip} refuses to start with more than 16 MB of flash")


def _secure_version(app: Firmware, efuses: Efuses, findings: Findings) -> None:
    place = efuses.places.get("SECURE_VERSION")
    if place is None or not (app.has("BOOTLOADER_APP_ANTI_ROLLBACK") or app.secure_version):
        return
    bits = min(app.number("BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD") or place.bits, place.bits)
    burned = (efuses.value("SECURE_VERSION") & ((1 << bits) - 1)).bit_count()
    if burned > app.secure_version:
        findings.fault(
            "BC27",
            f"the chip takes apps from secure version {burned} on, and this one has {app.secure_version}: neither "
            "bootloader nor app goes on",
        )


def _security(app: Firmware, efuses: Efuses, is_signed: bool, findings: Findings) -> None:
    closed, chip = CHIPS[efuses.chip].download_off, efuses.chip
    accepts = surely_has(app.version, _CLOSED_IS_FINE)
    if chip != "esp32" and app.has("SECURE_ENABLE_SECURE_ROM_DL_MODE") and efuses.value(closed) and not accepts:
        findings.fault(
            "BC29",
            f"{closed} is burned, and the app was built for the secure download mode: with this ESP-IDF it aborts at "
            "every start",
        )
    clock = app.number("ESP_DEFAULT_CPU_FREQ_MHZ") or 0
    is_checked = app.shows(TOO_FAST) or (clock > _FASTEST and may_have(app.version, _CHECKS_CLOCK))
    if chip == "esp32c5" and is_encrypting(efuses) and is_checked:
        findings.fault("BC30", f"flash encryption is on, and this app, built for more than {_FASTEST} MHz, aborts")
    if app.has("SECURE_SIGNED_ON_UPDATE_NO_SECURE_BOOT") and not is_signed:
        findings.fault("BC33", "the app verifies updates by the key of its own signature, has none, and aborts")
    if app.has("EFUSE_VIRTUAL"):
        findings.fault("BC35", "the firmware looks at virtual eFuses: it takes this chip for one with nothing burned")


def _cannot_burn(app: Firmware, efuses: Efuses) -> Iterator[tuple[str, str]]:
    """Fields that the app burns at its start if they are not as it wants them, where that fails; and why."""
    facts = CHIPS[efuses.chip]
    closed = facts.download_off
    wanted = [(closed, 1)] if app.has("SECURE_DISABLE_ROM_DL_MODE") else []
    if app.has("SECURE_ENABLE_SECURE_ROM_DL_MODE") and not efuses.value(closed):
        wanted.append(("ENABLE_SECURITY_DOWNLOAD", 1))
    if app.has("ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL"):
        wanted.append(("ECC_FORCE_CONST_TIME", 1))
    for field, value in wanted:
        if not efuses.can_burn(field, value, facts.locks.get(field)):
            yield field, "it is write-protected"
        elif field == "UART_DOWNLOAD_DIS" and not efuses.value(field) and _locks_crypt_count(app, efuses):
            yield field, "the app itself write-protects FLASH_CRYPT_CNT before, and both share one bit"
    if efuses.chip == "esp32" and wanted and efuses.revision() < 300:
        yield closed, "chips before v3.0 do not have it"
    yield from _rom_log(app, efuses)
    yield from _curve(app, efuses)


def _locks_crypt_count(app: Firmware, efuses: Efuses) -> bool:
    """Whether ``esp_flash_encryption_init_checks`` (``bootloader_support/src/flash_encrypt.c``) will."""
    count = CHIPS[efuses.chip].crypt_count
    is_full = efuses.value(count) == (1 << efuses.places[count].bits) - 1
    built_for = app.has("SECURE_FLASH_ENCRYPTION_MODE_RELEASE") and app.has("SECURE_BOOT")
    return built_for and is_encrypting(efuses) and has_secure_boot(efuses) and not is_full


def _rom_log(app: Firmware, efuses: Efuses) -> Iterator[tuple[str, str]]:
    field = "UART_PRINT_CONTROL"
    current = efuses.value(field)
    for setting, value in _ROM_LOG.items():
        if app.has(setting) and field in efuses.places and may_have(app.version, _ROM_LOG_ABORTS) and current != value:
            if current:
                yield field, f"it is {current} already, and the build wants {value}"
            elif not efuses.can_burn(field, value, CHIPS[efuses.chip].locks.get(field)):
                yield field, "it is write-protected"


def _curve(app: Firmware, efuses: Efuses) -> Iterator[tuple[str, str]]:
    field = "ECDSA_CURVE_MODE"
    current = efuses.value(field)
    if field in efuses.places and app.has("ESP_ECDSA_ENABLE_P192_CURVE") and current not in _WITH_P192:
        if current == _P256_FOR_EVER or not efuses.can_burn(field, 2, CHIPS[efuses.chip].locks.get(field)):
            yield field, "the curve is locked"
