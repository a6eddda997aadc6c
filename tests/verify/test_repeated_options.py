# SPDX-License-Identifier: Apache-2.0
"""The manifest's own options are not believed: what weakens a plan is said again, or signed, or fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from verify_bundles import Made, encrypted_bundle, make, readable_bundle  # noqa: F401 (fixtures)

from secure_ext.checks import Outcome
from secure_ext.prove.verify.options import Repeated
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand

WEAKER = ("--flash-encryption", "development", "--secure-boot", "--accept", "SP022", "--accept", "SP020")
OPTIONS = "options-repeated"


@pytest.fixture(scope="module")
def weaker(
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Made by the tool itself, of a build for release mode and secure boot."""
    folder = tmp_path_factory.mktemp("weaker") / "bundle"
    words = (*WEAKER, "--signing-key", signing_keys["rsa_0"], "--sign-manifest", signing_keys["ecdsa256"])
    return make(run_cli, sample_project("esp32c3") / "build", folder, signing_keys, *words)


def test_it_fails_until_all_is_said_again(weaker: Made, run_cli: Callable[..., Result]) -> None:
    line = ("verify", weaker.folder, "-B", weaker.build)
    assert run_cli(*line, *WEAKER).exit_code == 0
    for words in ((), WEAKER[:2], WEAKER[:3], WEAKER[:5], WEAKER[2:], ("--flash-encryption", "release", *WEAKER[2:])):
        done = run_cli(*line, *words)
        assert done.exit_code == 1 and OPTIONS in done.stdout, words


def test_a_signature_says_it_too(weaker: Made, run_cli: Callable[..., Result]) -> None:
    line = ("verify", weaker.folder, "-B", weaker.build, "--manifest-key")
    assert run_cli(*line, weaker.keys["ecdsa256"]).exit_code == 0
    assert run_cli(*line, weaker.keys["ecdsa384"]).exit_code == 1


def test_they_are_shown_at_the_end(weaker: Made, run_cli: Callable[..., Result]) -> None:
    """Also where nobody can judge them, because the build is not at hand."""
    done = run_cli("verify", weaker.folder, "-B", weaker.folder / "none", "--format", "json")
    assert json.loads(done.stdout)["options"] == weaker.load()["inputs"]["options"]
    text = run_cli("verify", weaker.folder).stdout
    assert any("flash_encryption.mode = development" in line for line in text.splitlines()[-3:])
    unseen = {check.name: check.outcome for check in weaker.verify_with(AtHand(BuildAtHand(Path("none"), None)))}
    assert unseen[OPTIONS] is Outcome.NOT_VERIFIABLE


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lockdown.jtag", "open"),
        ("lockdown.download_mode", "open"),
        ("secure_boot.revoke_unused", False),
        ("secure_boot.keep_read_protection_writable", True),
        ("flash_encryption.mode", "development"),
        ("flash_encryption.mode", ["release"]),
        ("flash_encryption.key", "key.bin"),
        ("flash_encryption.pseudo_round", 0),
        ("secure_boot.enabled", False),
        ("secure_boot.enabled", 1),
        ("secure_boot.keys", 2),
        ("secure_boot.keys", True),
        ("nvs.key", "device"),
        ("nvs.scheme", "off"),
        ("nvs.images", {"nvs": "nvs.csv"}),
        ("images", {"otadata": "x.bin"}),
        ("doctor.accept", ["SP020"]),
        ("doctor.accept", [["SP020"]]),
        ("doctor.accept", {}),
        ("more", None),
    ],
)
def test_an_option_that_was_written_into_the_manifest(key: str, value: object, encrypted: Made, tmp_path: Path) -> None:
    made = encrypted.copy(tmp_path / "bundle")
    manifest = made.load()
    manifest["inputs"]["options"][key] = value
    made.store(manifest)
    assert OPTIONS in made.failures()


def test_naming_a_key_needs_no_repeating(encrypted: Made, readable: Made, run_cli: Callable[..., Result]) -> None:
    for made in (encrypted, readable):
        assert run_cli("verify", made.folder, "-B", made.build).exit_code == 0


def test_what_is_asked_for_is_held_against_the_bundle(encrypted: Made) -> None:
    for repeated in (Repeated(flash_encryption="development"), Repeated(flash_encryption="off"), Repeated(None, False)):
        for build in (encrypted.build, Path("none")):
            assert OPTIONS in encrypted.failures(AtHand(BuildAtHand(build, None, repeated=repeated)))
    fine = Repeated("release", True)
    assert encrypted.failures(AtHand(BuildAtHand(encrypted.build, None, repeated=fine))) == set()


def test_the_keys_that_boards_will_trust(readable: Made, run_cli: Callable[..., Result]) -> None:
    both = ("--signing-key", readable.keys["rsa_0"], "--signing-key", readable.keys["rsa_1"])
    assert run_cli("verify", readable.folder, *both).exit_code == 0
    for words in (both[:2], (*both[:3], readable.keys["rsa_2"]), (*both, "--digest-only-key", "0" * 64)):
        done = run_cli("verify", readable.folder, *words)
        assert done.exit_code == 1 and "signing-keys" in done.stdout


@pytest.mark.parametrize("member", ["sdkconfig", "flasher_args", "partition_table", "profile"])
def test_a_build_that_is_named_must_fit(
    member: str, encrypted: Made, tmp_path: Path, run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forger can say that the bundle is of another build; one that happens to be there proves nothing."""
    made = encrypted.copy(tmp_path / "bundle")
    (made.folder / "rehearsal.json").unlink()
    manifest = made.load()
    manifest["inputs"][member] = "0" * 64
    made.store(manifest)
    made.reseal()
    monkeypatch.chdir(made.build.parent)
    assert run_cli("verify", made.folder).exit_code == 0
    for words in (("-B", made.build), ("-B", tmp_path)):
        done = run_cli("verify", made.folder, *words)
        assert done.exit_code == 1 and "plan-from-build" in done.stdout


def test_a_profile_that_is_named_must_fit(encrypted: Made, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    (tmp_path / "profile.yaml").write_text("schema: 1\n")
    for profile in ("profile.yaml", "none.yaml"):
        done = run_cli("verify", encrypted.folder, "--profile", tmp_path / profile)
        assert done.exit_code == 1 and "plan-from-build" in done.stdout
