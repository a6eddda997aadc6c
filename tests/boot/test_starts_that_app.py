# SPDX-License-Identifier: Apache-2.0
"""`boot: ota_1` from the profile to the virtual chip: what is made starts it, and everybody who looks says so."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from silicon import burn_by_hand
from support.matrix_cells import Cell
from support.matrix_cells import Made as MadeOfCell
from support.release_oracle import Wanted

from secure_ext.bundle.of_build import changes_since
from secure_ext.bundle.read import read_bundle
from secure_ext.checks import Outcome
from secure_ext.field.ota.slots import first_update
from secure_ext.formats.partition_table import DATA_NVS, DATA_OTA, TYPE_APP, TYPE_DATA, Partition
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import AppFacts, SampleOptions

TABLE = (
    Partition("nvs", TYPE_DATA, DATA_NVS, 0xD000, 0x6000),
    Partition("otadata", TYPE_DATA, DATA_OTA, 0x13000, 0x2000),
    *(Partition(label, TYPE_APP, subtype, 0x60000 * at, 0x60000)
      for at, (label, subtype) in enumerate({"factory": 0, "ota_0": 0x10, "ota_1": 0x11}.items(), 1)),
)  # fmt: skip
ROLLBACK = {"BOOTLOADER_APP_ROLLBACK_ENABLE": True}


@dataclass(frozen=True)
class Made:
    """A bundle whose boards start `ota_1`, with a recovery app in `factory`; and what it was made with."""

    folder: Path
    build: Path
    profile: Path
    output: str

    def options(self) -> tuple[object, ...]:
        return "-B", self.build, "--profile", self.profile


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> Made:
    folder = tmp_path_factory.mktemp("boot-slot")
    options = SampleOptions(flash_encryption="release", secure_boot=True, partitions=TABLE, config=ROLLBACK)
    build = make_sample_build(folder / "project", "esp32c3", options=options)
    newer = replace(options, app=AppFacts(secure_version=5))
    recovery = make_sample_build(folder / "recovery", "esp32c3", options=newer) / "sample.bin"
    shutil.copy(recovery, folder / "recovery.bin")
    keys = f"secure_boot:\n  keys: [{signing_keys['rsa_0']}]\n"
    profile = folder / "profile.yaml"
    profile.write_text(f"schema: 1\nboot: ota_1\nimages: {{factory: recovery.bin}}\n{keys}", encoding="utf-8")
    made = Made(folder / "bundle", build, profile, "")
    done = run_cli("bundle", *made.options(), "-o", made.folder)
    assert done.exit_code == 0, done.output
    return Made(made.folder, build, profile, done.output)


def entry(sequence: int, state: int) -> bytes:
    number = struct.pack("<I", sequence)
    return (number + b"\xff" * 20 + struct.pack("<II", state, zlib.crc32(number, 0xFFFFFFFF))).ljust(0x2000, b"\xff")


def manifest_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return content


def test_the_rehearsed_board_starts_it(made: Made, run_cli: Callable[..., Result], tmp_path: Path) -> None:
    """By the real script, esptool and espefuse, and the boot check's own reading of flash and eFuses."""
    shutil.copytree(made.folder, tmp_path / "bundle")
    done = run_cli("rehearse", tmp_path / "bundle", "--format", "json")
    assert done.exit_code == 0, done.output
    log = json.loads(done.stdout)["boot_log"]
    assert [line for line in log if "starts" in line] == ["bootloader: starts 'ota_1' at 0x120000"]


VALID, NEW, PENDING, UNDEFINED = 2, 0, 1, 0xFFFFFFFF


@pytest.mark.parametrize(
    ("otadata", "codes"),
    [
        (entry(2, VALID), {"BC19"}),  # the second slot, with one more byte that no bundle writes
        (b"\xff" * 0x2000, {"BC19", "BC40"}),
        (entry(1, VALID), {"BC07", "BC19", "BC40"}),
        (entry(2, NEW), {"BC19", "BC40"}),
        (entry(2, PENDING), {"BC16", "BC19", "BC40"}),
    ],
    ids=["other bytes", "erased", "the empty slot", "on trial", "trial not confirmed"],
)
def test_a_board_that_starts_another_app_fails_the_boot_check(
    otadata: bytes, codes: set[str], made: Made, tmp_path: Path
) -> None:
    wanted = Wanted(min_revision=3, flash_encryption=True, key_bits=128, digests=(), hmac_block=5)
    chip = burn_by_hand(MadeOfCell(Cell("esp32c3", "both"), made.folder, made.build, (), wanted), tmp_path / "new")
    assert chip.plain("otadata") == entry(2, VALID)
    assert boot_check(chip.store(tmp_path / "right"), made.folder).boots
    if codes == {"BC19"}:
        otadata = otadata[:-1] + b"\0"
    report = boot_check(chip.with_plain("otadata", otadata).store(tmp_path / "wrong"), made.folder)
    assert {fault.code for fault in report.faults} == codes


