# SPDX-License-Identifier: Apache-2.0
"""`boot` in the profile: the app's place, the OTA data, and what cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.doctor_case import ANTI_ROLLBACK, BOTH, SIGNED, Case, edit_json, examine_case

from secure_ext.doctor.decide import Decision
from secure_ext.errors import UsageError
from secure_ext.formats.partition_table import TYPE_APP, TYPE_DATA, Partition
from secure_ext.sample.options import AppFacts

AT = 0x40000
APPS = {"factory": 0x00, "main": 0x10, "ota_1": 0x11, "test": 0x20, "beside": 0x40}
"""The OTA slot 0 has a label of its own."""
TABLE = (
    Partition("otadata", TYPE_DATA, 0, 0x13000, 0x2000),
    *(Partition(label, TYPE_APP, subtype, AT * n, AT) for n, (label, subtype) in enumerate(APPS.items(), 1)),
)
SLOT_0 = bytes.fromhex("01000000" + "ff" * 20 + "02000000" + "9a984347")
SLOT_1 = bytes.fromhex("02000000" + "ff" * 20 + "02000000" + "7437f655")
"""What a bootloader with rollback writes by itself when it finds the OTA data erased, and likewise for slot 1."""


def decided(folder: Path, profile: dict[str, Any], table: tuple[Partition, ...] = TABLE, **options: Any) -> Decision:
    return examine_case(Case({**BOTH, "partitions": table, **options}, profile), folder)


def app_image(folder: Path) -> str:
    """An image for `images`: the app of another build."""
    folder.mkdir()
    decided(folder, {})
    return str(folder / "project" / "build" / "sample.bin")


@pytest.mark.parametrize(
    ("boot", "label", "otadata"),
    [
        ("ota_0", "main", SLOT_0),
        ("main", "main", SLOT_0),
        ("ota_1", "ota_1", SLOT_1),
        ("factory", "factory", b"\xff" * 32),
    ],
    ids=["subtype", "label", "the second", "factory"],
)
@pytest.mark.parametrize("options", [BOTH, SIGNED], ids=["encrypted", "open"])
def test_the_app_goes_there_and_the_otadata_say_so(
    boot: str, label: str, otadata: bytes, options: dict[str, Any], tmp_path: Path
) -> None:
    decision = decided(tmp_path, {"boot": boot}, **{"flash_encryption": "off", **options})
    images = {image.partition: image for image in decision.images}
    assert decision.boot is not None and decision.boot.label == label
    assert {place for place in images if place in APPS} == {label}
    assert images[label].offset == decision.boot.offset
    assert images["otadata"].content == otadata.ljust(0x2000, b"\xff")
    assert images["otadata"].encrypt == images[label].encrypt == (options == BOTH)


def test_an_image_of_the_profile_for_the_slot_leaves_the_app_where_it_was(tmp_path: Path) -> None:
    product = app_image(tmp_path / "other")
    decision = decided(tmp_path, {"boot": "ota_0", "images": {"main": product}})
    assert {image.partition for image in decision.images if image.role == "app"} == {"factory", "main"}
    moved = decided(tmp_path, {"boot": "ota_1", "images": {"factory": product, "test": product}})
    assert {image.partition for image in moved.images if image.role == "app"} == {"factory", "ota_1", "test"}
    assert next(image.name for image in moved.images if image.partition == "ota_1") == "sample"


OTHERS = TABLE[1:]
GAP = tuple(row for row in TABLE if row.label != "main")
TWINS = (*TABLE[:-1], Partition("ota_0", TYPE_APP, 0x12, AT * 5, AT))


@pytest.mark.parametrize(
    ("code", "says", "profile", "table"),
    [
        ("SE420", "factory (factory), main (ota_0)", {"boot": "ota_7"}, TABLE),
        ("SE420", "no app partition", {"boot": "otadata"}, TABLE),
        ("SE420", "several", {"boot": "ota_0"}, TWINS),
        ("SE421", "a pin", {"boot": "test"}, TABLE),
        ("SE421", "no OTA slot", {"boot": "beside"}, TABLE),
        ("SE421", "a gap", {"boot": "ota_1"}, GAP),
        ("SE422", "no partition for them", {"boot": "ota_1"}, OTHERS),
        ("SE422", "`images`", {"boot": "ota_1", "images": {"otadata": "product.bin"}}, TABLE),
        ("SE411", "'factory' already", {"boot": "main", "images": {"factory": "x.bin", "main": "y.bin"}}, TABLE),
    ],
)
def test_what_cannot_be_is_refused(
    code: str, says: str, profile: dict[str, Any], table: tuple[Partition, ...], tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        decided(tmp_path, profile, table)
    assert caught.value.code == code
    assert says in caught.value.cause + caught.value.cure


def two_apps(build_dir: Path) -> None:
    """A build with an app in two partitions, neither of which it calls the project's own."""

    def edit(content: dict[str, Any]) -> None:
        content["one"] = content.pop("app")
        content["two"] = {**content["one"], "offset": hex(AT * 3)}
        content["flash_files"][hex(AT * 3)] = "sample.bin"

    edit_json("flasher_args.json", edit)(build_dir)


def test_which_of_two_apps_is_meant_has_to_be_said(tmp_path: Path) -> None:
    case = Case({**BOTH, "partitions": TABLE}, {"boot": "main"}, change=two_apps)
    with pytest.raises(UsageError, match="SE423"):
        examine_case(case, tmp_path)
    named = replace(case, profile={"boot": "main", "images": {"main": "project/build/sample.bin"}})
    assert len([image for image in examine_case(named, tmp_path).images if image.role == "app"]) == 3


def test_an_app_that_is_too_large_for_the_slot_is_found(tmp_path: Path) -> None:
    small = tuple(row if row.label != "main" else Partition("main", TYPE_APP, 0x10, 2 * AT, 0x10000) for row in TABLE)
    assert "SP002" in {finding.code for finding in decided(tmp_path, {"boot": "main"}, small).findings}


def test_the_secure_version_of_the_slot_is_burned_at_the_first_boot(tmp_path: Path) -> None:
    """By a factory app none is; a slot that is valid has its own recorded, as where OTA data are erased."""
    options: dict[str, Any] = {"config": ANTI_ROLLBACK, "app": AppFacts(secure_version=3)}
    for boot, burned in (("factory", []), ("ota_1", ["SECURE_VERSION"])):
        decision = decided(tmp_path, {"boot": boot}, **options)
        assert [burn.efuse for burn in decision.first_boot] == burned
