# SPDX-License-Identifier: Apache-2.0
"""The outputs of build systems other than ESP-IDF's are refused by name, with what their people can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from secure_ext.build.build import read_build
from secure_ext.errors import InputError

OUTPUTS = {
    "arduino-cli": ("SE150", "Arduino", ["lamp.ino.bin", "lamp.ino.bootloader.bin", "flash_args", "sdkconfig"]),
    "arduino-cli, not finished": ("SE150", "Arduino", ["build.options.json", "includes.cache", "sketch/lamp.ino.cpp"]),
    "Arduino IDE": ("SE150", "Arduino", ["esp32.esp32.esp32/lamp.ino.bin", "esp32.esp32.esp32/lamp.ino.elf"]),
    "Arduino by PlatformIO": ("SE151", "PlatformIO", ["bootloader.bin", "partitions.bin", "firmware.bin"]),
    "PlatformIO, not finished": ("SE151", "PlatformIO", ["firmware.elf", "src/main.cpp.o"]),
    "Zephyr": ("SE152", "Zephyr", ["build_info.yml", "zephyr/.config", "zephyr/zephyr.bin", "zephyr/runners.yaml"]),
    "Zephyr with sysbuild": ("SE152", "Zephyr", ["domains.yaml", "mcuboot/zephyr/zephyr.bin"]),
    "the inner folder of Zephyr": ("SE152", "Zephyr", [".config", "zephyr.bin", "runners.yaml"]),
    "NuttX": ("SE153", "NuttX", [".config", "nuttx", "nuttx.bin", "nuttx.manifest"]),
}


@pytest.mark.parametrize("system", OUTPUTS)
def test_it_is_refused_by_name(system: str, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    code, name, files = OUTPUTS[system]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(InputError, match=name) as caught:
        read_build(tmp_path)
    assert caught.value.code == code
    for command in ("bundle", "configure"):
        done = run_cli(command, "-B", tmp_path)
        assert done.exit_code == 3 and code in done.stderr


def test_a_folder_of_nobody_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "sketch.ino").touch()
    with pytest.raises(InputError) as caught:
        read_build(tmp_path)
    assert caught.value.code == "SE102"