def test_verify_makes_it_again_and_tells_another_slot(
    made: Made, run_cli: Callable[..., Result], tmp_path: Path
) -> None:
    def outcomes(folder: Path, *more: object) -> dict[str, str]:
        done = run_cli("verify", folder, *(more or made.options()), "--format", "json")
        return {check["name"]: check["outcome"] for check in json.loads(done.stdout)["checks"] if check["place"]}

    fine = outcomes(made.folder)
    assert (fine["boot-slot"], fine["images-from-build"], fine["facts-from-build"]) == ("passed",) * 3
    assert "failed" not in {outcome for name, outcome in fine.items() if name != "rehearsal"}
    for label in ("factory", "ota_0"):
        forged = shutil.copytree(made.folder, tmp_path / label)
        content = json.dumps({**manifest_of(forged), "boot": label}, indent=2) + "\n"
        (forged / "manifest.json").write_text(content, encoding="utf-8")
        seen = outcomes(forged)
        assert (seen["boot-slot"], seen["facts-from-build"]) == ("failed", "failed")
    shutil.rmtree(tmp_path / "factory" / "keys")
    assert outcomes(tmp_path / "factory", "-B", tmp_path)["boot-slot"] == "not verifiable"


def test_everybody_says_which_app_starts(made: Made, run_cli: Callable[..., Result], tmp_path: Path) -> None:
    assert "a new board starts ota_1" in made.output
    assert manifest_of(made.folder)["boot"] == "ota_1"
    assert "A new board starts the software in" in (made.folder / "report.html").read_text(encoding="utf-8")
    plan = json.loads(run_cli("plan", *made.options(), "--format", "json").stdout)
    assert plan["boot"] == "ota_1"
    (tmp_path / "old.json").write_text(json.dumps({**plan, "boot": None}), encoding="utf-8")
    done = run_cli("plan", "--diff", tmp_path / "old.json", made.folder)
    assert "app that a new board starts: as the build has it -> ota_1" in done.stdout
    assert "app that a new board starts" not in run_cli("plan", "--diff", made.folder / "plan.json", made.folder).stdout


def test_a_build_that_has_not_changed_is_not_said_to_have(made: Made, tmp_path: Path) -> None:
    """Its app lies elsewhere than the build says, and its OTA data are not in the bundle."""
    bundle = read_bundle(made.folder)
    assert changes_since(bundle, made.build) == ()
    changed = shutil.copytree(made.build, tmp_path / "build")
    (changed / "sample.bin").write_bytes(b"another app")
    assert changes_since(bundle, changed) == ("sample.bin",)


def test_an_update_is_held_against_the_app_that_boards_start(
    made: Made, signing_keys: dict[str, Path], run_cli: Callable[..., Result], tmp_path: Path
) -> None:
    done = run_cli(
        *("ota", "-B", made.build, "--fleet", made.folder, "-o", tmp_path / "update"),
        *("--signing-key", signing_keys["rsa_0"]),
    )
    assert done.exit_code == 0, done.output
    checks = manifest_of(tmp_path / "update")["checks"]
    seen = {check["name"]: (check["place"], check["evidence"]) for check in checks if check["outcome"] == "passed"}
    assert seen["first-update"] == ("ota_0", "new boards run from ota_1, and write it here")
    assert seen["app-secure-version"][1] == "0, at least 0"  # that of the recovery app is 5


def test_a_board_that_runs_from_its_only_slot_has_none_for_an_update() -> None:
    factory, only = TABLE[-3:-1]
    (said,) = first_update((only,), only.label)
    assert (said.place, said.outcome) == ("ota_0", Outcome.NOT_VERIFIABLE)
    assert [check.place for check in first_update((only,), factory.label)] == ["ota_0"]
    assert [check.place for check in first_update(TABLE[-2:], None)] == []
