# SPDX-License-Identifier: Apache-2.0
"""verify of a bundle whose boards get keys of their own: what is not there yet is not missed, what is wrong is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from alterations import set_at
from click.testing import Result
from support.matrix_tools import espefuse
from verify_bundles import Made, make

from secure_ext.checks import Outcome
from secure_ext.keys.sealing import generate_sealing_pair
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand, verify_bundle

NOT_SIGNED = {"signed-statement", "statement-signature"}


@pytest.fixture(name="template", params=["destroy", "sealed"])
def made_template(
    request: pytest.FixtureRequest,
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path: Path,
) -> Made:
    lines = [
        "schema: 1",
        "flash_encryption: {key: per-device}",
        "nvs: {key: per-device}",
        f"secure_boot: {{keys: [{signing_keys['rsa_0']}]}}",
    ]
    if request.param == "sealed":
        (tmp_path / "offline.pem").write_bytes(generate_sealing_pair()[1])
        lines.append("per_device: {keep: sealed, seal_to: offline.pem}")
    (tmp_path / "profile.yaml").write_text("\n".join(lines) + "\n")
    build = sample_project("esp32c3") / "build"
    return make(run_cli, build, tmp_path / "bundle", signing_keys, "--profile", tmp_path / "profile.yaml")


def failures(made: Made, tmp_path: Path) -> set[str]:
    checks = verify_bundle(made.folder, AtHand(BuildAtHand(made.build, tmp_path / "profile.yaml")))
    return {check.name for check in checks if check.outcome is Outcome.FAILED}


def test_nothing_is_missed(template: Made, tmp_path: Path) -> None:
    checks = verify_bundle(template.folder, AtHand(BuildAtHand(template.build, tmp_path / "profile.yaml")))
    assert {check.name for check in checks if check.outcome is Outcome.NOT_VERIFIABLE} == NOT_SIGNED


def test_it_passes_and_its_report_says_who_makes_the_keys(template: Made, tmp_path: Path) -> None:
    assert failures(template, tmp_path) == set()
    page = (template.folder / "report.html").read_text(encoding="utf-8")
    assert "Every board gets a key of its own." in page and "None" not in page


@pytest.mark.parametrize(
    ("path", "value", "seen_by"),
    [
        ("per_device.keys", ["nvs_hmac_key"], "image-flags"),
        ("per_device.seal_to", "other.pem", "manifest-schema"),
        ("per_device.keep", "neither", "manifest-schema"),
        ("per_device", None, "script-text"),
        ("images.0.encrypt_per_device", False, "image-flags"),
        ("images.0.encrypted", True, "image-flags"),
    ],
)
def test_a_wrong_manifest_is_seen(template: Made, tmp_path: Path, path: str, value: object, seen_by: str) -> None:
    manifest = template.load()
    set_at(manifest, path, value)
    template.store(manifest)
    assert seen_by in failures(template, tmp_path)


def test_another_way_to_keep_keys_is_seen(template: Made, tmp_path: Path) -> None:
    manifest = template.load()
    manifest["per_device"]["keep"] = {"sealed": "destroy", "destroy": "sealed"}[manifest["per_device"]["keep"]]
    template.store(manifest)
    assert "facts-from-build" in failures(template, tmp_path)


def test_a_key_for_all_boards_does_not_belong_there(template: Made, tmp_path: Path) -> None:
    key = template.folder / "keys" / "flash_encryption_key.bin"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    key.write_bytes(hashlib.sha256(b"another key").digest())
    key.chmod(0o600)
    assert failures(template, tmp_path) == {"key-fingerprint"}


def test_the_option_is_remembered(
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """Without a profile, and against one that says otherwise."""
    build = sample_project("esp32c3") / "build"
    options = ("--flash-encryption-key", "per-device", "--signing-key", signing_keys["rsa_0"])
    made = make(run_cli, build, tmp_path / "bundle", signing_keys, *options)
    checks = verify_bundle(made.folder, AtHand(BuildAtHand(build, None)))
    assert {check.name for check in checks if check.outcome is not Outcome.PASSED} == NOT_SIGNED
    (tmp_path / "profile.yaml").write_text("schema: 1\nflash_encryption: {key: per-device}\n")
    key = tmp_path / "flash.bin"
    key.write_bytes(hashlib.sha256(b"a key").digest())
    profile = ("--profile", tmp_path / "profile.yaml", "--signing-key", signing_keys["rsa_0"])
    shared = make(run_cli, build, tmp_path / "shared", signing_keys, "--flash-encryption-key", key, *profile)
    checks = verify_bundle(shared.folder, AtHand(BuildAtHand(build, tmp_path / "profile.yaml")))
    assert {check.name for check in checks if check.outcome is Outcome.FAILED} <= {"key-permissions"}


def test_a_board_can_be_audited_against_it(template: Made, run_cli: Callable[..., Result], tmp_path: Path) -> None:
    """The plan names no fingerprints; everything else can be compared."""
    espefuse("esp32c3", tmp_path / "board.bin", "summary")
    done = run_cli("audit", template.folder, "--virt", tmp_path / "board.bin")
    assert done.exit_code == 1 and "SE875" not in done.output, done.output
