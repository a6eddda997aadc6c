# SPDX-License-Identifier: Apache-2.0
"""`verify` finds nothing wrong with a bundle as it was made, and every single alteration of it by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alterations import ALTERATIONS, Alteration
from click.testing import Result
from verify_bundles import Made, encrypted_bundle, readable_bundle  # noqa: F401 (fixtures)

from secure_ext.checks import Outcome
from secure_ext.prove.verify.check import CHECKS
from secure_ext.prove.verify.options import Repeated
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand

NOTHING = AtHand(BuildAtHand(Path("no-build"), None))


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Made:
    bundle = request.getfixturevalue(request.param)
    assert isinstance(bundle, Made)
    return bundle


@pytest.mark.parametrize("made", ["encrypted", "readable"], indirect=True)
def test_everything_passes_as_it_was_made(made: Made) -> None:
    """But for the signature, which it has not."""
    wrong = {check.name for check in made.verify() if check.outcome is not Outcome.PASSED}
    assert wrong == {"signed-statement", "statement-signature"}


@pytest.mark.parametrize("alteration", ALTERATIONS, ids=lambda alteration: alteration.name)
def test_an_alteration_is_seen(alteration: Alteration, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    original = request.getfixturevalue(alteration.bundle)
    made = original.copy(tmp_path / "bundle")
    alteration.spoil(made)
    needs_build = alteration.seen_by.endswith(("-from-build", "options-repeated"))
    at_hand = made.at_hand() if needs_build else NOTHING
    if alteration.seen_by == "signing-keys":
        at_hand = AtHand(
            BuildAtHand(Path("no-build"), None, repeated=Repeated(signing_keys=(str(made.keys["rsa_0"]),)))
        )
    assert alteration.seen_by in made.failures(at_hand)


def test_the_alterations_are_many_and_different() -> None:
    assert len({alteration.name for alteration in ALTERATIONS}) == len(ALTERATIONS) >= 60


def test_every_member_of_the_manifest_is_altered(encrypted: Made) -> None:
    altered = {alteration.name.partition("=")[0] for alteration in ALTERATIONS}

    def members(value: object, path: str) -> set[str]:
        if isinstance(value, list):
            value = {"*": value[0]}
        if not isinstance(value, dict) or path in ("files", "inputs.options", "settings"):
            return {path}
        return {found for name, inner in value.items() for found in members(inner, f"{path}.{name}".strip("."))}

    in_general = {".".join("*" if part.isdigit() else part for part in name.split(".")) for name in altered}
    tools = {"inputs.tools.python", "inputs.tools.cryptography"}  # like that of esptool
    assert members(encrypted.load(), "") - in_general - tools == {"files"}


def test_the_command_says_it_and_ends_with_1(encrypted: Made, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    made = encrypted.copy(tmp_path / "bundle")
    assert run_cli("verify", made.folder, "-B", made.build).exit_code == 0
    (made.folder / "commands.sh").write_text("rm -rf /\n")
    done = run_cli("verify", made.folder, "-B", made.build)
    assert done.exit_code == 1
    assert "failed          file-hash  commands.sh" in done.stdout


def test_every_check_is_explained(encrypted: Made) -> None:
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")
    for name, meaning in CHECKS.items():
        assert f"| `{name}` | {meaning} |" in page
