# SPDX-License-Identifier: Apache-2.0
"""Kconfig values: what the build used, what the sdkconfig says now, and where the two differ."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from secure_ext.build.sdkconfig import ConfigDifference, SdkConfig, differences, read_built_config, read_sdkconfig
from secure_ext.errors import InputError
from secure_ext.sample.chip_facts import CHIPS
from secure_ext.sample.config import config_of, sdkconfig_text
from secure_ext.sample.options import SampleOptions

TEXT = r"""#
# Espressif IoT Development Framework (ESP-IDF) 6.1.0 Project Configuration
#
CONFIG_SECURE_BOOT=y
# CONFIG_SECURE_FLASH_ENC_ENABLED is not set
CONFIG_PARTITION_TABLE_OFFSET=0xC000
CONFIG_ESP_REV_MIN_FULL=301
CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID=-1
CONFIG_SECURE_BOOT_SIGNING_KEY="keys \"of\" C:\\me\\key.pem"
CONFIG_EMPTY=""
CONFIG_ODD_BOOL=n
CONFIG_PARTITION_TABLE_LEADING_ZERO=010
# Deprecated options for backward compatibility
CONFIG_SECURE_OLD_NAME=y
# End of deprecated options
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_form_of_a_line(tmp_path: Path, newline: str) -> None:
    path = tmp_path / "sdkconfig"
    path.write_bytes(TEXT.replace("\n", newline).encode())
    config = read_sdkconfig(path)
    assert dict(config.values) == {
        "SECURE_BOOT": True,
        "SECURE_FLASH_ENC_ENABLED": False,
        "PARTITION_TABLE_OFFSET": 0xC000,
        "ESP_REV_MIN_FULL": 301,
        "NVS_SEC_HMAC_EFUSE_KEY_ID": -1,
        "SECURE_BOOT_SIGNING_KEY": 'keys "of" C:\\me\\key.pem',
        "EMPTY": "",
        "ODD_BOOL": False,
        "PARTITION_TABLE_LEADING_ZERO": 10,
    }


def test_values_are_typed() -> None:
    config = SdkConfig({"B": True, "OFF": False, "I": 3, "S": "y"})
    assert (config.enabled("B"), config.enabled("OFF"), config.enabled("I"), config.enabled("NONE")) == (
        True,
        *[False] * 3,
    )
    assert (config.integer("I"), config.integer("B"), config.integer("S"), config.integer("NONE")) == (
        3,
        None,
        None,
        None,
    )
    assert (config.text("S"), config.text("I"), config.text("NONE")) == ("y", None, None)
    assert (config.defines("OFF"), config.defines("NONE")) == (True, False)
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301  batches hand a build to other processes


def test_differences_are_those_that_matter() -> None:
    built = SdkConfig(
        {
            "SECURE_BOOT": True,
            "SECURE_FLASH_ENC_ENABLED": False,
            "PARTITION_TABLE_OFFSET": 0x8000,
            "NVS_ENCRYPTION": False,
            "NVS_SEC_HMAC_EFUSE_KEY_ID": 0,
            "ESP32C3_REV_MIN_FULL": 3,
            "IDF_TARGET": "esp32c3",
            "LWIP_SOMETHING": 1,
        }
    )
    now = SdkConfig(
        {
            "SECURE_BOOT": True,
            "SECURE_FLASH_ENC_ENABLED": True,
            "PARTITION_TABLE_OFFSET": 0xC000,
            "ESP32C3_REV_MIN_FULL": 4,
            "IDF_TARGET": "esp32c3",
            "LWIP_SOMETHING": 2,
        }
    )
    assert differences(built, now) == (
        ConfigDifference("ESP32C3_REV_MIN_FULL", 3, 4),
        ConfigDifference("NVS_SEC_HMAC_EFUSE_KEY_ID", 0, None),
        ConfigDifference("PARTITION_TABLE_OFFSET", 0x8000, 0xC000),
        ConfigDifference("SECURE_FLASH_ENC_ENABLED", False, True),
    )


def test_built_config_must_be_there_and_whole(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_built_config(tmp_path)
    assert caught.value.code == "SE102"
    path = tmp_path / "config" / "sdkconfig.json"
    path.parent.mkdir()
    for text in ("", '{"IDF_TARGET": "esp', "[]"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError) as caught:
            read_built_config(tmp_path)
        assert caught.value.code == "SE103"


def test_unreadable_sdkconfig(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_sdkconfig(tmp_path)
    assert caught.value.code == "SE108"


@pytest.mark.parametrize("chip", ["esp32", "esp32c2", "esp32c5"])
def test_against_esp_idf_kconfig(tmp_path: Path, chip: str) -> None:
    """ESP-IDF's own library, told the type of every symbol, reads the same values from the same text."""
    kconfiglib = pytest.importorskip("esp_kconfiglib")
    options = SampleOptions(flash_encryption="release", secure_boot=True, config={"SECURE_PATH": 'C:\\a "b"'})
    symbols = config_of(chip, options)
    sdkconfig = tmp_path / "sdkconfig"
    sdkconfig.write_text(sdkconfig_text(symbols, "6.1"))
    types = {bool: "bool", int: "hex", str: "string"}
    declarations = []
    for name, value in symbols.items():
        kind = types[type(value)]
        if kind == "hex" and f"CONFIG_{name}=0x" not in sdkconfig.read_text():
            kind = "int"
        declarations.append(f'config {name}\n    {kind} "{name}"\n')
    kconfig = tmp_path / "Kconfig"
    kconfig.write_text('mainmenu "sample"\n' + "".join(declarations))
    judge = kconfiglib.Kconfig(str(kconfig))
    judge.load_config(str(sdkconfig))

    config = read_sdkconfig(sdkconfig)
    assert set(config.values) == set(symbols)
    for name, value in config.values.items():
        text = judge.syms[name].str_value
        if isinstance(value, bool):
            assert text == ("y" if value else "n"), name
        else:
            assert (text if isinstance(value, str) else int(text, 0)) == value, name


@pytest.mark.parametrize("chip", CHIPS)
def test_sample_config_survives_its_text(tmp_path: Path, chip: str) -> None:
    symbols = config_of(chip, SampleOptions(flash_encryption="development"))
    path = tmp_path / "sdkconfig"
    path.write_text(sdkconfig_text(symbols, "5.0"))
    assert read_sdkconfig(path).values == symbols
