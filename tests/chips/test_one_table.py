# SPDX-License-Identifier: Apache-2.0
"""A chip is a row of one table: what must know it besides fails by its name, and nothing else names chips."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import secure_ext
from secure_ext.prove.boot_check.chip_facts import CHIPS as OF_THE_BOOT_CHECK
from secure_ext.sample.chip_facts import CHIPS as OF_THE_SAMPLE
from secure_ext.station.chip_facts import FACTS

PACKAGE = Path(secure_ext.__file__).parent
NAMED_ON_PURPOSE = {
    "station/chip_facts.py",  # the table
    "prove/boot_check",  # judges it, with tables of its own
    "sample",  # builds for chips: where to link, and what ESP-IDF's menu says
    "prove/rehearsal/qemu.py",  # the machines that Espressif's emulator has
    "cli/commands/demo.py",  # the chip of the demo
    "formats/flash_encryption.py",  # the name of a cipher
    "policy/settings.py",  # the name of a kind of key
}
INVENTED = """
from dataclasses import replace
from secure_ext.station import chip_facts
known = chip_facts.FACTS["esp32c3"]
row = replace(known, name="esp32x1", image_id=99, bootloader_offset=0x2000, efuse_tables=((0, "esp32c3"),))
chip_facts.FACTS = {**chip_facts.FACTS, "esp32x1": row}

from pathlib import Path
from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.chips.chip import load_chip
from secure_ext.plan.document import plan_document
from secure_ext.plan.make import make_plan
from secure_ext.plan.replay import replay_plan
from secure_ext.policy.profile import Profile
from secure_ext.policy.resolve import resolve_policy
from secure_ext.station.board_needs import board_needs
from secure_ext.station.efuse_owner import makers_blocks

values = {"flash_encryption.mode": "release", "secure_boot.enabled": True, "secure_boot.keys": ("generate",)}
chip = load_chip("esp32x1", 3)
policy = resolve_policy(SdkConfig({}), chip, Profile(Path(), values), None)
plan = make_plan(chip, policy, min_revision=3, max_revision=None)
document = plan_document(plan, chip)
assert replay_plan(document) == plan
assert board_needs(document, lambda _: None) and makers_blocks("esp32x1") == (1, 2)
print([step.id for step in plan.steps])
"""


def names_in(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in FACTS:
            yield f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value!s}"


def test_nothing_else_names_chips() -> None:
    named = [name for path in sorted(PACKAGE.rglob("*.py")) for name in names_in(path)]
    assert [name for name in named if not name.startswith(tuple(NAMED_ON_PURPOSE))] == []


@pytest.mark.parametrize("chip", FACTS)
def test_the_boot_check_agrees(chip: str) -> None:
    """It judges what was made by the table, so it has its own."""
    assert chip in OF_THE_BOOT_CHECK, f"the boot check does not know {chip}"
    facts, judge = FACTS[chip], OF_THE_BOOT_CHECK[chip]
    assert (judge.image_id, judge.bootloader_offset) == (facts.image_id, facts.bootloader_offset)
    assert (judge.crypt_count, judge.secure_boot) == (facts.crypt_count, facts.secure_boot_enable)
    assert (judge.download_off, judge.one_core) == (facts.download_off, facts.one_core_field)
    assert judge.verifies == facts.rom_bootloader_limit
    assert judge.fixed_blocks == tuple(number for _, number in facts.own_key_blocks)


@pytest.mark.parametrize("chip", FACTS)
def test_the_sample_knows_it(chip: str) -> None:
    assert chip in OF_THE_SAMPLE, f"there is no sample for {chip}"
    assert OF_THE_SAMPLE[chip].bootloader_offset == FACTS[chip].bootloader_offset


def test_an_invented_chip_is_planned() -> None:
    """With nothing but a row of its own; espefuse knows its eFuses as those of an esp32c3."""
    done = subprocess.run([sys.executable, "-c", INVENTED], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "burn-spi-boot-crypt-cnt" in done.stdout and "burn-secure-boot-en" in done.stdout
