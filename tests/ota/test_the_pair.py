# SPDX-License-Identifier: Apache-2.0
"""Updates that would stop a fleet are refused, right ones are packed, and bundles of earlier versions are read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from secure_ext.field.rotation import plan_rotation, read_signing_slots, read_update
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

SECURE: Mapping[str, Any] = {"flash_encryption": "release", "secure_boot": True}
ANTI_ROLLBACK = {"BOOTLOADER_APP_ROLLBACK_ENABLE": True, "BOOTLOADER_APP_ANTI_ROLLBACK": True}
VERIFIES_UPDATES: Mapping[str, Any] = {
    "flash_encryption": "release",
    "config": {
        "SECURE_SIGNED_APPS_NO_SECURE_BOOT": True,
        "SECURE_SIGNED_ON_UPDATE_NO_SECURE_BOOT": True,
        "SECURE_SIGNED_APPS_RSA_SCHEME": True,
    },
}


@pytest.fixture(scope="module")
def fleet(
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A bundle with flash encryption and secure boot; it must not be changed."""
    folder = tmp_path_factory.mktemp("fleet") / "bundle"
    keys = ("--signing-key", signing_keys["rsa_0"], "--signing-key", signing_keys["rsa_1"])
    done = run_cli("bundle", "-B", sample_project("esp32c3") / "build", "-o", folder, *keys)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def ota(run_cli: Callable[..., Result], tmp_path: Path) -> Callable[..., Result]:
    def run(fleet: Path, build: Path, *options: object) -> Result:
        return run_cli("ota", "-B", build, "--fleet", fleet, "-o", tmp_path / "update", *options)

    return run


WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "SP120": ({"table_offset": 0x10000}, ()),
    "SP030": ({"config": {"EFUSE_VIRTUAL": True}}, ()),
    "SP027": ({"config": {"NVS_SEC_HMAC_EFUSE_KEY_ID": 3}}, ("SP027", "SP034")),
    "SP129": ({"config": ANTI_ROLLBACK}, ("SP129",)),
}
"""Options of an update, and what has to be accepted to pack it all the same; nothing if it cannot be."""


@pytest.mark.parametrize("code", WRONG)
def test_an_update_that_does_not_fit_the_fleet_is_not_packed(
    code: str, fleet: Path, ota: Callable[..., Result], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    options, acceptable = WRONG[code]
    build = make_sample_build(tmp_path / "new", "esp32c3", options=SampleOptions(**SECURE, **options))
    key = ("--signing-key", signing_keys["rsa_0"])
    done = ota(fleet, build, *key)
    assert (done.exit_code, "error SE769" in done.stderr, code in done.stderr) == (1, True, True), done.output
    assert not (tmp_path / "update").exists()
    accepted = ota(fleet, build, *key, *(word for each in acceptable or (code,) for word in ("--accept", each)))
    if not acceptable:
        assert (accepted.exit_code, "SE405" in accepted.stderr) == (2, True)
        return
    assert accepted.exit_code == 0, accepted.stderr
    manifest = json.loads((tmp_path / "update" / "manifest.json").read_text())
    assert {finding["code"] for finding in manifest["findings"] if finding["accepted"]} == set(acceptable)
    outcomes = {check["name"]: check["outcome"] for check in manifest["checks"]}
    assert {outcomes[each] for each in acceptable} == {"not verifiable"}


def test_an_app_with_a_signature_of_the_fleet_and_a_new_one_is_taken(
    fleet: Path,
    ota: Callable[..., Result],
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    tmp_path: Path,
) -> None:
    keys = ("--signing-key", signing_keys["rsa_0"], "--signing-key", signing_keys["rsa_2"])
    for revoked, taken in (((), True), ((1,), True), ((0,), False)):
        options = [word for number in revoked for word in ("--revoked-slot", number)]
        done = ota(fleet, sample_project("esp32c3") / "build", *keys, *options)
        assert (done.exit_code == 0, "SE757" in done.stderr) == (taken, not taken), done.output
        app = tmp_path / "update" / "app.bin"  # the last one that was packed
        assert (plan_rotation(read_signing_slots(fleet, revoked), read_update(app, "esp32c3")).refusal is None) is taken


def test_a_bundle_of_an_earlier_version_is_read_and_what_it_lacks_is_said(
    fleet: Path, ota: Callable[..., Result], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(fleet, old)
    plan, manifest = (json.loads((old / name).read_text()) for name in ("plan.json", "manifest.json"))
    del plan["requirements"], manifest["settings"]
    text = json.dumps(plan, indent=2) + "\n"
    (old / "plan.json").write_text(text)
    manifest["files"]["plan.json"] = hashlib.sha256(text.encode()).hexdigest()
    (old / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    build = make_sample_build(tmp_path / "new", "esp32c3", options=SampleOptions(**SECURE, config=ANTI_ROLLBACK))
    done = ota(old, build, "--signing-key", signing_keys["rsa_0"])
    assert done.exit_code == 0, done.stderr
    assert "not verifiable  SP129" in done.stdout
    moved = make_sample_build(tmp_path / "moved", "esp32c3", options=SampleOptions(**SECURE, table_offset=0x10000))
    assert "SP120" in ota(old, moved, "--signing-key", signing_keys["rsa_0"]).stderr


def test_boards_that_verify_updates_in_software_get_what_they_take(
    ota: Callable[..., Result], run_cli: Callable[..., Result], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    build = make_sample_build(tmp_path / "project", "esp32c3", options=SampleOptions(**VERIFIES_UPDATES))
    unsigned = (build / "sample.bin").read_bytes()
    (build / "sample.bin").write_bytes(sign(unsigned, [load_signing_key(signing_keys["rsa_0"])], place="app"))
    fleet = tmp_path / "fleet"
    assert run_cli("bundle", "-B", build, "-o", fleet, "--no-secure-boot").exit_code == 0
    assert ota(fleet, build).exit_code == 0
    (build / "sample.bin").write_bytes(unsigned)
    refused = ota(fleet, build)
    assert (refused.exit_code, "SE769" in refused.stderr) == (1, True)
    assert "SP127" in ota(fleet, build, "--signing-key", signing_keys["rsa_1"]).stderr
    assert ota(fleet, build, "--signing-key", signing_keys["rsa_0"]).exit_code == 0
    keys = ("--signing-key", signing_keys["rsa_0"], "--signing-key", signing_keys["rsa_1"])
    assert ota(fleet, build, *keys).exit_code == 0
    assert "SP127" in ota(fleet, build, *keys[2:], *keys[:2]).stderr


def test_padding_behind_a_signature_is_signed_to_all_of_them(
    ota: Callable[..., Result], run_cli: Callable[..., Result], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    build = make_sample_build(tmp_path / "project", "esp32c3", options=SampleOptions(**SECURE))
    key = ("--signing-key", signing_keys["rsa_0"])
    for name in ("sample.bin", "bootloader/bootloader.bin"):
        content = (build / name).read_bytes()
        if name == "sample.bin":
            content = sign(content, [load_signing_key(signing_keys["rsa_0"])], place=name)
        (build / name).write_bytes(content + b"\xff" * 5000)
    assert "SP012" in run_cli("doctor", "-B", build, *key).stdout
    fleet = tmp_path / "fleet"
    made = run_cli("bundle", "-B", build, "-o", fleet, *key)
    assert made.exit_code == 0, made.output
    verified = run_cli("verify", fleet)
    assert verified.exit_code == 0, verified.output
    assert ota(fleet, build).exit_code == 0
    assert (tmp_path / "update" / "app.bin").read_bytes() == (build / "sample.bin").read_bytes()[:-5000]
