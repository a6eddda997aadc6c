# SPDX-License-Identifier: Apache-2.0
"""A second bootloader for the ROM to fall back on, and the version below which it starts none."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from support.doctor_case import SECOND_BOOTLOADER
from support.typed_documents import load

from secure_ext.bundle.read import read_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.chips.cut_fields import cut, joined, parts_of, width_of
from secure_ext.doctor.decide import Decision, decide
from secure_ext.errors import CheckError, SecureProvisionError
from secure_ext.formats.partition_table import TYPE_BOOTLOADER, Partition
from secure_ext.plan.bootloader_efuses import SECTOR, VERSION, recovery_offset_of
from secure_ext.plan.diff import compare
from secure_ext.plan.document import plan_document
from secure_ext.plan.release import release
from secure_ext.plan.replay import replay_plan
from secure_ext.plan.steps import BurnField
from secure_ext.policy.profile import Profile
from secure_ext.prove.rehearsal.power_cuts import power_cuts
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.rehearsal.script_run import chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample import make_sample_build
from secure_ext.sample.options import SampleOptions, partitions_of
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.step_status import holds
from secure_ext.station.typed_document import read_document

Run = Callable[..., Result]
Document = dict[str, Any]
CHIPS = (("esp32c5", 100), ("esp32c61", 0), ("esp32p4", 300), ("esp32s31", 0))
"""Those whose ROM starts a recovery bootloader, with the first revision that has the eFuse."""
AT = 0x3F0000
COMPARED = {**SECOND_BOOTLOADER, "BOOTLOADER_ANTI_ROLLBACK_ENABLE": True}


def build_with(folder: Path, chip: str, config: Mapping[str, Any], version: int = 0, **more: Any) -> Path:
    options = {"flash_encryption": "release", "secure_boot": True, "app_size": 40_000, **more}
    options |= {"bootloader_version": ("v6.1", version), "config": dict(config)}
    return make_sample_build(folder / "project", chip, options=SampleOptions(**options))


def decided(folder: Path, chip: str, config: Mapping[str, Any], version: int = 0, **more: Any) -> Decision:
    return decide(build_with(folder, chip, config, version, **more), Profile(folder))


def efuses_of(decision: Decision) -> dict[str, int]:
    """What is burned for bootloaders."""
    fields = [step.action for step in decision.plan.steps if isinstance(step.action, BurnField)]
    return {action.field: action.value for action in fields if "BOOTLOADER" in action.field}


@pytest.mark.parametrize(("chip", "revision"), CHIPS)
@settings(deadline=None, max_examples=40)
@given(sector=st.integers(0, 0xFFF))
def test_a_sector_is_put_together_as_it_was_cut(chip: str, revision: int, sector: int) -> None:
    facts = load_chip(chip, revision)
    assert width_of(facts, SECTOR) == 12
    assert joined(facts, SECTOR, cut(facts, SECTOR, sector)) == sector


def test_no_other_chip_has_one() -> None:
    assert not parts_of(load_chip("esp32p4", 299), SECTOR) and not parts_of(load_chip("esp32c6", 0), SECTOR)
    assert [width_of(load_chip(*chip), VERSION) for chip in CHIPS] == [4, 4, 0, 4]


@pytest.mark.parametrize(("chip", "revision", "sector"), [("esp32c5", 100, 0x7F5), ("esp32p4", 301, 0xF95)])
def test_espefuse_puts_it_together_likewise(chip: str, revision: int, sector: int, tmp_path: Path) -> None:
    """As the ESP32-C5's joins nothing above 8 MB, 0x7F5 is the highest pattern that it can be asked about."""
    facts = load_chip(chip, revision)
    word = [sys.executable, "-m", "espefuse", "--chip", chip, "--virt", "--path-efuse-file", str(tmp_path / "efuses")]
    born = {"WAFER_VERSION_MAJOR": 1} if chip == "esp32c5" else {"WAFER_VERSION_MAJOR_LO": 3, "WAFER_VERSION_MINOR": 1}
    for values in (born, {name: value for name, value in cut(facts, SECTOR, sector).items() if value}):
        pairs = [str(part) for pair in values.items() for part in pair]
        subprocess.run([*word, "--do-not-confirm", "burn-efuse", *pairs], check=True, capture_output=True)
    shown = subprocess.run([*word, "summary", "--format", "json"], check=True, capture_output=True, text=True).stdout
    assert json.loads(shown[shown.index("{") :])[SECTOR]["value"] == sector


