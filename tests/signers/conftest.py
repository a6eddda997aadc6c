"""What the tests of signers share: a SoftHSM with keys, public halves, and espsecure as judge of a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from soft_hsm import SoftHsm

Judge = Callable[[Path, Path], dict[str, Path]]


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A token "factory" with good and bad keys, and two that are both called "twin"; it must not be changed."""
    hsm = SoftHsm.start(tmp_path_factory.mktemp("hsm") / "soft")
    serial = hsm.add_token("factory")
    wanted = ("3072:boot-rsa:1", "secp256r1:boot-ec:2", "2048:short:3", "secp256r1:same:4", "secp256r1:same:5")
    hsm.make_keys(serial, *wanted)
    for _ in range(2):
        hsm.add_token("twin")
    return hsm


@pytest.fixture(scope="session")
def public_keys(signing_keys: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The public halves of `signing_keys`, by the same names."""
    folder = tmp_path_factory.mktemp("public-keys")
    paths = {}
    for name, path in signing_keys.items():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        paths[name] = folder / f"{name}.pem"
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        paths[name].write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return paths


def espsecure(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "espsecure", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture(scope="session")
def decrypted() -> Judge:
    """Decrypts the signed images of a bundle with espsecure, into a folder; returns them by name."""

    def decrypt(bundle: Path, folder: Path) -> dict[str, Path]:
        manifest = json.loads((bundle / "manifest.json").read_bytes())
        key = bundle / "keys" / "flash_encryption_key.bin"
        images = {}
        for image in manifest["images"]:
            if image["signed"]:
                images[image["name"]] = folder / f"{image['name']}.plain"
                more = ("--keyfile", key, "--address", image["offset"], "--output", images[image["name"]])
                done = espsecure("decrypt-flash-data", "--aes-xts", *more, bundle / image["file"])
                assert done.returncode == 0, done.stdout + done.stderr
        return images

    return decrypt


@pytest.fixture(scope="session")
def espsecure_accepts() -> Callable[[Path, Path], bool]:
    """Whether espsecure finds a valid signature by a public key in a plain image."""

    def accepts(image: Path, public: Path) -> bool:
        return espsecure("verify-signature", "--version", "2", "--keyfile", public, image).returncode == 0

    return accepts


@pytest.fixture(scope="session")
def valid_blocks() -> Callable[[Path], list[str]]:
    """The public key digests of the valid signature blocks of a plain image, in order, as espsecure tells them."""

    def blocks(image: Path) -> list[str]:
        done = espsecure("signature-info-v2", image)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        digests = [line.split(":", 1)[1].replace(" ", "") for line in lines if "ublic key digest" in line]
        assert done.stdout.count("is valid") >= len(digests), done.stdout
        return digests

    return blocks
