# SPDX-License-Identifier: Apache-2.0
"""Planning a key rotation: who takes which update, and what may be revoked when."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.errors import SecureProvisionError
from secure_ext.field.rotation import plan_rotation, read_signing_slots, read_update, update_signed_with
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.policy.profile import Profile, Value
from secure_ext.policy.signing_entry import SigningEntry, Signs
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

Fleets = Callable[..., Path]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path]) -> Fleets:
    """The bundle of a fleet, by chip and the names of its signing keys; secure boot alone, to be quick."""
    made: dict[str, Path] = {}

    def bundle(chip: str, *keys: str, **values: Value) -> Path:
        name = "-".join((chip, *keys, *values))
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            build = make_sample_build(
                folder / "project", chip, options=SampleOptions(secure_boot=True, app_size=20_000)
            )
            given = () if "keys" in values else keys
            settings: dict[str, Value] = {"secure_boot.keys": tuple(str(signing_keys[key]) for key in given)}
            settings |= {"doctor.accept": ("SP023",)}
            settings |= {f"secure_boot.{key}": value for key, value in values.items()}
            decision = decide(build, Profile(folder, settings))
            made[name] = write_bundle(decision, folder / "bundle", lambda _: None).folder
        return made[name]

    return bundle


@pytest.fixture(scope="module")
def update(
    fleet: Fleets, tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path]
) -> Callable[..., Path]:
    """A signed app of a chip, by the names of its signing keys."""
    folder = tmp_path_factory.mktemp("updates")

    def signed(chip: str, *keys: str) -> Path:
        unsigned = fleet(chip, "ecdsa256" if chip == "esp32c2" else "rsa_0").parent / "project" / "build" / "sample.bin"
        path = folder / f"{chip}-{'-'.join(keys)}.bin"
        private = [load_signing_key(signing_keys[key]) for key in keys]
        path.write_bytes(sign(unsigned.read_bytes(), private, place=chip) if keys else unsigned.read_bytes())
        return path

    return signed


def planned(run_cli: Callable[..., Result], *words: object) -> tuple[int, dict[str, Any]]:
    done = run_cli("keys", "plan-rotation", *words, "--format", "json")
    assert done.stderr == "" or done.exit_code > 1, done.stderr
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("keys", "revoked", "accepted_by"),
    [
        (("rsa_0",), (), [0]),
        (("rsa_1",), (), [1]),
        (("rsa_1", "rsa_0"), (), [0, 1]),
        (("rsa_3", "rsa_1"), (), [1]),
        (("rsa_3",), (), []),
        (("rsa_0",), (0,), []),
        (("rsa_0", "rsa_1"), (0,), [1]),
        (("rsa_1",), (0, 1), []),
    ],
)
def test_an_update_needs_one_trusted_key(  # noqa: PLR0917 (fixtures)
    keys: tuple[str, ...],
    revoked: tuple[int, ...],
    accepted_by: list[int],
    fleet: Fleets,
    update: Callable[..., Path],
    run_cli: Callable[..., Result],
) -> None:
    """A digest that is burned and not revoked; others in the image do no harm. Refused by all means exit code 1."""
    words: list[object] = ["--fleet", fleet("esp32c6", "rsa_0", "rsa_1"), "--update", update("esp32c6", *keys)]
    for slot in revoked:
        words += ["--revoked", slot]
    exit_code, told = planned(run_cli, *words)
    assert (exit_code, told["accepted"], told["accepted_by"]) == (
        0 if accepted_by else 1,
        bool(accepted_by),
        accepted_by,
    )
    states = ["revoked" if slot in revoked else "trusted" for slot in (0, 1)]
    assert [slot["state"] for slot in told["slots"]] == [*states, "revoked"], "the third was revoked when it was made"
    assert len(told["unknown_signers"]) == ("rsa_3" in keys)
    if not accepted_by:
        assert told["error"]["code"] == "SE690"
        assert told["steps"] == []


@pytest.mark.parametrize("signs", list(Signs))
def test_a_spare_that_has_not_signed_the_bootloader_is_told(
    signs: Signs,
    fleet: Fleets,
    update: Callable[..., Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
) -> None:
    """Boards take the update all the same; they cannot revoke the old key."""
    keys = (str(signing_keys["rsa_0"]), SigningEntry(str(signing_keys["rsa_1"]), signs=signs))
    bundle = fleet("esp32c6", signs.value, keys=keys)
    exit_code, told = planned(run_cli, "--fleet", bundle, "--update", update("esp32c6", "rsa_1"))
    assert (exit_code, told["accepted_by"]) == (0, [1])
    assert [slot["signs"] for slot in told["slots"]] == ["all", signs.value, None]
    assert ("does NOT" in told["steps"][0]) == (signs is Signs.NOTHING)
    assert ("refuse to revoke" in told["steps"][0]) == (signs is Signs.NOTHING)


def test_the_steps_of_a_rotation_are_in_a_safe_order(
    fleet: Fleets, update: Callable[..., Path], run_cli: Callable[..., Result]
) -> None:
    """Bootloader, update, proof that it runs, revocation of the old slot alone; and that the last key is left."""
    words = ("--fleet", fleet("esp32c6", "rsa_0", "rsa_1"), "--update", update("esp32c6", "rsa_1"))
    done = run_cli("keys", "plan-rotation", *words)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    order = ["1. Bootloader first", "2. Send the update", "3. Wait until it has run", "4. Have that app call"]
    assert sorted(order, key=text.index) == order
    assert "esp_ota_revoke_secure_boot_public_key for slot 0" in text
    assert "It is the last" in text
    assert "Revocation is conservative" in text


def test_nothing_is_revoked_for_an_update_by_every_key(fleet: Fleets, update: Callable[..., Path]) -> None:
    boards = read_signing_slots(fleet("esp32c6", "rsa_0", "rsa_1"), ())
    rotation = plan_rotation(boards, read_update(update("esp32c6", "rsa_0", "rsa_1"), "esp32c6"))
    assert len(rotation.steps) == 1 and "none can be revoked" in rotation.steps[0]
    last = plan_rotation(read_signing_slots(fleet("esp32c6", "rsa_0", "rsa_1"), (0,)), rotation.update)
    assert "last key" in last.steps[0]


@pytest.mark.parametrize(("chip", "key"), [("esp32", "rsa_0"), ("esp32c2", "ecdsa256")])
def test_chips_with_one_key_cannot_rotate(chip: str, key: str, fleet: Fleets, signing_keys: dict[str, Path]) -> None:
    rotation = plan_rotation(read_signing_slots(fleet(chip, key), ()), update_signed_with([signing_keys[key]]))
    assert rotation.accepted_by == (0,)
    assert "can never be replaced or revoked" in rotation.steps[0]


def test_open_slots_and_aggressive_revocation_are_pointed_out(
    fleet: Fleets, run_cli: Callable[..., Result], signing_keys: dict[str, Path]
) -> None:
    bundle = fleet("esp32c6", "rsa_0", revoke_unused=False, aggressive_revoke=True)
    done = run_cli("keys", "plan-rotation", "--fleet", bundle, "--signing-key", signing_keys["rsa_0"])
    text = " ".join(done.stdout.split())
    assert text.count("open no digest") == 2
    assert "Aggressive revocation is burned" in text
    assert "An open slot can get" in text
    assert read_signing_slots(bundle / "plan.json", ()) == read_signing_slots(bundle, ())


def test_bad_input(
    fleet: Fleets,
    update: Callable[..., Path],
    tmp_path: Path,
    run_cli: Callable[..., Result],
    signing_keys: dict[str, Path],
) -> None:
    good = fleet("esp32c6", "rsa_0", "rsa_1")
    changed = tmp_path / "changed.bin"
    content = bytearray(update("esp32c6", "rsa_0").read_bytes())
    content[-4096 + 900] ^= 1  # the signature, under a CRC that is wrong then
    changed.write_bytes(content)
    build = make_sample_build(tmp_path / "plain", "esp32c6", options=SampleOptions(flash_encryption="release"))
    plain = write_bundle(decide(build, Profile(tmp_path)), tmp_path / "plain-bundle", lambda _: None).folder

    def code(function: Callable[..., object], *arguments: object) -> str:
        with pytest.raises(SecureProvisionError) as raised:
            function(*arguments)
        return raised.value.code

    assert code(read_signing_slots, tmp_path, ()) == "SE692"
    assert code(read_signing_slots, changed, ()) == "SE875"
    assert code(read_signing_slots, plain, ()) == "SE694"
    assert code(read_signing_slots, good, (3,)) == "SE693"
    assert code(read_signing_slots, good, (-1,)) == "SE693"
    assert code(read_update, update("esp32c6"), "esp32c6") == "SE691"
    assert code(read_update, changed, "esp32c6") == "SE691"
    assert code(read_update, update("esp32c6", "rsa_0"), "esp32c3") == "SE691"
    assert code(read_update, tmp_path / "nowhere", "esp32c3") == "SE691"
    neither = run_cli("keys", "plan-rotation", "--fleet", good)
    both = ("--update", update("esp32c6", "rsa_0"), "--signing-key", signing_keys["rsa_0"])
    assert neither.exit_code == run_cli("keys", "plan-rotation", "--fleet", good, *both).exit_code == 2