@pytest.mark.parametrize(
    ("chip", "at", "wanted"),
    [
        ("esp32c5", 0x3F0000, {f"{SECTOR}_LO": 0x1F0, f"{SECTOR}_HI": 1}),
        ("esp32c5", 0x900000, {f"{SECTOR}_LO": 0x100, f"{SECTOR}_HI": 4}),
        ("esp32c61", 0x3F0000, {SECTOR: 0x3F0}),
        ("esp32p4", 0x801000, {f"{SECTOR}_0_1": 1, f"{SECTOR}_11_11": 1}),
    ],
)
def test_the_copy_and_its_place(chip: str, at: int, wanted: dict[str, int], tmp_path: Path) -> None:
    """The bootloader as it is, for its own address; a part that stays 0 must be 0 on the board."""
    config = SECOND_BOOTLOADER | {"BOOTLOADER_RECOVERY_OFFSET": at}
    made = decided(tmp_path, chip, config, flash_size="16MB")
    assert efuses_of(made) == wanted
    assert {item.field for item in made.plan.must_be_clear if "BOOTLOADER" in item.field} == {
        field.name for field in parts_of(made.chip, SECTOR) if field.name not in wanted
    }
    (second,) = [image for image in made.images if image.offset == at]
    first = next(image for image in made.images if image.offset == made.build.bootloader_offset)
    assert (second.name, second.content) == ("bootloader-recovery", first.content)
    assert second.sign and second.encrypt
    assert not [finding for finding in made.findings if finding.stops and finding.code != "SP152"]


def test_an_image_of_its_own(tmp_path: Path) -> None:
    """The profile's image of the partition is taken, and no copy."""
    row = Partition("backup", TYPE_BOOTLOADER, 2, AT, 0xA000)
    build = build_with(tmp_path, "esp32c5", COMPARED, 1, partitions=(*partitions_of(SampleOptions()), row))
    newer = build_with(tmp_path / "newer", "esp32c5", COMPARED, 3) / "bootloader" / "bootloader.bin"
    made = decide(build, Profile(tmp_path, {"images": {"backup": str(newer)}}))
    (second,) = (image for image in made.images if image.offset == AT)
    assert second.content.startswith(newer.read_bytes()[:64])
    assert efuses_of(made)[f"{VERSION}_LO"] == 1
    older = build_with(tmp_path / "older", "esp32c5", COMPARED, 0) / "bootloader" / "bootloader.bin"
    with pytest.raises(CheckError) as caught:
        decide(build, Profile(tmp_path, {"images": {"backup": str(older)}}))
    assert caught.value.code == "SE441"


@pytest.mark.parametrize(
    ("chip", "version", "wanted"),
    [
        ("esp32c5", 0, {}),
        ("esp32c5", 2, {f"{VERSION}_LO": 3}),
        ("esp32c5", 4, {f"{VERSION}_LO": 7, f"{VERSION}_HI": 1}),
        ("esp32c61", 3, {VERSION: 7}),
    ],
)
def test_the_least_version_is_the_bootloaders_own(
    chip: str, version: int, wanted: dict[str, int], tmp_path: Path
) -> None:
    """What its image says, whatever the configuration does."""
    made = efuses_of(decided(tmp_path, chip, COMPARED | {"BOOTLOADER_SECURE_VERSION": 1}, version))
    assert {name: value for name, value in made.items() if "ANTI" in name} == wanted | {
        "BOOTLOADER_ANTI_ROLLBACK_EN": 1
    }


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (None, "does not say where"),
        (0, "sector 0 stands for no recovery bootloader"),
        (0x3F0800, "is no sector of the flash"),
        (0xFFF000, "turns it off for ever"),
        (0x1000000, "the last one that the eFuse can name is 0xffe"),
        (0x2000, "where bootloader and partition table are"),
        (0xC000, "where bootloader and partition table are"),
    ],
)
def test_where_it_cannot_be(at: int | None, why: str, tmp_path: Path) -> None:
    config = {"BOOTLOADER_RECOVERY_ENABLE": True} | ({} if at is None else {"BOOTLOADER_RECOVERY_OFFSET": at})
    with pytest.raises(SecureProvisionError) as caught:
        decided(tmp_path, "esp32c5", config)
    assert (caught.value.code, why in caught.value.cause) == ("SE440", True), caught.value.cause


@pytest.mark.parametrize(("chip", "revision"), CHIPS)
def test_another_place_is_a_change_and_nothing_weaker(chip: str, revision: int, tmp_path: Path) -> None:
    """A sector is no amount, whatever its parts have."""
    places = {"old": 0x3F0000, "new": 0x900000, "none": None}
    sides = {}
    for name, at in places.items():
        config = {} if at is None else SECOND_BOOTLOADER | {"BOOTLOADER_RECOVERY_OFFSET": at}
        made = decided(tmp_path / name, chip, config, flash_size="16MB", min_revision=revision)
        document = plan_document(made.plan, made.chip)
        assert recovery_offset_of(document) == at
        sides[name] = release(document, {})
    moved = compare(sides["old"], sides["new"])
    assert not moved.newly_irreversible and not moved.no_longer_done and not moved.is_weaker
    assert ("recovery bootloader at", 0x3F0000, 0x900000) in {(one.subject, one.old, one.new) for one in moved.changed}
    (added,) = compare(sides["none"], sides["old"]).newly_irreversible
    assert added.what == "Tell the ROM of a recovery bootloader"


