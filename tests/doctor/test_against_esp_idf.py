# SPDX-License-Identifier: Apache-2.0
"""What the rules name is in ESP-IDF: Kconfig symbols and files, if the environment names copies of it.

SECURE_EXT_IDF_PATHS is a list of ESP-IDF directories, separated as PATH is; the newest is the last.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from secure_ext import doctor
from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.rule import Rule
from secure_ext.plan import first_boot

IDF_PATHS = [Path(path) for path in os.environ.get("SECURE_EXT_IDF_PATHS", "").split(os.pathsep) if path]
pytestmark = pytest.mark.skipif(not IDF_PATHS, reason="SECURE_EXT_IDF_PATHS names no ESP-IDF directories")
NO_OPTIONS = {"SECURE_BOOT_DIGEST", "SECURE_BOOT_SHA384_EN", "SECURE_VERSION"}
"""eFuses, and what key purposes begin with."""
_FILE = re.compile(r"(?:components|tools)/[\w./<>-]+\.(?:c|py|cpp|h|projbuild|hw_support|in|log|app_rollback)\b")


def test_every_symbol_is_in_a_kconfig_file() -> None:
    declared: set[str] = set()
    for idf in IDF_PATHS:
        for path in filter(Path.is_file, idf.glob("components/**/Kconfig*")):
            text = path.read_text(encoding="utf-8")
            declared |= set(re.findall(r"^\s*(?:menu)?(?:config|choice)\s+(\w+)", text, re.MULTILINE))
    folder = Path(doctor.__file__).parent
    code = "".join(path.read_text() for path in (*folder.glob("*.py"), Path(first_boot.__file__)))
    named = set(re.findall(r"CONFIG_([A-Z0-9]\w{5,}[A-Z0-9])\b", code))
    named |= set(re.findall(r'"((?:SECURE|BOOTLOADER|ESP|NVS|EFUSE|BOOT|ESP32)_[A-Z0-9_]+)"', code))
    assert len(named) > 50
    unknown = {name for name in named - declared - NO_OPTIONS if not any(known.startswith(name) for known in declared)}
    assert unknown == set()


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.code)
def test_every_file_that_is_named_as_source_exists(rule: Rule) -> None:
    for name in _FILE.findall(rule.source):
        path = name.replace("<chip>", "esp32h2")
        assert (IDF_PATHS[-1] / path).exists(), path
