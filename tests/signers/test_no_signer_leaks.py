# SPDX-License-Identifier: Apache-2.0
"""No passphrase, PIN or private key outside: not in command lines, environments of children, messages, tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from signer_world import WORDS, lock, shared_hsm  # noqa: F401 (a fixture)
from soft_hsm import PIN, SoftHsm

from secure_ext.cli.secret_prompt import PromptedSecrets
from secure_ext.keys.secret_source import SecretKind, SecretWanted
from secure_ext.keys.signing import load_signing_key
from secure_ext.keys.token_signer import TokenSigner
from secure_ext.policy.pkcs11_uri import Pkcs11Uri

pytestmark = pytest.mark.cold

RECORDER = """
import os, sys
with open(os.path.join(os.environ["RECORD_TO"], str(os.getpid())), "w") as file:
    file.write(repr(sys.orig_argv) + chr(10) + repr(dict(os.environ)))
"""

CRASH = """
import sys
from secure_ext.keys.signing import VerificationKey
from secure_ext.keys.token_signer import TokenSigner
real = VerificationKey.is_valid_signature
def crash(self, signature, digest):
    if sys._getframe(1).f_code is TokenSigner.sign.__code__:
        raise ZeroDivisionError("in the middle of signing")
    return real(self, signature, digest)
VerificationKey.is_valid_signature = crash
from secure_ext.cli.main import main
main(sys.argv[1:])
"""
"""The token has signed, and both secrets are known."""


def private_lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="ascii").splitlines() if not line.startswith("-----")]


def test_no_child_gets_a_secret(
    sample_project: Callable[[str], Path], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    """Every Python process records its command line and its environment: the script and esptool among them."""
    record = tmp_path / "record"
    record.mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    locked = lock(signing_keys["rsa_0"], tmp_path / "locked.pem")
    environment = os.environ | {
        "RECORD_TO": str(record),
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]),
        "SECURE_PROVISION_PASSPHRASE": WORDS,
        "SECURE_PROVISION_PIN_2": PIN,
    }
    bundle = ["bundle", "-B", str(sample_project("esp32") / "build"), "--signing-key", str(locked)]
    out = str(tmp_path / "out")
    started = []
    for words in ([*bundle, "-o", out], ["flash", out, "--without-rehearsal", "--port", str(tmp_path / "no-port")]):
        process = subprocess.Popen(
            [sys.executable, "-m", "secure_ext", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        shown = process.communicate()[0]
        started.append(str(process.pid))
        assert WORDS.encode() not in shown and PIN.encode() not in shown
        assert process.returncode == (0 if words[0] == "bundle" else 4), shown.decode()
    records = {path.name: path.read_text(encoding="utf-8") for path in record.iterdir()}
    assert all(WORDS in records[pid].split("\n")[1] for pid in started), "the recorder records"
    children = {pid: text for pid, text in records.items() if pid not in started}
    assert any("provision.py" in text for text in children.values())
    assert any("board_helper" in text.split("\n")[0] for text in children.values())
    for text in (*children.values(), *(records[pid].split("\n")[0] for pid in started)):
        assert WORDS not in text and PIN not in text and "SECURE_PROVISION_P" not in text


def test_a_crash_in_the_middle_of_signing_shows_no_secret(
    hsm: SoftHsm, sample_project: Callable[[str], Path], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    locked = lock(signing_keys["rsa_0"], tmp_path / "locked.pem")
    environment = os.environ | hsm.environment | {"SECURE_PROVISION_PASSPHRASE": WORDS}
    keys = ("--signing-key", str(locked), "--signing-key", "pkcs11:token=factory;object=boot-rsa")
    words = ["bundle", "-B", str(sample_project("esp32c3") / "build"), *keys, "-o", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", CRASH, *words],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "ZeroDivisionError: in the middle of signing" in done.stderr and "token_signer" in done.stderr
    for secret in (WORDS, PIN, *private_lines(signing_keys["rsa_0"]), *private_lines(locked)):
        assert secret not in done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["locked.pem"]


def test_repr_shows_no_secret(signing_keys: dict[str, Path]) -> None:
    secrets = PromptedSecrets({"SECURE_PROVISION_PIN": PIN}, iter([WORDS]))
    assert secrets.secret(SecretWanted(SecretKind.PIN, 1, "token")) == WORDS
    key = load_signing_key(signing_keys["rsa_0"])
    signer = TokenSigner(Pkcs11Uri(key_label="boot"), 1, key.verification_key, secrets)
    for shown in (repr(secrets), repr(signer), str(signer)):
        assert PIN not in shown and WORDS not in shown
