# SPDX-License-Identifier: Apache-2.0
"""Another kind of signer is a file and a line in each of two tables: nothing else asks what kind a key is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from secure_ext.keys import uri_signers
from secure_ext.keys.secret_source import NO_SECRETS, SecretSource
from secure_ext.keys.signer import Signer
from secure_ext.keys.signing import load_signing_key
from secure_ext.policy import key_uri
from secure_ext.sign.signers import open_signer


@dataclass(frozen=True)
class SafeUri:
    """A key in a safe: the file that the safe is in this test."""

    path: Path
    library: str | None = None


def test_a_safe_signs(signing_keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(text: str, *, place: str) -> SafeUri:
        return SafeUri(Path(text.removeprefix("safe:")))

    def open_safe(uri: SafeUri, secrets: SecretSource, key_number: int) -> Signer:
        return load_signing_key(uri.path, secrets, key_number)

    monkeypatch.setattr(key_uri, "PARSERS", {**key_uri.PARSERS, "safe:": parse})
    monkeypatch.setattr(uri_signers, "OPENERS", {**uri_signers.OPENERS, SafeUri: open_safe})
    signer = open_signer(f"safe:{signing_keys['rsa_0']}", NO_SECRETS, 1, place="--manifest-key")
    assert signer.verification_key == load_signing_key(signing_keys["rsa_0"], NO_SECRETS, 1).verification_key
