# SPDX-License-Identifier: Apache-2.0
"""What the firmware still burns after provisioning: nothing where plan and sdkconfig agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.doctor_case import ANTI_ROLLBACK, BOTH, DEVELOPMENT, ENCRYPTED, SECOND_BOOTLOADER, Case, examine_case

from secure_ext.chips.facts import CHIP_NAMES, chip_facts
from secure_ext.plan.first_boot import FirstBootBurn

MODES: dict[str, dict[str, Any]] = {
    "development": {"flash_encryption": "development"},
    "development, secure boot": {"flash_encryption": "development", "secure_boot": True},
    "release": ENCRYPTED,
    "release, secure boot": BOTH,
    "secure boot": {"secure_boot": True},
}
QUICK = ("esp32", "esp32c2", "esp32c3")
COMBINATIONS = [
    pytest.param(chip, mode, marks=[] if chip in QUICK else pytest.mark.long)
    for chip in CHIP_NAMES
    for mode in MODES
    if chip_facts(chip).schemes or "secure boot" not in mode
]


def burns(case: Case, folder: Path) -> tuple[FirstBootBurn, ...]:
    return examine_case(case, folder).first_boot


@pytest.mark.parametrize(("chip", "mode"), COMBINATIONS)
def test_nothing_is_left_where_plan_and_sdkconfig_agree(chip: str, mode: str, tmp_path: Path) -> None:
    assert burns(Case(MODES[mode], chip=chip), tmp_path) == ()


OPEN = {"lockdown": {"download_mode": "open"}}
NVS_OFF = {"nvs": {"scheme": "off"}}
CURVES = {"ESP_ECDSA_ENABLE_P192_CURVE": True}
CONSTANT_TIME = {"ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL": True}
LEFT: dict[str, tuple[Case, list[str]]] = {
    "free slots": (
        Case(BOTH, {"secure_boot": {"revoke_unused": False}}),
        ["SECURE_BOOT_KEY_REVOKE1", "SECURE_BOOT_KEY_REVOKE2"],
    ),
    "free slots are wanted in both": (
        Case(
            BOTH | {"config": {"SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS": True}},
            {"secure_boot": {"revoke_unused": False}},
        ),
        [],
    ),
    "download mode": (Case(BOTH, OPEN), ["ENABLE_SECURITY_DOWNLOAD"]),
    "download mode of an esp32": (Case(BOTH, OPEN, chip="esp32"), ["UART_DOWNLOAD_DIS"]),
    "download mode disabled, though secure is planned": (
        Case(
            BOTH | {"config": {"SECURE_DISABLE_ROM_DL_MODE": True, "SECURE_ENABLE_SECURE_ROM_DL_MODE": False}},
            {"lockdown": {"download_mode": "secure"}},
        ),
        ["DIS_DOWNLOAD_MODE"],
    ),
    "download mode secure, though disabled is planned": (
        Case(BOTH, {"lockdown": {"download_mode": "disabled"}}),
        [],
    ),
    "ROM BASIC": (
        Case(
            BOTH | {"config": {"ESP32_DISABLE_BASIC_ROM_CONSOLE": True}},
            {"lockdown": {"rom_basic": "open"}},
            chip="esp32",
        ),
        ["CONSOLE_DEBUG_DISABLE"],
    ),
    "ROM log": (Case(BOTH | {"config": {"BOOT_ROM_LOG_ON_GPIO_LOW": True}}), ["UART_PRINT_CONTROL"]),
    "release firmware on a chip in development mode": (
        Case(BOTH, DEVELOPMENT),
        ["write protection of SPI_BOOT_CRYPT_CNT", "ENABLE_SECURITY_DOWNLOAD"],
    ),
    "an HMAC key": (Case(ENCRYPTED, NVS_OFF), ["BLOCK_KEY5"]),
    "secure version": (
        Case(BOTH | {"config": ANTI_ROLLBACK | {"BOOTLOADER_APP_SECURE_VERSION": 3}}),
        ["SECURE_VERSION"],
    ),
    "constant time, without secure boot": (
        Case(ENCRYPTED | {"config": CONSTANT_TIME}, chip="esp32h2"),
        ["ECC_FORCE_CONST_TIME"],
    ),
    "constant time, with secure boot": (Case(BOTH | {"config": CONSTANT_TIME}, chip="esp32h2"), []),
    "another curve": (
        Case(BOTH | {"config": CURVES}, chip="esp32h2"),
        ["ECDSA_CURVE_MODE", "write protection of ECDSA_CURVE_MODE"],
    ),
    "flash encryption": (Case(BOTH, {"flash_encryption": {"mode": "off"}}), ["SPI_BOOT_CRYPT_CNT"]),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left(name: str, tmp_path: Path) -> None:
    case, expected = LEFT[name]
    found = burns(case, tmp_path)
    assert [burn.efuse for burn in found] == expected
    for burn in found:
        assert burn.by in ("bootloader", "app") and burn.setting and burn.reason and not burn.fails_because


def test_what_cannot_be_burned_any_more_is_said(tmp_path: Path) -> None:
    (hmac,) = burns(Case(BOTH, NVS_OFF), tmp_path / "hmac")
    assert hmac.efuse == "BLOCK_KEY5" and "RD_DIS" in hmac.fails_because
    taken = Case(ENCRYPTED | {"config": {"NVS_SEC_HMAC_EFUSE_KEY_ID": 0}}, NVS_OFF)
    (hmac,) = burns(taken, tmp_path / "taken")
    assert "XTS_AES_128_KEY" in hmac.fails_because


def test_a_bootloader_that_refuses_to_start_burns_nothing(tmp_path: Path) -> None:
    assert burns(Case(BOTH, {"flash_encryption": {"mode": "off"}}, chip="esp32c2"), tmp_path) == ()


def test_plan_names_what_the_chip_does_not_have(tmp_path: Path, run_cli: Any) -> None:
    """ESP-IDF lets any ESP32-P4 be built for eFuses that early ones, or all of them, do not have."""
    options = SECOND_BOOTLOADER | {"BOOTLOADER_ANTI_ROLLBACK_ENABLE": True}
    examine_case(Case(BOTH | {"config": options, "min_revision": 100}, chip="esp32p4"), tmp_path)
    arguments = ("-B", tmp_path / "project" / "build", "--signing-key", tmp_path / "signing.pem")
    shown: Result = run_cli("plan", *arguments)
    for efuse in ("RECOVERY_BOOTLOADER_FLASH_SECTOR", "BOOTLOADER_ANTI_ROLLBACK_EN"):
        assert f"esp32p4 has no {efuse}" in shown.stdout
    accepted: Result = run_cli("bundle", *arguments, "--accept", "SP155", "-o", tmp_path / "out")
    assert accepted.exit_code == 2 and "SE405" in accepted.stderr
    refused: Result = run_cli("bundle", *arguments, "-o", tmp_path / "out")
    assert refused.exit_code == 1 and "SP155" in refused.stderr


def test_plan_shows_it(tmp_path: Path, run_cli: Any) -> None:
    examine_case(Case(BOTH), tmp_path)
    arguments = ("plan", "-B", tmp_path / "project" / "build", "--signing-key", tmp_path / "signing.pem")
    clean: Result = run_cli(*arguments)
    assert "At its first boot the firmware burns nothing more." in clean.stdout
    profile = tmp_path / "profile.yaml"
    profile.write_text("schema: 1\nsecure_boot: {revoke_unused: false, keys: [signing.pem]}\n")
    more: Result = run_cli(*arguments[:3], "--profile", profile)
    assert "the firmware burns more" in more.stdout and "SECURE_BOOT_KEY_REVOKE1 (by the app)" in more.stdout
    data: Result = run_cli(*arguments[:3], "--profile", profile, "--format", "json")
    assert '"efuse": "SECURE_BOOT_KEY_REVOKE2"' in data.stdout
