# SPDX-License-Identifier: Apache-2.0
"""Rules about what the firmware itself leaves open: checks that are skipped, logs, debuggers, pins."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject
from secure_ext.formats.partition_table import TYPE_APP

_TEST = 0x20
_DEBUG = 4
_SKIPS = {
    "BOOTLOADER_SKIP_VALIDATE_ALWAYS": "never checks the app",
    "BOOTLOADER_SKIP_VALIDATE_ON_POWER_ON": "does not check the app after power-on",
    "BOOTLOADER_SKIP_VALIDATE_IN_DEEP_SLEEP": "does not check the app after deep sleep",
}
_INSECURE = (
    "SECURE_BOOT_ALLOW_ROM_BASIC",
    "SECURE_BOOT_ALLOW_JTAG",
    "SECURE_BOOT_ALLOW_SHORT_APP_PARTITION",
    "SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS",
)
"""The options under SECURE_BOOT_INSECURE, but the one for ECDSA (SP025) and the one that starts less (SP033)."""


def _is_production(subject: Subject) -> bool:
    development = subject.policy.flash_encryption.enabled and not subject.policy.flash_encryption.release
    return subject.policy.locks_down and not development


def _validation_skipped(subject: Subject) -> Iterator[Match]:
    enabled = [name for name in _SKIPS if subject.build.config.enabled(name)]
    if enabled and _is_production(subject):
        yield Match(f"CONFIG_{enabled[0]}", f"the bootloader {_SKIPS[enabled[0]]}: it starts whatever is there")


def _insecure_options(subject: Subject) -> Iterator[Match]:
    config = subject.build.config
    enabled = [f"CONFIG_{name}" for name in _INSECURE if config.enabled(name)]
    if config.enabled("SECURE_BOOT_INSECURE") and enabled and _is_production(subject):
        yield Match("CONFIG_SECURE_BOOT_INSECURE", f"the build has potentially insecure options: {', '.join(enabled)}")


def _chatty_bootloader(subject: Subject) -> Iterator[Match]:
    level = subject.build.config.integer("BOOTLOADER_LOG_LEVEL") or 0
    if level >= _DEBUG and _is_production(subject):
        yield Match(
            "CONFIG_BOOTLOADER_LOG_LEVEL",
            f"every bootloader prints at level {'debug' if level == _DEBUG else 'verbose'} on its serial port",
        )


def _gdb_stub(subject: Subject) -> Iterator[Match]:
    for name, when in (
        ("ESP_SYSTEM_GDBSTUB_RUNTIME", "at any time"),
        ("ESP_SYSTEM_PANIC_GDBSTUB", "after a crash"),
    ):
        if subject.build.config.enabled(name) and _is_production(subject):
            yield Match(
                f"CONFIG_{name}",
                f"the app serves a debugger on its serial port {when}: it reads and writes all of memory, JTAG or not",
            )


def _core_dump_to_uart(subject: Subject) -> Iterator[Match]:
    if subject.build.config.enabled("ESP_COREDUMP_ENABLE_TO_UART") and _is_production(subject):
        yield Match("CONFIG_ESP_COREDUMP_ENABLE_TO_UART", "after a crash the app prints its memory on the serial port")


def _test_app_by_pin(subject: Subject) -> Iterator[Match]:
    has_test = any(row.type == TYPE_APP and row.subtype == _TEST for row in subject.build.partitions.partitions)
    if subject.build.config.enabled("BOOTLOADER_APP_TEST") and has_test and _is_production(subject):
        yield Match(
            "CONFIG_BOOTLOADER_APP_TEST", "whoever pulls a pin at power-on starts the test app instead of the product"
        )


RULES = (
    Rule(
        "SP035",
        Severity.WARNING,
        "bootloader skips the check of the app",
        _validation_skipped,
        explanation="The bootloader normally verifies the hash of the app, and with secure boot its signature, "
        "before it starts it. With one of these options it does not, to save time. Flash that was changed by an "
        "attacker or by a fault is then run unseen; after deep sleep that holds even with secure boot.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (BOOTLOADER_SKIP_VALIDATE_*); "
        "components/bootloader_support/src/esp_image_format.c",
        cure="set the option to n (menuconfig, Bootloader config) and build again",
    ),
    Rule(
        "SP036",
        Severity.WARNING,
        "build has potentially insecure options",
        _insecure_options,
        explanation="ESP-IDF keeps options that weaken secure boot in a menu of its own, for development. Whatever "
        "the plan burns, updates built from this configuration carry them on, and each one is a question at a "
        "security review.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT_INSECURE and the menu that depends on it)",
        cure="set CONFIG_SECURE_BOOT_INSECURE=n (menuconfig, Security features) and build again",
        concerns=Concern.BOTH,
        settings=(("SECURE_BOOT_INSECURE", False),),
    ),
    Rule(
        "SP056",
        Severity.WARNING,
        "bootloader prints debug output",
        _chatty_bootloader,
        explanation="At the levels debug and verbose the bootloader prints addresses, sizes and what it compares, on "
        "a port that stays readable after the chip is closed. It also becomes slower and some kilobytes larger, "
        "which a signed bootloader seldom has room for.",
        source="ESP-IDF components/bootloader/Kconfig.log (BOOTLOADER_LOG_LEVEL); ESP-IDF issue 8002",
        cure="set CONFIG_BOOTLOADER_LOG_LEVEL_WARN=y or CONFIG_BOOTLOADER_LOG_LEVEL_INFO=y (menuconfig, Bootloader "
        "config) and build again",
        settings=(("BOOTLOADER_LOG_LEVEL_INFO", True),),
    ),
    Rule(
        "SP057",
        Severity.WARNING,
        "app serves a debugger on its serial port",
        _gdb_stub,
        explanation="The GDB stub is a debugger that needs no JTAG: three wires to the serial port are enough to "
        "read keys from memory, to change it, and to read flash through the chip, which decrypts it.",
        source="ESP-IDF components/esp_gdbstub/Kconfig (ESP_SYSTEM_GDBSTUB_RUNTIME); components/esp_system/Kconfig "
        "(ESP_SYSTEM_PANIC_GDBSTUB)",
        cure="set CONFIG_ESP_SYSTEM_GDBSTUB_RUNTIME=n and CONFIG_ESP_SYSTEM_PANIC_PRINT_REBOOT=y or "
        "CONFIG_ESP_SYSTEM_PANIC_SILENT_REBOOT=y (menuconfig, ESP System Settings) and build again",
        concerns=Concern.BOTH,
        settings=(
            ("ESP_SYSTEM_GDBSTUB_RUNTIME", False),
            ("ESP_SYSTEM_PANIC_PRINT_REBOOT", True),
        ),
    ),
    Rule(
        "SP058",
        Severity.WARNING,
        "core dumps go to the serial port",
        _core_dump_to_uart,
        explanation="A core dump holds the stacks of all tasks and often the heap, with passwords and session keys "
        "in it. Printed on the serial port, it is there for anyone who can crash the app and listen.",
        source="ESP-IDF components/espcoredump/Kconfig (ESP_COREDUMP_ENABLE_TO_UART); ESP-IDF issue 2932",
        cure="set CONFIG_ESP_COREDUMP_ENABLE_TO_NONE=y, or ..._TO_FLASH=y with a coredump partition flagged "
        "encrypted, and build again",
        concerns=Concern.BOTH,
        settings=(("ESP_COREDUMP_ENABLE_TO_NONE", True),),
    ),
    Rule(
        "SP059",
        Severity.WARNING,
        "a pin starts the test app",
        _test_app_by_pin,
        explanation="The bootloader starts the app in the partition of subtype test when a pin is held at power-on. "
        "In the field that is a second firmware, seldom updated, that anyone with a wire can choose.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (BOOTLOADER_APP_TEST)",
        cure="set CONFIG_BOOTLOADER_APP_TEST=n (menuconfig, Bootloader config) and build again, or leave the test "
        "partition out of the CSV",
        settings=(("BOOTLOADER_APP_TEST", False),),
    ),
)
