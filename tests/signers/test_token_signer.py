# SPDX-License-Identifier: Apache-2.0
"""Keys in a token, with SoftHSM as the token and espsecure as the judge; everything that can go wrong has its code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from signer_world import decrypted, espsecure_accepts, shared_hsm  # noqa: F401 (a fixture)
from soft_hsm import PIN, SoftHsm

from secure_ext.errors import SecureProvisionError
from secure_ext.keys.token import coded_token_errors

Run = Callable[..., subprocess.CompletedProcess[str]]

SHOW_PUBLIC_KEY = """
import sys
from secure_ext.keys.secret_source import NO_SECRETS
from secure_ext.keys.token_signer import open_token_signer
from secure_ext.policy.pkcs11_uri import parse_pkcs11_uri
sys.stdout.write(open_token_signer(parse_pkcs11_uri(sys.argv[1], place=""), NO_SECRETS).verification_key.der.hex())
"""

LOSE_THE_TOKEN = """
import os, shutil, sys
from secure_ext.errors import SecureProvisionError
from secure_ext.keys.token_signer import open_token_signer
from secure_ext.policy.pkcs11_uri import parse_pkcs11_uri
from secure_ext.cli.secret_prompt import PromptedSecrets
secrets = PromptedSecrets({"SECURE_PROVISION_PIN": os.environ["SECURE_PROVISION_PIN"]}, None)
signer = open_token_signer(parse_pkcs11_uri("pkcs11:token=lost;object=boot", place=""), secrets)
assert signer.verification_key.is_valid_signature(signer.sign(bytes(32)), bytes(32))
shutil.rmtree(sys.argv[1])
try:
    signer.sign(bytes(32))
except SecureProvisionError as error:
    print(error.code)
