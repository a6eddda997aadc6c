# SPDX-License-Identifier: Apache-2.0
"""The signed statement: securesystemslib accepts it, and no change of it or of the bundle passes."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey
from verify_bundles import Made, encrypted_bundle, make  # noqa: F401 (a fixture)

from secure_ext.bundle.archive import write_archive
from secure_ext.bundle.attest import sign_statement
from secure_ext.bundle.read import read_bundle
from secure_ext.checks import Check, Outcome
from secure_ext.documents.manifest import Manifest
from secure_ext.keys.signing import load_signing_key, load_verification_key
from secure_ext.prove.verify.verify import verify_bundle
from secure_ext.report.page import render_report
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import read_document

KEYS = ("rsa_3", "ecdsa256", "ecdsa384")
NAMES = ("signed-statement", "statement-signature")


@pytest.fixture(scope="module")
def signed(encrypted: Made, run_cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Signed by the key ecdsa256, and rehearsed afterwards."""
    folder = tmp_path_factory.mktemp("signed") / "bundle"
    options = ("--signing-key", encrypted.keys["rsa_0"], "--sign-manifest", encrypted.keys["ecdsa256"])
    return make(run_cli, encrypted.build, folder, encrypted.keys, *options)


def public(path: Path) -> Any:
    return load_verification_key(path).public_key


def in_their_eyes(text: str, key: Path) -> bytes:
    """The payload, once securesystemslib has verified the envelope. Raises VerificationError."""
    content = json.loads(text)
    theirs = SSlibKey.from_crypto(public(key), keyid=content["signatures"][0]["keyid"])
    envelope = Envelope.from_dict(content)
    envelope.verify([theirs], 1)
    return bytes(envelope.payload)


def outcomes(checks: list[Check]) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in checks if check.name in NAMES}


@pytest.mark.parametrize("name", KEYS)
def test_securesystemslib_verifies_the_envelope(name: str, encrypted: Made) -> None:
    text = sign_statement(read_bundle(encrypted.folder), load_signing_key(encrypted.keys[name]))
    statement = json.loads(in_their_eyes(text, encrypted.keys[name]))
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    with pytest.raises(VerificationError):
        in_their_eyes(text, encrypted.keys["rsa_0"])


def test_the_statement_names_every_file_and_every_input(signed: Made) -> None:
    text = (signed.folder / "manifest.dsse.json").read_text()
    statement = json.loads(in_their_eyes(text, signed.keys["ecdsa256"]))
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    assert subjects.pop("the bundle") == read_bundle(signed.folder).identity
    files = {name: hashlib.sha256((signed.folder / name).read_bytes()).hexdigest() for name in subjects}
    assert subjects == files and set(files) == set(signed.load()["files"]) - {"rehearsal.json", "report.html"}
    build = statement["predicate"]["buildDefinition"]
    dependencies = {item["name"]: item["digest"]["sha256"] for item in build["resolvedDependencies"]}
    for name in ("config/sdkconfig.json", "flasher_args.json", "sample.bin", "bootloader/bootloader.bin"):
        assert dependencies[name] == hashlib.sha256((signed.build / name).read_bytes()).hexdigest()


def test_the_key_id_is_what_openssl_says(signed: Made) -> None:
    line = ["openssl", "pkey", "-in", str(signed.keys["ecdsa256"]), "-pubout", "-outform", "DER"]
    der = subprocess.run(line, capture_output=True, check=True).stdout
    content = json.loads((signed.folder / "manifest.dsse.json").read_text())
    assert content["signatures"][0]["keyid"] == hashlib.sha256(der).hexdigest()


def test_verify_with_the_public_key(signed: Made, tmp_path: Path) -> None:
    """It holds for the folder, after the rehearsal, and for the archive; the private key is not needed."""
    pem = public(signed.keys["ecdsa256"]).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public.pem").write_bytes(pem)
    at_hand = signed.at_hand(manifest_key=tmp_path / "public.pem")
    assert {check.outcome for check in verify_bundle(signed.folder, at_hand)} == {Outcome.PASSED}
    write_archive(signed.folder, tmp_path / "a.zip")
    assert outcomes(verify_bundle(tmp_path / "a.zip", at_hand)) == dict.fromkeys(NAMES, Outcome.PASSED)


