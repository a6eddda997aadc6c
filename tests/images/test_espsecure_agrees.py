# SPDX-License-Identifier: Apache-2.0
"""Secure Boot V2 signatures: espsecure accepts ours, and we accept espsecure's."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from signed_samples import (
    ECDSA,
    IMAGE,
    SIGNATURE_OFFSET,
    Keyrings,
    shared_rings,  # noqa: F401 (fixtures)
)

from secure_ext.errors import InputError
from secure_ext.formats.secure_boot import (
    MAX_BLOCKS,
    SECTOR,
    add_signatures,
    public_key_digest,
    read_signature_blocks,
    sign,
    signed_content,
    verify,
)
from secure_ext.keys.signing import (
    SignatureScheme,
)


def _espsecure(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run espsecure, with the spelling of the installed release: 4.x has underscores where 5.x has hyphens."""
    words = [command, *map(str, arguments)]
    if int(importlib.metadata.version("esptool").split(".")[0]) < 5:
        words = [word if "/" in word else word[:2] + word[2:].replace("-", "_") for word in words]
    return subprocess.run([sys.executable, "-m", "espsecure", *words], capture_output=True, text=True, check=False)


def _espsecure_accepts(image: bytes, key: Path, directory: Path) -> bool:
    path = directory / "to_verify.bin"
    path.write_bytes(image)
    return _espsecure("verify-signature", "--version", "2", "--keyfile", key, path).returncode == 0


def _espsecure_signs(image: bytes, keys: tuple[Path, ...], directory: Path, *options: str) -> bytes:
    source, target = directory / "to_sign.bin", directory / "signed.bin"
    source.write_bytes(image)
    result = _espsecure("sign-data", source, "--version", "2", "--output", target, *options, "--keyfile", *keys)
    assert result.returncode == 0, result.stdout + result.stderr
    return target.read_bytes()


@pytest.fixture(scope="session")
def ecdsa_blocks_judged(rings: Keyrings, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many ECDSA blocks the installed espsecure looks at: 4.8 stops after the first, even in its own images."""
    directory = tmp_path_factory.mktemp("probe")
    ring = rings[SignatureScheme.ECDSA256]
    image = _espsecure_signs(IMAGE, ring.private[:2], directory)
    return MAX_BLOCKS if _espsecure_accepts(image, ring.public[1], directory) else 1


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("scheme", SignatureScheme)
def test_espsecure_accepts_our_signatures(
    tmp_path: Path, rings: Keyrings, ecdsa_blocks_judged: int, scheme: SignatureScheme, count: int
) -> None:
    ring = rings[scheme]
    image = sign(IMAGE, ring.keys[:count], place="app.bin")
    judged = min(count, ecdsa_blocks_judged) if scheme in ECDSA else count
    for path in ring.public[:judged]:
        assert _espsecure_accepts(image, path, tmp_path)
    assert count == 3 or not _espsecure_accepts(image, ring.public[-1], tmp_path)


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_we_accept_what_espsecure_signs_and_appends(tmp_path: Path, rings: Keyrings, scheme: SignatureScheme) -> None:
    ring = rings[scheme]
    image = _espsecure_signs(IMAGE, ring.private[:2], tmp_path)
    verify(image, ring.verifiers[:2], place="app.bin")
    image = _espsecure_signs(image, ring.private[2:], tmp_path, "--append-signatures")
    verify(image, ring.verifiers, place="app.bin")
    assert signed_content(image) == signed_content(sign(IMAGE, ring.keys, place="app.bin"))
    blocks = read_signature_blocks(image, "app.bin")
    assert [block.scheme for block in blocks] == [scheme] * 3
    assert [block.key_digest for block in blocks] == [public_key_digest(key) for key in ring.verifiers]
    assert [block.verification_key(place="app.bin") for block in blocks] == list(ring.verifiers)
    assert all(block.crc_valid for block in blocks)


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_both_tools_write_the_same_bytes_but_for_the_random_signature(
    tmp_path: Path, rings: Keyrings, scheme: SignatureScheme
) -> None:
    ours = sign(IMAGE, rings[scheme].keys[:1], place="app.bin")
    theirs = _espsecure_signs(IMAGE, rings[scheme].private[:1], tmp_path)
    start = len(ours) - SECTOR
    signature = start + SIGNATURE_OFFSET[scheme]
    assert ours[:signature] == theirs[:signature]
    assert ours[start + 1200 :] == theirs[start + 1200 :]
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_each_tool_adds_to_the_signatures_of_the_other(
    tmp_path: Path, rings: Keyrings, ecdsa_blocks_judged: int, scheme: SignatureScheme
) -> None:
    ring = rings[scheme]
    image = _espsecure_signs(IMAGE, ring.private[:1], tmp_path)
    image = add_signatures(image, ring.keys[1:2], place="app.bin")
    image = _espsecure_signs(image, ring.private[2:], tmp_path, "--append-signatures")
    verify(image, ring.verifiers, place="app.bin")
    if scheme not in ECDSA or ecdsa_blocks_judged > 1:
        assert _espsecure_accepts(image, ring.public[1], tmp_path)


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_digest_is_the_one_espsecure_writes(tmp_path: Path, rings: Keyrings, scheme: SignatureScheme) -> None:
    target = tmp_path / "digest.bin"
    result = _espsecure("digest-sbv2-public-key", "--keyfile", rings[scheme].public[0], "--output", target)
    assert result.returncode == 0, result.stdout + result.stderr
    assert public_key_digest(rings[scheme].verifiers[0]) == target.read_bytes()


def test_p192_signature_of_espsecure_is_reported_as_unsupported(tmp_path: Path) -> None:
    key = tmp_path / "p192.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP192R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(InputError) as caught:
        read_signature_blocks(_espsecure_signs(IMAGE, (key,), tmp_path), "app.bin")
    assert caught.value.code == "SE526"
    assert caught.value.place == "app.bin, signature block 1"
