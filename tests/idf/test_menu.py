# SPDX-License-Identifier: Apache-2.0
"""The menu "Secure provisioning": well-formed, readable without ESP-IDF, and heard by every command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from idf_trees import REPOSITORY

from secure_ext import __version__
from secure_ext.build.menu import read_menu, with_menu

KCONFIG_FILES = (REPOSITORY / "Kconfig.projbuild", REPOSITORY / "menuconfig" / "Kconfig.secure_provision")


def generated_config(folder: Path, *lines: str) -> dict[str, Any]:
    """What esp-idf-kconfig makes of the menu and an sdkconfig."""
    (folder / "sdkconfig").write_text("\n".join([*lines, ""]), encoding="utf-8")
    command = [sys.executable, "-m", "kconfgen", "--kconfig", str(KCONFIG_FILES[0]), "--config", "sdkconfig"]
    subprocess.run([*command, "--output", "json", "out.json"], cwd=folder, check=True, capture_output=True)
    content = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_the_checker_of_esp_idf_accepts_the_files() -> None:
    command = [sys.executable, "-m", "kconfcheck", *map(str, KCONFIG_FILES)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_defaults_change_nothing(tmp_path: Path) -> None:
    config = generated_config(tmp_path)
    assert config["SECURE_PROVISION_BUNDLE_ON_BUILD"] is False
    assert config["SECURE_PROVISION_FLASH_GUARD"] is True
    assert {value for value in config.values() if isinstance(value, str)} == {""}


def test_every_symbol_is_read_and_every_symbol_that_is_read_exists(tmp_path: Path) -> None:
    symbols = set(generated_config(tmp_path, "CONFIG_SECURE_PROVISION_BUNDLE_ON_BUILD=y"))
    source = (REPOSITORY / "secure_ext" / "build" / "menu.py").read_text(encoding="utf-8")
    source += (REPOSITORY / "project_include.cmake").read_text(encoding="utf-8")
    assert all(symbol.removeprefix("SECURE_PROVISION_") in source for symbol in symbols)
    assert len(symbols) == 7


def test_what_is_chosen_in_the_menu_is_heard(tmp_path: Path) -> None:
    config = generated_config(
        tmp_path,
        "CONFIG_SECURE_PROVISION_BUNDLE_ON_BUILD=y",
        "# CONFIG_SECURE_PROVISION_FAIL_ON_DOCTOR_ERRORS is not set",
        "# CONFIG_SECURE_PROVISION_FLASH_GUARD is not set",
        'CONFIG_SECURE_PROVISION_OUTPUT_DIR="out/factory bundle"',
        'CONFIG_SECURE_PROVISION_PROFILE="production.yaml"',
        'CONFIG_SECURE_PROVISION_SIGNING_KEYS="keys/one.pem; /safe/two.pem"',
        'CONFIG_SECURE_PROVISION_FLASH_KEY="keys/flash.bin"',
    )
    project = tmp_path / "project"
    (project / "build" / "config").mkdir(parents=True)
    (project / "build" / "config" / "sdkconfig.json").write_text(json.dumps(config), encoding="utf-8")
    menu = read_menu(project / "build")
    assert not menu.fail_on_doctor_errors
    assert not menu.flash_guard
    assert menu.output == project / "out" / "factory bundle"
    assert menu.profile == project / "production.yaml"
    assert menu.signing_keys == (project / "keys" / "one.pem", Path("/safe/two.pem"))
    assert menu.flash_encryption_key == project / "keys" / "flash.bin"


def test_a_path_can_hold_the_target_and_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "me"))
    (tmp_path / "build" / "config").mkdir(parents=True)
    chosen = {
        "IDF_TARGET": "esp32c6",
        "SECURE_PROVISION_OUTPUT_DIR": "factory/{target}",
        "SECURE_PROVISION_PROFILE": "~/profile.yaml",
        "SECURE_PROVISION_SIGNING_KEYS": "~/one.pem;~nobody-of-that-name/two.pem",
        "SECURE_PROVISION_FLASH_KEY": "~/{target}.bin",
    }
    (tmp_path / "build" / "config" / "sdkconfig.json").write_text(json.dumps(chosen), encoding="utf-8")
    menu = read_menu(tmp_path / "build")
    assert menu.output == tmp_path / "factory" / "esp32c6"
    assert menu.profile == tmp_path / "me" / "profile.yaml"
    assert menu.signing_keys == (tmp_path / "me" / "one.pem", tmp_path / "~nobody-of-that-name" / "two.pem")
    assert menu.flash_encryption_key == tmp_path / "me" / "esp32c6.bin"


def test_no_build_directory_means_the_defaults(tmp_path: Path) -> None:
    menu = read_menu(tmp_path / "build")
    assert menu.output == tmp_path / "build" / "secure"
    assert menu.flash_guard
    assert with_menu(tmp_path / "build", {"signing_key": (), "profile": None}) == {
        "signing_key": (),
        "profile": None,
        "flash_encryption_key": None,
    }


@pytest.fixture
def build_with_menu(new_build: Callable[..., Path], signing_keys: dict[str, Path]) -> Path:
    build = new_build()
    file = build / "config" / "sdkconfig.json"
    chosen = {"SECURE_PROVISION_SIGNING_KEYS": str(signing_keys["rsa_0"]), "SECURE_PROVISION_OUTPUT_DIR": "factory"}
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | chosen), encoding="utf-8")
    return build


def test_the_console_script_hears_the_menu(build_with_menu: Path, run_cli: Callable[..., Any]) -> None:
    done = run_cli("bundle", "-B", build_with_menu)
    assert done.exit_code == 0, done.output
    assert (build_with_menu.parent / "factory" / "manifest.json").is_file()


def test_options_and_a_profile_come_before_the_menu(build_with_menu: Path, signing_keys: dict[str, Path]) -> None:
    given = {"signing_key": (signing_keys["rsa_1"],), "profile": None}
    assert with_menu(build_with_menu, given)["signing_key"] == (signing_keys["rsa_1"],)
    replaced = {"signing_key": (), "profile": Path("other.yaml")}
    assert with_menu(build_with_menu, replaced) == replaced


def test_nothing_at_the_root_of_the_component_looks_like_a_kconfig_file() -> None:
    assert not [path.name for path in REPOSITORY.iterdir() if path.name.lower() == "kconfig"]


def test_the_component_has_the_version_of_the_package() -> None:
    assert f'version: "{__version__}"' in (REPOSITORY / "idf_component.yml").read_text(encoding="utf-8")
