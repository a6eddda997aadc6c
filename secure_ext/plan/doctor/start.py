"""Rules about the app's own start: what it compares with the chip before ``app_main``, and aborts over for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secure_ext.plan.doctor.rule import Hit, Rule, Severity, Subject
from secure_ext.plan.steps import BurnField
from secure_ext.project.flash_size import MEGABYTE
from secure_ext.project.idf_version import parse_idf_version

_Since = Mapping[tuple[int, int], int]
_CLOSED_IS_FINE: _Since = {(5, 2): 7, (5, 3): 5, (5, 4): 4, (5, 5): 2, (6, 0): 0}
"""Where ``esp_efuse_enable_rom_secure_download_mode`` accepts DIS_DOWNLOAD_MODE: be280d34314 and its backports."""
_CHECKS_32_BIT: _Since = {(5, 4): 0}
_REFUSES_32_BIT = ("esp32c6", "esp32h2")


def _secure_download_mode_of_none(subject: Subject) -> Iterator[Hit]:
    build = subject.build
    burned = {step.action.field for step in subject.plan.steps if isinstance(step.action, BurnField)}
    if not build.config.enabled("SECURE_ENABLE_SECURE_ROM_DL_MODE") or "DIS_DOWNLOAD_MODE" not in burned:
        return
    version = parse_idf_version(build.idf_version)
    if version is None or not version.has(_CLOSED_IS_FINE):
        yield Hit(
            "CONFIG_SECURE_ENABLE_SECURE_ROM_DL_MODE",
            f"with ESP-IDF {build.idf_version or 'of an unknown version'} the app aborts at every start once the "
            "download mode is disabled, because it was built for the secure one",
        )


def _flash_above_16_mb(subject: Subject) -> Iterator[Hit]:
    build = subject.build
    version = parse_idf_version(build.idf_version)
    believed = 0 if build.bootloader_flash is None else build.bootloader_flash.most
    checks = version is None or version.has(_CHECKS_32_BIT)
    if subject.chip.name in _REFUSES_32_BIT and believed > 16 * MEGABYTE and checks:
        yield Hit(
            "CONFIG_ESPTOOLPY_FLASHSIZE",
            f"the build is for {believed // MEGABYTE} MB of flash, and the app of an {subject.chip.name} aborts at "
            "every start with more than 16 MB",
        )


RULES = (
    Rule(
        "SP110",
        Severity.ERROR,
        "app aborts where the download mode is disabled",
        _secure_download_mode_of_none,
        explanation="An app that was built for the secure download mode turns it on at every start. Before 5.2.7, "
        "5.3.5, 5.4.4, 5.5.2 and 6.0 ESP-IDF takes it for an error if the download mode is disabled already, and the "
        "app aborts: a board that never starts, and that has no download mode any more to be flashed by. A version "
        "that cannot be told is taken for one of these.",
        source="ESP-IDF components/efuse/<chip>/esp_efuse_fields.c (esp_efuse_enable_rom_secure_download_mode), "
        "components/efuse/src/esp_efuse_startup.c (init_efuse_secure); commit be280d34314",
        cure="set CONFIG_SECURE_DISABLE_ROM_DL_MODE=y (menuconfig, Security features, UART ROM download mode) and "
        "build again, or plan lockdown.download_mode: secure, or build with a later ESP-IDF",
        acceptable=False,
    ),
    Rule(
        "SP111",
        Severity.ERROR,
        "app refuses more than 16 MB of flash",
        _flash_above_16_mb,
        explanation="Flash above 16 MB needs addresses of 32 bits, which ESP-IDF holds for too risky on some chips: "
        "since 5.4 their app ends its start with an error, and aborts every time. The bootloader knows such sizes "
        "since 5.4.4 and 5.5.2 and lets it come to that; before, it takes the flash for 2 MB.",
        source="ESP-IDF components/spi_flash/flash_ops.c (esp_mspi_32bit_address_flash_feature_check), "
        "esp_flash_spi_init.c (esp_flash_init_default_chip)",
        cure="set CONFIG_ESPTOOLPY_FLASHSIZE_16MB=y (menuconfig, Serial flasher config) and build again",
        acceptable=False,
    ),
)