@pytest.fixture(scope="module")
def bundled(
    tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path], run_cli: Run
) -> tuple[Path, tuple[object, ...]]:
    """A bundle of an ESP32-C5 with both features, and the words that made it."""
    folder = tmp_path_factory.mktemp("recovery")
    words = ("-B", build_with(folder, "esp32c5", COMPARED, 2), "--signing-key", signing_keys["rsa_0"])
    made = run_cli("bundle", *words, "-o", folder / "bundle")
    assert made.exit_code == 0, made.output
    return folder / "bundle", words


@pytest.mark.long
def test_it_is_rehearsed(bundled: tuple[Path, tuple[object, ...]]) -> None:
    """Twice by the script, which changes nothing the second time, and then by the boot check."""
    assert rehearse_bundle(read_bundle(bundled[0]), lambda _: None).passed


def test_it_is_burned_verified_and_audited(
    bundled: tuple[Path, tuple[object, ...]], run_cli: Run, tmp_path: Path
) -> None:
    folder, words = bundled
    bundle = read_bundle(folder)
    assert run_cli("verify", folder, *words).exit_code == 0
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        assert run_script(bundle, board.url, tmp_path / "journal", "--until", "burn").exit_code == 0
        audited = run_cli("audit", folder, "--port", board.url, "--before", "no-reset", "--format", "json")
    checks = {(check["name"], check["place"]): check["outcome"] for check in json.loads(audited.stdout)["checks"]}
    for efuse in (f"{SECTOR}_LO", f"{SECTOR}_HI", f"{VERSION}_LO", "BOOTLOADER_ANTI_ROLLBACK_EN"):
        assert checks["efuse", efuse] == "passed"
    assert checks["bootloader-secure-version", VERSION] == "passed"


@pytest.mark.parametrize(
    ("field", "value", "wanted", "fits"),
    [
        (f"{VERSION}_LO", 7, 3, True),
        (f"{VERSION}_LO", 1, 3, False),
        (VERSION, 0xF, 1, True),
        (f"{SECTOR}_LO", 0x1F1, 0x1F0, False),
        ("SECURE_VERSION", 3, 1, True),
        ("BOOTLOADER_ANTI_ROLLBACK_EN", 0, 1, False),
    ],
)
def test_a_version_may_have_grown_since(field: str, value: int, wanted: int, fits: bool) -> None:
    """Firmware raises it; a sector with another bit is another one."""
    assert holds(field, value, wanted) is fits


def test_verify_wants_a_bootloader_there(
    bundled: tuple[Path, tuple[object, ...]], run_cli: Run, tmp_path: Path
) -> None:
    """The plan of a bundle lists images; only the manifest says what they are."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundled[0], folder)
    manifest = load(folder / "manifest.json")
    next(image for image in manifest["images"] if image["offset"] == AT)["role"] = "data"
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    checks = json.loads(run_cli("verify", folder, "--format", "json").stdout)["checks"]
    (check,) = [check for check in checks if check["name"] == "plan-requirements"]
    assert check["outcome"] == "failed" and "at 0x3f0000, where the bundle has none" in check["evidence"]


@pytest.mark.long
def test_it_survives_every_cut(bundled: tuple[Path, tuple[object, ...]]) -> None:
    report = power_cuts(read_bundle(bundled[0]), lambda _: None, every=40)
    assert report.passed, report.counts


def step_of(plan: Document, field: str) -> Document:
    step: Document = next(step for step in plan["steps"] if step.get("field") == field)
    return step


def with_value(field: str, value: int) -> Callable[[Document], None]:
    return lambda plan: step_of(plan, field).update(value=value)


def without(field: str) -> Callable[[Document], None]:
    return lambda plan: plan["steps"].remove(step_of(plan, field))


def everything_off(plan: Document) -> None:
    step_of(plan, f"{SECTOR}_LO")["value"], step_of(plan, f"{SECTOR}_HI")["value"] = 0x1FF, 7


CHANGES: dict[str, tuple[Callable[[Document], None], str]] = {
    "another sector": (with_value(f"{SECTOR}_HI", 2), "none is at 0x5f0000"),
    "half a sector": (without(f"{SECTOR}_HI"), "is looked at"),
    "none for ever": (everything_off, "turns the recovery bootloader off for ever"),
    "a later version": (with_value(f"{VERSION}_LO", 7), "the ROM would not start the bootloader"),
    "no version": (with_value(f"{VERSION}_LO", 2), "is no secure version"),
    "not compared": (without("BOOTLOADER_ANTI_ROLLBACK_EN"), "nobody compares it"),
    "nothing asked": (lambda plan: plan["requirements"].update(bootloader_secure_version=1), "which is older"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_that_was_changed_is_refused(change: str, bundled: tuple[Path, tuple[object, ...]]) -> None:
    plan = copy.deepcopy(load(bundled[0] / "plan.json"))
    apply, why = CHANGES[change]
    apply(plan)
    with pytest.raises(CheckError) as caught:
        replay_plan(read_document(PlanDocument, plan))
    assert caught.value.code == "SE412"
    if change != "half a sector":
        assert why in caught.value.cause