def test_what_is_said_without_a_key_or_a_signature(signed: Made, encrypted: Made) -> None:
    assert outcomes(signed.verify())["statement-signature"] is Outcome.NOT_VERIFIABLE
    assert outcomes(encrypted.verify()) == dict.fromkeys(NAMES, Outcome.NOT_VERIFIABLE)
    with_key = encrypted.verify(manifest_key=encrypted.keys["ecdsa256"])
    assert outcomes(with_key) == dict.fromkeys(NAMES, Outcome.FAILED)
    assert outcomes(signed.verify(manifest_key=signed.keys["rsa_3"]))["statement-signature"] is Outcome.FAILED


def forge_payload(content: dict[str, Any]) -> None:
    payload = json.loads(base64.b64decode(content["payload"]))
    payload["predicate"]["buildDefinition"]["externalParameters"]["project"] = "another"
    content["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()


def forge_type(content: dict[str, Any]) -> None:
    content["payloadType"] = "application/json"


def forge_signature(content: dict[str, Any]) -> None:
    signature = bytearray(base64.b64decode(content["signatures"][0]["sig"]))
    signature[-1] ^= 1
    content["signatures"][0]["sig"] = base64.b64encode(signature).decode()


@pytest.mark.parametrize("forge", [forge_payload, forge_type, forge_signature])
def test_a_changed_envelope_does_not_pass(signed: Made, tmp_path: Path, forge: Callable[[Any], None]) -> None:
    """Neither with securesystemslib nor here."""
    made = signed.copy(tmp_path / "bundle")
    content = made.load("manifest.dsse.json")
    forge(content)
    made.store(content, "manifest.dsse.json")
    with pytest.raises(VerificationError):
        in_their_eyes(json.dumps(content), signed.keys["ecdsa256"])
    found = outcomes(made.verify(manifest_key=signed.keys["ecdsa256"]))
    assert found["statement-signature"] is Outcome.FAILED


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"payload": 1}', '{"payload": "e30=", "payloadType": "", "signatures": [1]}']
)
def test_what_is_no_envelope_fails(signed: Made, tmp_path: Path, text: str) -> None:
    made = signed.copy(tmp_path / "bundle")
    (made.folder / "manifest.dsse.json").write_text(text)
    assert outcomes(made.verify(manifest_key=signed.keys["ecdsa256"]))["signed-statement"] is Outcome.FAILED


def test_a_changed_manifest_does_not_pass(signed: Made, tmp_path: Path) -> None:
    """Also where a forger makes everything else fit again, and takes the rehearsal away."""
    made = signed.copy(tmp_path / "bundle")
    (made.folder / "rehearsal.json").unlink()
    made.store({**made.load(), "created": "2001-01-01T00:00:00Z"})
    manifest, plan = read_document(Manifest, made.load()), read_document(PlanDocument, made.load("plan.json"))
    report = render_report(manifest, plan, None)
    (made.folder / "report.html").write_text(report, encoding="utf-8")
    made.relist()
    assert {check.name for check in made.verify(manifest_key=signed.keys["ecdsa256"]) if check.cure} == {NAMES[0]}


def test_the_statement_of_another_bundle_does_not_pass(signed: Made, encrypted: Made, tmp_path: Path) -> None:
    made = encrypted.copy(tmp_path / "bundle")
    (made.folder / "manifest.dsse.json").write_bytes((signed.folder / "manifest.dsse.json").read_bytes())
    found = outcomes(made.verify(manifest_key=signed.keys["ecdsa256"]))
    assert found == {NAMES[0]: Outcome.FAILED, NAMES[1]: Outcome.PASSED}


def test_a_key_that_cannot_sign_is_refused_before_anything_is_made(
    encrypted: Made, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    (tmp_path / "key.pem").write_text("no key")
    line = ("bundle", "-B", encrypted.build, "--signing-key", encrypted.keys["rsa_0"], "-o", tmp_path / "new")
    done = run_cli(*line, "--sign-manifest", tmp_path / "key.pem")
    assert (done.exit_code, "SE602" in done.stderr, (tmp_path / "new").exists()) == (3, True, False)
