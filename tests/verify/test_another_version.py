# SPDX-License-Identifier: Apache-2.0
"""What this version cannot make again is checked by nobody here: code of that kind fails, unless it is signed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from verify_bundles import Made, encrypted_bundle  # noqa: F401 (a fixture)

from secure_ext.bundle.attest import sign_statement
from secure_ext.bundle.read import read_bundle
from secure_ext.checks import Outcome
from secure_ext.keys.signing import load_signing_key
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand

RELEASED = Path(__file__).parents[1] / "released" / "made_by_0.1.0"
OTHER = "idf-secure-provision 99.0"


@pytest.fixture
def of_99(encrypted: Made, tmp_path: Path) -> Made:
    """A bundle whose manifest and script say that version 99.0 made them."""
    made = encrypted.copy(tmp_path / "bundle")
    (made.folder / "rehearsal.json").unlink()
    made.store({**made.load(), "tool": OTHER})
    script = made.folder / "provision.py"
    script.write_text(script.read_text().replace("Made by idf-secure-provision 0.2.0", f"Made by {OTHER}"))
    with script.open("a") as file:
        file.write("print('whatever')\n")
    made.relist()
    return made


def outcomes(made: Made, **more: Path) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in made.verify(**more)}


def test_its_script_fails(of_99: Made) -> None:
    assert of_99.failures() == {"script-text"}
    assert outcomes(of_99)["report-text"] is Outcome.NOT_VERIFIABLE


@pytest.mark.parametrize(("name", "check"), [("commands.sh", "shell-text"), ("commands.ps1", "powershell-text")])
def test_its_commands_fail(name: str, check: str, of_99: Made) -> None:
    with (of_99.folder / name).open("a") as file:
        file.write("whatever\n")
    of_99.relist()
    assert of_99.failures() == {check, "script-text"}


def test_a_signature_vouches_for_the_script_and_not_for_the_report(of_99: Made) -> None:
    key = of_99.keys["ecdsa256"]
    text = sign_statement(read_bundle(of_99.folder), load_signing_key(key))
    (of_99.folder / "manifest.dsse.json").write_text(text)
    found = outcomes(of_99, manifest_key=key)
    assert found["script-text"] is Outcome.NOT_VERIFIABLE
    assert {name for name, outcome in found.items() if outcome is Outcome.FAILED} == {"report-text"}
    assert outcomes(of_99, manifest_key=of_99.keys["rsa_3"])["script-text"] is Outcome.FAILED
    assert outcomes(of_99)["script-text"] is Outcome.FAILED
    (of_99.folder / "provision.py").write_text("print('another')\n")
    of_99.relist()
    assert outcomes(of_99, manifest_key=key)["script-text"] is Outcome.FAILED


def a_line_of_the_runner(text: str) -> str:
    return text.replace("actual != expected", "False", 1)


def a_line_behind_the_runner(text: str) -> str:
    return text + "print('whatever')\n"


def a_value_of_the_table(text: str) -> str:
    return text.replace("'irreversible': True", "'irreversible': False", 1)


def a_line_before_the_table(text: str) -> str:
    return text.replace("PLAN = {", "import argparse\n\nPLAN = {", 1)


def nothing(text: str) -> str:
    return text


@pytest.mark.parametrize(
    "change", [nothing, a_line_of_the_runner, a_line_behind_the_runner, a_value_of_the_table, a_line_before_the_table]
)
def test_the_script_of_a_release_is_known(change: Callable[[str], str], tmp_path: Path) -> None:
    with zipfile.ZipFile(RELEASED / "esp32c3-both.zip") as archive:
        archive.extractall(tmp_path)
    made = Made(tmp_path / "bundle", tmp_path, {})
    (made.folder / "keys").chmod(0o700)
    for key in (made.folder / "keys").iterdir():
        key.chmod(0o600)
    (made.folder / "rehearsal.json").unlink()
    script = made.folder / "provision.py"
    script.write_text(change(script.read_text()))
    made.relist()
    expected = set() if change is nothing else {"script-text"}
    assert made.failures(AtHand(BuildAtHand(Path("no-build"), None))) == expected


@pytest.mark.parametrize("member", ["note", "schema", "passed", "means"])
def test_a_rehearsal_holds_what_a_rehearsal_writes(member: str, encrypted: Made, tmp_path: Path) -> None:
    """Nothing more, nothing less, and it agrees with itself."""
    made = encrypted.copy(tmp_path / "bundle")
    outcome = made.load("rehearsal.json")
    if member == "note":
        outcome["note"] = "flash with --force"
    elif member == "schema":
        del outcome["schema"]
    elif member == "passed":
        outcome["means"][0]["passed"] = False
    else:
        outcome["means"] = []
    (made.folder / "rehearsal.json").write_text(json.dumps(outcome, indent=2) + "\n")
    made.reseal()
    assert made.failures() == {"rehearsal"}
