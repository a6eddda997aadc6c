# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F811 (fixtures)
"""What `ota` refuses: by its code, and nothing is written."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from ota_world import (  # noqa: F401 (fixtures)
    World,
    fleets,
    world,
)

from secure_ext.formats.partition_table import TYPE_APP, TYPE_DATA, Partition
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions


def slot_table(*rows: Partition) -> SampleOptions:
    return SampleOptions(flash_encryption="release", secure_boot=True, partitions=rows)


NVS = Partition("nvs", TYPE_DATA, 0x02, 0xD000, 0x6000)
FACTORY = Partition("factory", TYPE_APP, 0x00, 0x20000, 0x100000)
SMALL = (
    *(NVS, Partition("otadata", TYPE_DATA, 0x00, 0x13000, 0x2000), FACTORY),
    Partition("ota_0", TYPE_APP, 0x10, 0x120000, 0x20000),
)


def fleet_of(world: World, options: SampleOptions) -> Path:
    build = make_sample_build(world.folder / "fleet-project", "esp32c3", options=options)
    made = world.run("bundle", "-B", build, "-o", world.folder / "fleet", "--signing-key", world.keys["rsa_0"])
    assert made.exit_code == 0, made.output
    return world.folder / "fleet"


def without_keys(world: World, fleet: Path) -> Path:
    folder = world.folder / "without-keys"
    shutil.copytree(fleet, folder, ignore=shutil.ignore_patterns("keys"))
    return folder


def damaged_fleet(world: World) -> Result:
    folder = without_keys(world, world.fleet)
    (folder / "images" / "bootloader.bin").write_bytes(b"changed")
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=folder)


def fleet_with_a_damaged_plan(world: World) -> Result:
    folder = without_keys(world, world.fleet)
    (folder / "plan.json").write_text("{}")
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=folder)


def foreign_flash_key(world: World) -> Result:
    key = world.folder / "key.bin"
    key.write_bytes(hashlib.sha256(b"another key").digest())
    return world.ota("--signing-key", world.keys["rsa_0"], "--flash-encryption-key", key)


def other_chip(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], build=world.make_build("esp32c6"))


def later_revision(world: World) -> Result:
    options = SampleOptions(flash_encryption="release", secure_boot=True, min_revision=101)
    return world.ota("--signing-key", world.keys["rsa_0"], build=world.make_build(options=options))


def no_key(world: World) -> Result:
    return world.ota()


def foreign_key(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_2"])


def revoked_key(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_1"], "--revoked-slot", 1)


def signed_by_the_build_with_foreign_keys(world: World) -> Result:
    build = world.make_build()
    keys = [load_signing_key(world.keys[name]) for name in ("rsa_2", "rsa_3")]
    (build / "sample.bin").write_bytes(sign((build / "sample.bin").read_bytes(), keys, place=""))
    return world.ota(build=build)


def signed_by_the_build_with_a_revoked_key(world: World) -> Result:
    build = world.make_build()
    key = load_signing_key(world.keys["rsa_0"])
    (build / "sample.bin").write_bytes(sign((build / "sample.bin").read_bytes(), [key], place=""))
    return world.ota("--revoked-slot", 0, build=build)


def too_old(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], "--least-secure-version", 1)


def too_large(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=fleet_of(world, slot_table(*SMALL)))


def other_table_that_cannot_be_read(world: World) -> Result:
    fleet = without_keys(world, fleet_of(world, slot_table(*SMALL)))
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=fleet)


def no_slots(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=fleet_of(world, slot_table(NVS, FACTORY)))


def key_not_at_hand(world: World) -> Result:
    fleet = without_keys(world, world.fleet)
    return world.ota("--signing-key", world.keys["rsa_0"], "--pre-encrypted", fleet=fleet)


def no_description(world: World) -> Result:
    build = world.make_build()
    (build / "sample.bin").write_bytes((build / "bootloader" / "bootloader.bin").read_bytes())
    return world.ota("--signing-key", world.keys["rsa_0"], build=build)


def built_without_flash_encryption(world: World) -> Result:
    return world.ota(
        "--signing-key", world.keys["rsa_0"], build=world.make_build(options=SampleOptions(secure_boot=True))
    )


def built_without_secure_boot(world: World) -> Result:
    options = SampleOptions(flash_encryption="release")
    return world.ota("--signing-key", world.keys["rsa_0"], build=world.make_build(options=options))


def no_fleet(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=world.folder / "nowhere")


REFUSALS: dict[Callable[[World], Result], tuple[str, int]] = {
    damaged_fleet: ("SE753", 1),
    fleet_with_a_damaged_plan: ("SE875", 3),
    foreign_flash_key: ("SE753", 1),
    other_chip: ("SE754", 1),
    later_revision: ("SE755", 1),
    no_key: ("SE756", 3),
    foreign_key: ("SE757", 1),
    revoked_key: ("SE757", 1),
    signed_by_the_build_with_foreign_keys: ("SE757", 1),
    signed_by_the_build_with_a_revoked_key: ("SE757", 1),
    too_old: ("SE758", 1),
    too_large: ("SE759", 1),
    other_table_that_cannot_be_read: ("SE760", 3),
    no_slots: ("SE761", 3),
    key_not_at_hand: ("SE762", 3),
    no_description: ("SE764", 3),
    built_without_flash_encryption: ("SE767", 1),
    built_without_secure_boot: ("SE767", 1),
    no_fleet: ("SE730", 3),
}


@pytest.mark.parametrize("refused", REFUSALS, ids=lambda refused: refused.__name__)
def test_a_refusal_has_its_code_and_writes_nothing(refused: Callable[[World], Result], world: World) -> None:
    done = refused(world)
    code, exit_code = REFUSALS[refused]
    assert (done.exit_code, f"error {code}" in done.stderr) == (exit_code, True), done.output + done.stderr
    assert not (world.folder / "update").exists() and not list(world.folder.glob(".*"))


def test_ciphertext_that_does_not_decrypt_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from secure_ext.formats import flash_encryption

    monkeypatch.setattr(flash_encryption, "encrypt", lambda data, **_: data)
    done = world.ota("--signing-key", world.keys["rsa_0"], "--pre-encrypted")
    assert (done.exit_code, "error SE763" in done.stderr) == (1, True)
    assert not (world.folder / "update").exists()