"""


@pytest.mark.parametrize(("chip", "label"), [("esp32c3", "boot-rsa"), ("esp32c61", "boot-ec")])
def test_espsecure_accepts_what_a_token_signed(
    *,
    hsm: SoftHsm,
    chip: str,
    label: str,
    sample_project: Callable[[str], Path],
    tmp_path: Path,
    run_script: Run,
) -> None:
    uri = f"pkcs11:token=factory;object={label};type=private"
    out = tmp_path / "out"
    words = ("bundle", "-B", sample_project(chip) / "build", "--signing-key", uri, "-o", out)
    done = run_script(*words, environment=hsm.environment)
    assert done.returncode == 0, done.stderr
    public = tmp_path / "public.pem"
    shown = subprocess.run(
        [sys.executable, "-c", SHOW_PUBLIC_KEY, uri], env=hsm.environment, capture_output=True, check=True
    )
    key = load_der_public_key(bytes.fromhex(shown.stdout.decode()))
    assert isinstance(key, EllipticCurvePublicKey) is (label == "boot-ec")
    public.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    images = decrypted(out, tmp_path)
    assert set(images) == {"bootloader", "sample"}
    for image in images.values():
        assert espsecure_accepts(image, public)


@pytest.mark.parametrize(
    ("code", "exit_code", "uri", "environment"),
    [
        ("SE650", 3, "pkcs11:token=factory;object=boot-rsa", {"SECURE_PROVISION_PIN": PIN + "x"}),
        ("SE649", 3, "pkcs11:token=factory;object=boot-rsa", {"SECURE_PROVISION_PIN": ""}),
        ("SE648", 3, "pkcs11:token=twin;object=boot-rsa", {}),
        ("SE647", 3, "pkcs11:token=unplugged;object=boot-rsa", {}),
        pytest.param("SE647", 3, "pkcs11:token=factory;serial=0000;object=boot-rsa", {}, marks=pytest.mark.long),
        ("SE652", 3, "pkcs11:token=factory;object=boot", {}),
        pytest.param("SE652", 3, "pkcs11:token=factory;object=boot-rsa;id=%02", {}, marks=pytest.mark.long),
        ("SE653", 3, "pkcs11:token=factory;object=same", {}),
        ("SE607", 3, "pkcs11:token=factory;object=short", {}),
        ("SE710", 2, "pkcs11:token=factory;id=%02", {}),
        ("SE645", 2, "pkcs11:token=factory;object=boot-rsa", {"SECURE_PROVISION_PKCS11_MODULE": ""}),
        ("SE646", 4, "pkcs11:token=factory;object=boot-rsa?module-path=/nowhere/module.so", {}),
        pytest.param(
            "SE646", 4, "pkcs11:token=factory;object=boot-rsa?module-path=/etc/passwd", {}, marks=pytest.mark.long
        ),
        pytest.param("SE642", 2, "pkcs11:token=factory", {}, marks=pytest.mark.long),
        ("SE643", 2, "pkcs11:token=factory;object=boot-rsa?pin-value=1234", {}),
    ],
)
def test_refusals(
    hsm: SoftHsm,
    *,
    code: str,
    exit_code: int,
    uri: str,
    environment: dict[str, str],
    sample_project: Callable[[str], Path],
    tmp_path: Path,
    run_script: Run,
) -> None:
    words = ("bundle", "-B", sample_project("esp32c3") / "build", "--signing-key", uri, "-o", tmp_path / "out")
    done = run_script(*words, environment=hsm.environment | environment)
    assert f"error {code}: " in done.stderr
    assert "Traceback" not in done.stderr and "1234" not in done.stderr
    assert done.returncode == exit_code
    assert list(tmp_path.iterdir()) == []


def test_key_that_may_not_sign(
    hsm: SoftHsm, sample_project: Callable[[str], Path], tmp_path: Path, run_script: Run
) -> None:
    uri = "pkcs11:token=factory;object=sealed"
    words = ("bundle", "-B", sample_project("esp32c61") / "build", "--signing-key", uri, "-o", tmp_path / "out")
    done = run_script(*words, environment=hsm.environment)
    assert "error SE655: " in done.stderr and done.returncode == 4, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_token_that_is_removed_between_two_signatures(tmp_path: Path) -> None:
    hsm = SoftHsm.start(tmp_path / "soft")
    hsm.make_keys(hsm.add_token("lost"), "secp256r1:boot:1")
    words = [sys.executable, "-c", LOSE_THE_TOKEN, str(tmp_path / "soft" / "tokens")]
    done = subprocess.run(words, env=hsm.environment, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() in {"SE647", "SE652", "SE654", "SE656"}, done.stdout


@pytest.mark.parametrize(
    ("name", "code", "exit_code"),
    [
        ("PinIncorrect", "SE650", 3),
        ("PinLocked", "SE651", 3),
        ("PinExpired", "SE651", 3),
        ("DeviceRemoved", "SE654", 4),
        ("TokenNotPresent", "SE654", 4),
        ("MechanismInvalid", "SE655", 4),
        ("KeyTypeInconsistent", "SE655", 4),
        ("GeneralError", "SE656", 4),
        ("HostMemory", "SE656", 4),
    ],
)
def test_every_answer_of_a_token_has_a_code(name: str, code: str, exit_code: int) -> None:
    exceptions = pytest.importorskip("pkcs11.exceptions")
    with pytest.raises(SecureProvisionError) as caught, coded_token_errors("pkcs11:object=boot"):
        raise getattr(exceptions, name)
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert caught.value.cure and caught.value.place == "pkcs11:object=boot"


def test_without_python_pkcs11_the_extra_is_named(
    run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    result = run_cli("keys", "digest", "pkcs11:token=factory;object=boot-rsa")
    assert "SE644" in result.stderr and "idf-secure-provision[hsm]" in result.stderr
    assert result.exit_code == 4


def test_digest_of_a_key_in_a_token_needs_no_pin(hsm: SoftHsm, run_script: Run) -> None:
    environment = hsm.environment | {"SECURE_PROVISION_PIN": ""}
    done = run_script("keys", "digest", "pkcs11:token=factory;object=boot-ec", environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ecdsa256 ")


def test_plan_and_doctor_open_no_token(sample_project: Callable[[str], Path], run_cli: Callable[..., Result]) -> None:
    """There is neither a module nor such a token."""
    uri = "pkcs11:token=nowhere;object=boot?module-path=/nowhere/module.so"
    for command in ("plan", "doctor"):
        result = run_cli(command, "-B", sample_project("esp32c3") / "build", "--signing-key", uri)
        assert result.exit_code == 0, result.stderr
