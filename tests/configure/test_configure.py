# SPDX-License-Identifier: Apache-2.0
"""`configure` on a small ESP-IDF with the traps of the real ones: what is set holds, what cannot be is explained."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from configure_runs import Run, configure, files_of
from support.kconfig_project import NVS, NVS_PROVIDER, TWO_OTA, make_project
from support.terminal import at_a_terminal

from secure_ext.build.configured import read_configured
from secure_ext.build.kconfig_tree import load_kconfig_tree
from secure_ext.build.sdkconfig import read_sdkconfig
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.flash_sectors import whole_sectors


@pytest.mark.parametrize("chip", ["esp32", "esp32c2", "esp32c3"])
def test_the_recommended_set_holds_and_a_second_run_changes_nothing(chip: str, run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path, chip)
    done = configure(run_cli, project, "--apply")
    assert done.exit_code == 0, done.output
    assert "it is no update for them" in done.output
    config = read_sdkconfig(project / "sdkconfig")
    for symbol in (
        *("SECURE_BOOT", "SECURE_BOOT_V2_ENABLED", "SECURE_FLASH_ENC_ENABLED", "NVS_ENCRYPTION"),
        "SECURE_FLASH_ENCRYPTION_MODE_RELEASE",
        "SECURE_DISABLE_ROM_DL_MODE" if chip == "esp32" else "SECURE_ENABLE_SECURE_ROM_DL_MODE",
        "NVS_SEC_KEY_PROTECT_USING_HMAC" if chip == "esp32c3" else "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC",
        *(["ESP32_REV_MIN_3"] if chip == "esp32" else []),
        *(["SECURE_FLASH_ENCRYPTION_AES128_DERIVED"] if chip == "esp32c2" else []),
    ):
        assert config.enabled(symbol), symbol
    assert not config.enabled("SECURE_BOOT_BUILD_SIGNED_BINARIES")
    assert config.integer("PARTITION_TABLE_OFFSET") == 0xF000
    assert load_kconfig_tree(read_configured(project / "build")).values().values.items() >= config.values.items()
    before = files_of(project)
    again = configure(run_cli, project, "--apply")
    assert again.exit_code == 0 and "nothing to write" in again.output and "has all of it" in again.output
    assert files_of(project) == before
    assert configure(run_cli, project, "--check").exit_code == 0
    examined = run_cli("doctor", "-B", str(project / "build"), "--configuration")
    assert examined.exit_code == 0 and "SP152" in examined.output, examined.output


def test_the_doctor_sees_what_is_lacking_before_anything_is_built(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    words = ("--flash-encryption", "release", "--secure-boot")
    done = run_cli("doctor", "-B", str(project / "build"), "--configuration", *words)
    assert done.exit_code == 1
    assert "SP020" in done.output and "SP021" in done.output


def test_what_the_doctor_would_find_is_cured_at_once(run_cli: Run, tmp_path: Path) -> None:
    """Of settings that nobody wished for, with the finding as the reason; `accept` leaves it."""
    project = make_project(tmp_path)
    sdkconfig = project / "sdkconfig"
    sdkconfig.write_text(sdkconfig.read_text() + "CONFIG_EFUSE_VIRTUAL=y\n")
    done = configure(run_cli, project, "--apply")
    assert done.exit_code == 0, done.output
    assert "+ CONFIG_EFUSE_VIRTUAL=n\n      SP030: " in done.output
    assert not read_sdkconfig(sdkconfig).enabled("EFUSE_VIRTUAL")
    before = files_of(project)
    configure(run_cli, project, "--apply")
    assert files_of(project) == before


def test_a_cure_goes_once_the_profile_accepts_its_finding(run_cli: Run, tmp_path: Path) -> None:
    jtag = 'config SECURE_BOOT_ALLOW_JTAG\n    bool "JTAG"\n    default y\n'
    project, profile = make_project(tmp_path, components=(NVS, NVS_PROVIDER, jtag)), tmp_path / "profile.yaml"
    defaults = project / "sdkconfig.defaults.secure"
    for _ in range(2):
        assert configure(run_cli, project, "--apply").exit_code == 0
        assert "CONFIG_SECURE_BOOT_ALLOW_JTAG=n" in defaults.read_text()
    profile.write_text("schema: 1\ndoctor:\n  accept: [SP042]\n")
    done = configure(run_cli, project, "--profile", str(profile))
    assert done.exit_code == 0, done.output
    assert "CONFIG_SECURE_BOOT_ALLOW_JTAG" not in defaults.read_text()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "sdkconfig.defaults.secure"),
        (
            "common;own;sdkconfig.defaults.secure",
            "common;own;sdkconfig.defaults.secure",
        ),
    ],
)
def test_the_defaults_name_the_others_of_the_project(given: str, shown: str, run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    description = project / "build" / "project_description.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "config_defaults": given}))
    configure(run_cli, project)
    assert f'SDKCONFIG_DEFAULTS="{shown}"' in (project / "sdkconfig.defaults.secure").read_text()


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_to_a_shared_table_stays_a_link(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path, csv="nvs, data, nvs, , 0x4000,\nota_0, app, ota_0, , 1M,\n")
    shared = (project / "table.csv").rename(tmp_path / "shared.csv")
    (project / "table.csv").symlink_to(shared)
    assert configure(run_cli, project, "--apply").exit_code == 0
    assert (project / "table.csv").is_symlink() and "otadata" in shared.read_text()


def test_all_of_it_off_is_nothing_to_examine(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path, components=())
    done = configure(run_cli, project, "--flash-encryption", "off", "--no-secure-boot", "--nvs", "off")
    assert done.exit_code == 0 and "SP" not in done.output, done.output


def test_check_writes_nothing_and_says_what_is_lacking(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    before = files_of(project)
    done = configure(run_cli, project, "--check", "--format", "json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert not told["complete"] and not told["written"]
    assert {"SECURE_BOOT", "PARTITION_TABLE_OFFSET"} <= {one["symbol"] for one in told["settings"] if one["lacking"]}
    assert [one["partition"] for one in told["partition_table"]["moved"]] == ["nvs", "otadata", "ota_0", "ota_1"]
    assert files_of(project) == before


def test_each_line_of_the_defaults_has_its_reason_and_gives_the_same_values(run_cli: Run, tmp_path: Path) -> None:
    """Loaded over a new sdkconfig, as the build does with defaults."""
    project = make_project(tmp_path)
    done = configure(run_cli, project)
    assert done.exit_code == 0, done.output
    assert "CONFIG_SECURE_BOOT=" not in (project / "sdkconfig").read_text()
    lines = (project / "sdkconfig.defaults.secure").read_text().splitlines()
    for number, line in enumerate(lines):
        assert not line.startswith("CONFIG_") or lines[number - 1].startswith("# ")
    wanted = read_sdkconfig(project / "sdkconfig.defaults.secure").values
    (project / "sdkconfig").write_text("\n".join(lines))
    tree = load_kconfig_tree(read_configured(project / "build"))
    assert {name: tree.value(name) for name in wanted} == wanted
    assert configure(run_cli, project, "--check").exit_code == 0


@pytest.mark.parametrize(("chip", "scheme"), [("esp32c3", "rsa3072"), ("esp32c2", "ecdsa256")])
def test_it_ends_with_the_key_that_is_needed(chip: str, scheme: str, run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path, chip)
    command = f"secure-provision keys generate {scheme} signing_key.pem"
    assert command in configure(run_cli, project, "--apply").stderr
    (project / "signing_key.pem").touch()
    assert command not in configure(run_cli, project, "--apply").stderr


REAL_BOOTLOADERS = (
    *(("esp32c3", size) for size in (19_856, 20_960)),
    *(("esp32", size) for size in (26_752, 36_160)),
    ("esp32c2", 24_688),
)
"""Sizes in bytes of bootloaders of public projects that log as ESP-IDF does by default."""


@pytest.mark.parametrize(("chip", "size"), REAL_BOOTLOADERS)
def test_the_room_is_enough_for_real_bootloaders(chip: str, size: int, run_cli: Run, tmp_path: Path) -> None:
    """Chosen before anything is built, it is enough for what the build then makes with all features, and signed."""
    project = make_project(tmp_path, chip)
    assert configure(run_cli, project, "--apply").exit_code == 0
    offset = read_sdkconfig(project / "sdkconfig").integer("PARTITION_TABLE_OFFSET") or 0
    grown = whole_sectors(size + 0x3000) + 0x1000
    assert FACTS[chip].bootloader_offset + grown <= offset
    bootloader = project / "build" / "bootloader" / "bootloader.bin"
    bootloader.parent.mkdir()
    bootloader.write_bytes(bytes(size + 0x3000))
    assert configure(run_cli, project, "--check").exit_code == 0


def test_settings_of_others_stay(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    sdkconfig = project / "sdkconfig"
    sdkconfig.write_text(sdkconfig.read_text() + 'CONFIG_ESPTOOLPY_FLASHSIZE="8MB"\nCONFIG_BOOTLOADER_LOG_LEVEL=5\n')
    assert configure(run_cli, project, "--apply").exit_code == 0
    config = read_sdkconfig(sdkconfig)
    assert (config.text("ESPTOOLPY_FLASHSIZE"), config.integer("BOOTLOADER_LOG_LEVEL")) == ("8MB", 5)
    assert config.integer("PARTITION_TABLE_OFFSET") == 0x12000, "all the texts of that level"
    assert sdkconfig.read_text().startswith("#\n# Automatically generated file. DO NOT EDIT.\n#\n")


def test_what_is_only_recommended_is_left_out_with_the_reason(run_cli: Run, tmp_path: Path) -> None:
    """ECDSA of this chip is not sound, and the project has no NVS: both are no error."""
    project = make_project(tmp_path, "esp32c61", components=())
    done = configure(run_cli, project, "--apply")
    assert done.exit_code == 0, done.output
    assert "left out: CONFIG_NVS_ENCRYPTION" in done.output
    config = read_sdkconfig(project / "sdkconfig")
    assert not config.enabled("SECURE_BOOT") and config.enabled("SECURE_FLASH_ENC_ENABLED")


@pytest.mark.skipif(os.name == "nt", reason="a pseudo-terminal")
@pytest.mark.parametrize("writes", [True, False], ids=["yes", "no"])
def test_on_a_terminal_it_asks_for_what_nobody_has_said(tmp_path: Path, *, writes: bool) -> None:
    """Three questions, return for what is recommended, and one before it writes."""
    project = make_project(tmp_path)
    before = files_of(project)
    answers = "\n".join(["development", "flash-encryption", "", "y" if writes else "n"])
    code, shown = at_a_terminal(answers, "configure", "-B", project / "build", "--secure-boot", "--apply")
    assert ("Flash encryption" in shown, "Secure boot (" in shown, "Write this?" in shown) == (True, False, True)
    if writes:
        assert code == 0, shown
        config = read_sdkconfig(project / "sdkconfig")
        assert config.enabled("SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT")
        assert config.enabled("NVS_SEC_KEY_PROTECT_USING_FLASH_ENC")
    else:
        assert code == 1 and files_of(project) == before, shown


def test_an_esp_idf_that_has_no_secure_boot_and_no_hmac_for_the_chip_yet(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path, "esp32h4")
    assert configure(run_cli, project, "--apply").exit_code == 0
    config = read_sdkconfig(project / "sdkconfig")
    assert not config.enabled("SECURE_BOOT") and config.enabled("NVS_SEC_KEY_PROTECT_USING_FLASH_ENC")
    wished = configure(run_cli, project, "--apply", "--secure-boot")
    assert wished.exit_code == 1 and "SOC_SECURE_BOOT_SUPPORTED is n" in wished.output


def test_wishes_of_a_profile_and_of_the_line(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    profile = tmp_path / "profile.yaml"
    profile.write_text("schema: 1\nflash_encryption: {mode: development}\nnvs: {scheme: flash-encryption}\n")
    done = configure(run_cli, project, "--apply", "--profile", str(profile), "--signed-by-build", "key.pem")
    assert done.exit_code == 0, done.output
    config = read_sdkconfig(project / "sdkconfig")
    assert config.enabled("SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT")
    assert config.enabled("NVS_SEC_KEY_PROTECT_USING_FLASH_ENC")
    assert config.text("SECURE_BOOT_SIGNING_KEY") == "key.pem"


def test_a_built_in_table_is_copied_where_it_lacks_a_row(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    done = configure(run_cli, project, "--apply", "--nvs", "flash-encryption")
    assert done.exit_code == 0, done.output
    added = "nvs_keys, data, nvs_keys, , 0x1000, encrypted\n"
    assert (project / "partitions_secure.csv").read_text() == TWO_OTA + added
    assert f"+{added}" in done.output
    assert read_sdkconfig(project / "sdkconfig").text("PARTITION_TABLE_CUSTOM_FILENAME") == "partitions_secure.csv"
    assert configure(run_cli, project, "--check", "--nvs", "flash-encryption").exit_code == 0


OWN = """\
# our table\tkeep this
nvs,\tdata, nvs,      0x9000,  0x4000, encrypted   # not a comment of ESP-IDF's
ota_0, app,  ota_0,   0x10000, 1M,
  # and this
