# SPDX-License-Identifier: Apache-2.0
"""A SoftHSM of the test's own: its tokens and its configuration lie in a folder of the test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
PIN = "914-the-pin-627"
SO_PIN = "914-the-so-pin-627"

MAKE_KEYS = """
import sys, pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters
module, serial, pin, *wanted = sys.argv[1:]
token = pkcs11.lib(module).get_token(token_serial=serial.encode())
with token.open(rw=True, user_pin=pin) as session:
    for one in wanted:
        kind, label, number, *unable = one.split(":")
        names = {"id": bytes([int(number)]), "label": label, "store": True}
        if unable:
            names["capabilities"] = pkcs11.MechanismFlag.DERIVE
        if kind.isdigit():
            session.generate_keypair(KeyType.RSA, int(kind), **names)
        else:
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(kind)}
            session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(**names)
"""


def needs_soft_hsm() -> str:
    """The path of SoftHSM's module; skips the test, saying why, where there is none."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    if shutil.which("softhsm2-util") is None:
        pytest.skip("softhsm2-util is not installed")
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None:
        pytest.skip("the module of SoftHSM is not where it usually is")
    return module


@dataclass
class SoftHsm:
    """A SoftHSM with its tokens below `folder`."""

    folder: Path
    module: str
    serials: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, folder: Path) -> SoftHsm:
        hsm = cls(folder, needs_soft_hsm())
        (folder / "tokens").mkdir(parents=True)
        (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n", encoding="utf-8")
        return hsm

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf"),
            "SECURE_PROVISION_PKCS11_MODULE": self.module,
            "SECURE_PROVISION_PIN": PIN,
        }

    def add_token(self, label: str) -> str:
        """Makes a token; returns its serial number."""
        before = self._serials()
        words = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN]
        subprocess.run(words, env=self.environment, check=True, capture_output=True)
        (serial,) = self._serials() - before
        return serial

    def make_keys(self, serial: str, *wanted: str) -> None:
        """Makes key pairs in a token: each ``BITS:LABEL:ID`` or ``CURVE:LABEL:ID``; with ``:unable`` it cannot sign."""
        words = [sys.executable, "-c", MAKE_KEYS, self.module, serial, PIN, *wanted]
        subprocess.run(words, env=self.environment, check=True, capture_output=True)

    def _serials(self) -> set[str]:
        words = ["softhsm2-util", "--show-slots"]
        done = subprocess.run(words, env=self.environment, check=True, capture_output=True, encoding="utf-8")
        lines = (line.split(":", 1) for line in done.stdout.splitlines() if "Serial number:" in line)
        return {value.strip() for _, value in lines if value.strip()}
