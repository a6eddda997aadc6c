# SPDX-License-Identifier: Apache-2.0
"""What the tests of signers share: a SoftHSM with keys, public halves, and espsecure as judge of a bundle's images."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from soft_hsm import SoftHsm

from secure_ext.keys.files import write_secret_file

WORDS = "correct horse ünïcode"
FORMS = {"pkcs8": serialization.PrivateFormat.PKCS8, "traditional": serialization.PrivateFormat.TraditionalOpenSSL}


def lock(key: Path, to: Path, passphrase: str = WORDS, form: str = "pkcs8") -> Path:
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(passphrase.encode())
    write_secret_file(to, private.private_bytes(serialization.Encoding.PEM, FORMS[form], encryption))
    return to


_started: list[SoftHsm] = []


@pytest.fixture(scope="module", name="hsm")
def shared_hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """One for all files: a token "factory" with good and bad keys, and two called "twin"; it must not be changed."""
    if not _started:
        hsm = SoftHsm.start(tmp_path_factory.mktemp("hsm") / "soft")
        wanted = ("3072:boot-rsa:1", "secp256r1:boot-ec:2", "2048:short:3", "secp256r1:same:4", "secp256r1:same:5")
        hsm.make_keys(hsm.add_token("factory"), *wanted, "secp256r1:sealed:6:unable")
        for _ in range(2):
            hsm.add_token("twin")
        _started.append(hsm)
    return _started[0]


@pytest.fixture(scope="module", name="public_keys")
def public_halves(signing_keys: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The public halves of `signing_keys`, by the same names."""
    folder = tmp_path_factory.mktemp("public-keys")
    paths = {}
    for name, path in signing_keys.items():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        paths[name] = folder / f"{name}.pem"
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        paths[name].write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return paths


def decrypted(bundle: Path, folder: Path) -> dict[str, Path]:
    """Decrypts the signed images of a bundle with espsecure, into a folder; returns them by name."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    key = bundle / "keys" / "flash_encryption_key.bin"
    images = {}
    for image in manifest["images"]:
        if image["signed"]:
            images[image["name"]] = folder / f"{image['name']}.plain"
            more = ("--keyfile", key, "--address", image["offset"], "--output", images[image["name"]])
            done = _espsecure("decrypt-flash-data", "--aes-xts", *more, bundle / image["file"])
            assert done.returncode == 0, done.stdout + done.stderr
    return images


def espsecure_accepts(image: Path, public: Path) -> bool:
    """Whether espsecure finds a valid signature by a public key in a plain image."""
    return _espsecure("verify-signature", "--version", "2", "--keyfile", public, image).returncode == 0


def valid_blocks(image: Path) -> list[str]:
    """The public key digests of the signature blocks of a plain image, in order; espsecure calls each one valid."""
    done = _espsecure("signature-info-v2", image)
    assert done.returncode == 0, done.stdout + done.stderr
    digests = [line.split(":", 1)[1].replace(" ", "") for line in done.stdout.splitlines() if "key digest" in line]
    assert done.stdout.count("is valid") == len(digests), done.stdout
    return digests


def _espsecure(*words: object) -> subprocess.CompletedProcess[str]:
    texts = [str(word) for word in words]
    if int(importlib.metadata.version("esptool").split(".")[0]) < 5:
        texts = [text if "/" in text else text[:2] + text[2:].replace("-", "_") for text in texts]
    command = [sys.executable, "-m", "espsecure", *texts]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