ota_1, app,  ota_1,          , 1M,
"""


def test_an_own_table_keeps_its_comments_and_its_places(run_cli: Run, tmp_path: Path) -> None:
    """Two rows say where they are: they are not moved unless that is asked for."""
    own = OWN.replace("   # not a comment of ESP-IDF's", "")
    project = make_project(tmp_path, csv=own)
    before = files_of(project)
    refused = configure(run_cli, project, "--apply")
    assert refused.exit_code == 3 and "SE116" in refused.output and "--move-partitions" in refused.output
    assert files_of(project) == before
    done = configure(run_cli, project, "--apply", "--move-partitions")
    assert done.exit_code == 0, done.output
    assert (project / "table.csv").read_text() == (
        "# our table\tkeep this\n"
        "nvs,\tdata, nvs,            ,  0x4000,\n"
        "ota_0, app,  ota_0,          , 1M,\n"
        "  # and this\n"
        "ota_1, app,  ota_1,          , 1M,\n"
        "otadata, data, ota, , 0x2000\n"
    )


def test_a_table_that_is_far_enough_behind_stays(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (project / "sdkconfig").write_text("CONFIG_PARTITION_TABLE_OFFSET=0xc000\n")
    done = configure(run_cli, project, "--apply")
    assert done.exit_code == 0 and "no update" not in done.output
    assert read_sdkconfig(project / "sdkconfig").integer("PARTITION_TABLE_OFFSET") == 0xC000


def test_a_large_bootloader_has_room_and_one_rebuild_is_enough(run_cli: Run, tmp_path: Path) -> None:
    """Built before the features, it will grow; built with them, nothing changes any more."""
    project = make_project(tmp_path)
    bootloader = project / "build" / "bootloader" / "bootloader.bin"
    bootloader.parent.mkdir()
    bootloader.write_bytes(bytes(0xD000))
    assert configure(run_cli, project, "--apply").exit_code == 0
    offset = read_sdkconfig(project / "sdkconfig").integer("PARTITION_TABLE_OFFSET")
    assert offset == 0xD000 + 0x3000 + 0x1000
    bootloader.write_bytes(bytes(0xF800))
    assert configure(run_cli, project, "--check").exit_code == 0


def test_the_environment_of_this_process_is_as_before(run_cli: Run, tmp_path: Path) -> None:
    before = dict(os.environ)
    configure(run_cli, make_project(tmp_path))
    assert dict(os.environ) == before


SECURED = """\
CONFIG_SECURE_BOOT=y
CONFIG_SECURE_FLASH_ENC_ENABLED=y
CONFIG_SECURE_FLASH_ENCRYPTION_MODE_RELEASE=y
CONFIG_SECURE_DISABLE_ROM_DL_MODE=y
CONFIG_NVS_ENCRYPTION=y
CONFIG_NVS_SEC_KEY_PROTECT_USING_HMAC=y
CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID=2
CONFIG_SECURE_BOOT_SIGNING_KEY="keys/prod.pem"
"""


def test_what_a_secured_project_has_stays(run_cli: Run, tmp_path: Path) -> None:
    """Boards in the field have its NVS keys, its download mode and its partition table, built or not."""
    project = make_project(tmp_path)
    (project / "sdkconfig").write_text(SECURED)
    assert configure(run_cli, project, "--check").exit_code == 0
    done = configure(run_cli, project, "--apply")
    assert done.exit_code == 0 and "The project has all of it." in done.output, done.output
    assert (project / "sdkconfig").read_text() == SECURED
    asked = configure(run_cli, project, "--apply", "--download-mode", "secure", "--nvs", "flash-encryption")
    assert asked.exit_code == 0, asked.output
    config = read_sdkconfig(project / "sdkconfig")
    assert config.enabled("SECURE_ENABLE_SECURE_ROM_DL_MODE") and config.enabled("NVS_SEC_KEY_PROTECT_USING_FLASH_ENC")


def test_a_signature_scheme_of_boards_in_the_field_stays(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path, "esp32c2")
    assert configure(run_cli, project, "--apply").exit_code == 0
    assert "ecdsa256" in configure(run_cli, project).stderr


def test_a_key_with_quotes_in_its_name(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    name = 'a "b"\\c.pem'
    assert configure(run_cli, project, "--apply", "--signed-by-build", name).exit_code == 0
    for file in ("sdkconfig", "sdkconfig.defaults.secure"):
        assert read_sdkconfig(project / file).text("SECURE_BOOT_SIGNING_KEY") == name
    assert configure(run_cli, project, "--check", "--signed-by-build", name).exit_code == 0


def test_an_option_counts_before_the_profile_and_before_the_doctor(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    profile = tmp_path / "profile.yaml"
    profile.write_text("schema: 1\nlockdown: {download_mode: disabled}\n")
    done = configure(run_cli, project, "--apply", "--profile", str(profile), "--download-mode", "secure")
    assert done.exit_code == 0, done.output
    assert "SECURE_DISABLE_ROM_DL_MODE" not in (project / "sdkconfig.defaults.secure").read_text()
    assert read_sdkconfig(project / "sdkconfig").enabled("SECURE_ENABLE_SECURE_ROM_DL_MODE")


def test_development_leaves_the_download_mode_alone(run_cli: Run, tmp_path: Path) -> None:
    """No mode but the open one can be undone."""
    project = make_project(tmp_path)
    assert configure(run_cli, project, "--apply", "--flash-encryption", "development").exit_code == 0
    assert read_sdkconfig(project / "sdkconfig").enabled("SECURE_INSECURE_ALLOW_DL_MODE")


def test_line_ends_and_the_mode_of_files_are_kept(run_cli: Run, tmp_path: Path) -> None:
    own = "nvs, data, nvs, , 0x4000,\r\nota_0, app, ota_0, , 1M,\r\nlfs, data, spiffs, , 64K\r\n"
    project = make_project(tmp_path)
    sdkconfig = project / "sdkconfig"
    (project / "table.csv").write_bytes(own.encode())
    sdkconfig.write_text('CONFIG_PARTITION_TABLE_CUSTOM=y\nCONFIG_PARTITION_TABLE_CUSTOM_FILENAME="table.csv"\n')
    sdkconfig.chmod(0o660)
    done = configure(run_cli, project, "--apply")
    assert done.exit_code == 0, done.output
    assert (project / "table.csv").read_bytes() == own.encode() + b"otadata, data, ota, , 0x2000\r\n"
    if os.name == "posix":
        assert sdkconfig.stat().st_mode & 0o777 == 0o660
