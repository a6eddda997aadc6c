# SPDX-License-Identifier: Apache-2.0
"""What a plan asks of a board: read from the build, carried by the document, compared between releases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.typed_documents import plan_with

from secure_ext.doctor.decide import Decision, decide
from secure_ext.plan.diff import compare
from secure_ext.plan.document import plan_document
from secure_ext.plan.release import release
from secure_ext.policy.profile import Profile
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.sample.options import AppFacts
from secure_ext.station.board_needs import board_needs, needed_flash
from secure_ext.station.plan_document import BoardRequirements, PlanDocument
from secure_ext.station.typed_document import document_data, read_document

MEGABYTE = 0x100000
Decided = Callable[..., Decision]
NUMBERS = st.integers(0, 0xFFFF)
REQUIREMENTS = st.builds(
    BoardRequirements,
    flash_size=st.none() | NUMBERS,
    flash_end=NUMBERS,
    min_block_revision=NUMBERS,
    max_block_revision=st.none() | NUMBERS,
    cores=st.sampled_from((1, 2)),
    octal_flash=st.booleans(),
    secure_version=st.none() | st.integers(0, 32),
    secure_version_bits=st.integers(1, 32),
    bootloader_secure_version=st.integers(0, 255),
    exclusive_purposes=st.sampled_from(((), ("XTS_AES_",), ("XTS_AES_", "SECURE_BOOT_DIGEST"))),
)


@pytest.fixture
def decided(tmp_path: Path) -> Decided:
    def make(chip: str = "esp32c3", **options: Any) -> Decision:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        build = make_sample_build(folder, chip, options=SampleOptions(flash_encryption="release", **options))
        return decide(build, Profile(folder))

    return make


def asked(decision: Decision) -> BoardRequirements:
    assert decision.plan.requirements is not None
    return decision.plan.requirements


def document(decision: Decision) -> PlanDocument:
    return plan_document(decision.plan, decision.chip)


@given(REQUIREMENTS)
def test_what_is_written_is_read_again(requirements: BoardRequirements) -> None:
    written = json.loads(json.dumps(document_data(requirements)))
    assert read_document(BoardRequirements, written) == requirements


def test_plans_of_earlier_versions_ask_nothing_more() -> None:
    image = {"file": "images/bootloader.bin", "offset": 0x1000, "size": 0x10, "sha256": "0" * 64}
    plan = plan_with("esp32", images=[image])
    assert plan.requirements is None
    assert needed_flash(plan) == 0x1010
    assert [need.code for need in board_needs(plan, lambda _: None)] == ["SE816", "SE817"]


def test_an_ordinary_build_asks_for_its_flash(decided: Decided) -> None:
    requirements = asked(decided())
    assert asdict(requirements) == {
        **{"flash_size": 4 * MEGABYTE, "flash_end": requirements.flash_end, "cores": 1, "octal_flash": False},
        **{"min_block_revision": 0, "max_block_revision": None, "secure_version": None, "secure_version_bits": 0},
        **{"bootloader_secure_version": 0, "exclusive_purposes": ("XTS_AES_",)},
    }
    assert 2 * MEGABYTE < requirements.flash_end <= 4 * MEGABYTE


def test_all_that_a_build_can_ask_for(decided: Decided) -> None:
    config = {
        "BOOTLOADER_APP_ANTI_ROLLBACK": True,
        "BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD": 16,
        "ESPTOOLPY_OCT_FLASH": True,
        "ESPTOOLPY_FLASH_MODE_AUTO_DETECT": False,
    }
    app = AppFacts(secure_version=3, min_block_revision=102, max_block_revision=199)
    made = decided("esp32s3", app=app, config=config, flash_size="32MB", bootloader_version=("v5.3", 2))
    requirements = asked(made)
    assert requirements.flash_size == 32 * MEGABYTE
    assert (requirements.min_block_revision, requirements.max_block_revision) == (102, 199)
    assert (requirements.secure_version, requirements.secure_version_bits) == (3, 16)
    assert (requirements.cores, requirements.octal_flash, requirements.bootloader_secure_version) == (2, True, 2)
    fields = {row.field for row in document(made).layout}
    assert fields >= {"BLK_VERSION_MAJOR", "DIS_APP_CPU", "FLASH_TYPE", "SECURE_VERSION", "DISABLE_BLK_VERSION_MAJOR"}


@pytest.mark.parametrize(
    ("chip", "config", "cores"),
    [
        ("esp32", {}, 2),
        ("esp32", {"FREERTOS_UNICORE": True}, 1),
        ("esp32s3", {"ESP_SYSTEM_SINGLE_CORE_MODE": True}, 1),
        ("esp32c3", {}, 1),
    ],
)
def test_cores(chip: str, config: dict[str, object], cores: int, decided: Decided) -> None:
    assert asked(decided(chip, config=config)).cores == cores


def test_a_version_that_nobody_compares_is_not_asked_for(decided: Decided) -> None:
    requirements = asked(decided(app=AppFacts(secure_version=5)))
    assert requirements.secure_version is None


def test_the_esp32_has_no_block_revision(decided: Decided) -> None:
    requirements = asked(decided("esp32", app=AppFacts(min_block_revision=3, max_block_revision=99)))
    assert (requirements.min_block_revision, requirements.max_block_revision) == (0, None)


def test_the_greatest_revision_is_that_of_the_apps_header(decided: Decided) -> None:
    """Whatever the configuration says: the header is what the bootloader reads."""
    made = decided(app=AppFacts(max_revision=150), config={"ESP_REV_MAX_FULL": 199, "ESP32C3_REV_MAX_FULL": 199})
    assert made.plan.max_revision == 150


@pytest.mark.parametrize("least", [0, 1, 99])
def test_no_c5_below_v1_0_whatever_the_build_takes(least: int, decided: Decided) -> None:
    assert decided("esp32c5", min_revision=least).plan.min_revision == 100


def test_a_diff_shows_what_is_asked_for_otherwise(decided: Decided) -> None:
    old, new = (
        release(document(made), {})
        for made in (decided(), decided(flash_size="8MB", app=AppFacts(min_block_revision=3)))
    )
    found = compare(old, new)
    changed = {item.subject: (item.old, item.new, item.weaker) for item in found.changed}
    assert changed["flash size"] == (4 * MEGABYTE, 8 * MEGABYTE, False)
    assert changed["least eFuse block revision"] == (0, 3, False)
    before = replace(document(decided()), requirements=None)
    assert "flash size" not in {item.subject for item in compare(release(before, {}), new).changed}
