# SPDX-License-Identifier: Apache-2.0
"""The bundle of every chip passes in full, with a profile, a signed manifest, and an app that the build has signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.matrix_tools import esptool_version
from verify_bundles import Made, make

from secure_ext.checks import Outcome
from secure_ext.chips.chip import load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

QUICK = ("esp32c2",)
SIGNERS = {"rsa3072": "rsa_0", "ecdsa256": "ecdsa256", "ecdsa384": "ecdsa384"}


def made_with_a_profile(chip: str, folder: Path, keys: dict[str, Path], run_cli: Callable[..., Result]) -> Made:
    facts = load_chip(chip, 0).facts
    options = SampleOptions(flash_encryption="release", secure_boot=bool(facts.schemes))
    build = make_sample_build(folder / "project", chip, options=options)
    lines = ["schema: 1", f"flash_encryption: {{key_size: {facts.key_sizes[-1].value}}}"]
    if facts.schemes:
        key = keys[SIGNERS[facts.schemes[0]]]
        lines.append(f"secure_boot: {{keys: [{key}]}}")
        app = build / "sample.bin"
        app.write_bytes(sign(app.read_bytes(), [load_signing_key(key)], place=""))
    (folder / "profile.yaml").write_text("\n".join(lines) + "\n")
    more = ("--profile", folder / "profile.yaml", "--sign-manifest", keys["ecdsa384"])
    return make(run_cli, build, folder / "bundle", keys, *more)


@pytest.mark.parametrize(
    "chip", [pytest.param(chip, marks=[] if chip in QUICK else [pytest.mark.long]) for chip in CHIP_NAMES]
)
def test_everything_passes(
    chip: str, tmp_path: Path, signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    if esptool_version() < (5, 0) and chip not in QUICK:
        pytest.skip("esptool 5 knows all chips")
    made = made_with_a_profile(chip, tmp_path, signing_keys, run_cli)
    at_hand = AtHand(BuildAtHand(made.build, tmp_path / "profile.yaml"), manifest_key=signing_keys["ecdsa384"])
    assert [check for check in made.verify_with(at_hand) if check.outcome is not Outcome.PASSED] == []


def test_only_the_recorded_build_and_profile_are_taken_for_them(
    tmp_path: Path, signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    """Another profile is not, nor a changed sdkconfig; a changed image in the recorded build is seen."""
    made = made_with_a_profile("esp32c2", tmp_path, signing_keys, run_cli)
    (tmp_path / "other.yaml").write_text("schema: 1\n")
    for profile in (None, tmp_path / "other.yaml"):
        checks = made.verify_with(AtHand(BuildAtHand(made.build, profile)))
        outcomes = {check.name: check.outcome for check in checks}
        assert outcomes["plan-from-build"] is outcomes["images-from-build"] is Outcome.NOT_VERIFIABLE
    at_hand = AtHand(BuildAtHand(made.build, tmp_path / "profile.yaml"))
    app = made.build / "sample.bin"
    app.write_bytes((made.build / "bootloader" / "bootloader.bin").read_bytes())
    assert "images-from-build" in made.failures(at_hand)
    config = made.build / "config" / "sdkconfig.json"
    config.write_text(config.read_text() + "\n")
    assert made.failures(at_hand) == set()
