# SPDX-License-Identifier: Apache-2.0
"""A sealed copy opens with the offline private key alone, and only as it was written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from board_runs import Station, keys_on, template
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519

from secure_ext.errors import SecureProvisionError
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.sealing import generate_sealing_pair, load_sealing_key, seal, unseal

KEYS = {"flash_encryption_key": bytes(range(64)), "nvs_hmac_key": bytes(range(100, 132))}
LABEL = {"chip": "esp32s3", "mac": "0200000000aa", "keys": [{"role": "nvs_hmac_key", "fingerprint": "0" * 32}]}
KINDS = ("x25519", "rsa")


def private_pem(key: object, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    assert isinstance(key, (rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, x25519.X25519PrivateKey))
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def public_pem(key: object) -> bytes:
    assert isinstance(key, (rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Private and public key file of each kind, and of another X25519 pair."""
    folder = tmp_path_factory.mktemp("sealing")
    rsa_key = rsa.generate_private_key(65537, 2048)
    texts = {
        "x25519": generate_sealing_pair(),
        "other": generate_sealing_pair(),
        "rsa": (private_pem(rsa_key), public_pem(rsa_key)),
    }
    made = {}
    for name, (private, public) in texts.items():
        made[name] = (folder / f"{name}.pem", folder / f"{name}.pub.pem")
        write_secret_file(made[name][0], private)
        made[name][1].write_bytes(public)
    return made


def sealed(folder: Path, public: Path) -> Path:
    path = folder / "board.sealed"
    path.write_text(seal(KEYS, LABEL, load_sealing_key(public)), encoding="utf-8")
    return path


def code_of(function: Callable[..., object], *arguments: object) -> tuple[str, int]:
    with pytest.raises(SecureProvisionError) as raised:
        function(*arguments)
    for key in KEYS.values():
        assert key.hex() not in str(raised.value) + raised.value.cure
    return raised.value.code, raised.value.exit_code


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sealed_is_what_comes_out(kind: str, pairs: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    private, public = pairs[kind]
    path = sealed(tmp_path, public)
    opened = unseal(path, private)
    assert opened.keys == KEYS
    assert opened.label == LABEL
    for key in KEYS.values():
        assert key.hex() not in path.read_text() + repr(opened)


def test_two_copies_have_nothing_in_common(pairs: dict[str, tuple[Path, Path]]) -> None:
    """Not the ephemeral key, not the nonce, not the ciphertext."""
    first, second = (json.loads(seal(KEYS, LABEL, load_sealing_key(pairs["x25519"][1]))) for _ in range(2))
    for name in ("encapsulated", "nonce", "ciphertext"):
        assert first[name] != second[name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["chip", "mac", "keys", "algorithm", "encapsulated", "nonce", "ciphertext"])
def test_a_changed_file_does_not_open(
    name: str, kind: str, pairs: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    """Neither the secret part nor what the file says of board and keys can be changed."""
    path = sealed(tmp_path, pairs[kind][1])
    document = json.loads(path.read_text())
    other = json.loads(
        seal(KEYS, {**LABEL, "chip": "esp32c3", "mac": "0200000000ab", "keys": []}, load_sealing_key(pairs[kind][1]))
    )
    other["algorithm"] = "RSA-OAEP-SHA256-AES-256-GCM" if kind == "x25519" else "X25519-HKDF-SHA256-AES-256-GCM"
    document[name] = other[name]
    path.write_text(json.dumps(document))
    assert code_of(unseal, path, pairs[kind][0]) == ("SE685", 1)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"schema": 1, "algorithm": 7}', "\0"])
def test_what_is_no_sealed_file(content: str, pairs: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    assert code_of(unseal, path, pairs["x25519"][0]) == ("SE683", 3)
    assert code_of(unseal, tmp_path / "nowhere", pairs["x25519"][0]) == ("SE683", 3)


def test_another_private_key_is_told_by_name(pairs: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    path = sealed(tmp_path, pairs["x25519"][1])
    for name in ("other", "rsa"):
        assert code_of(unseal, path, pairs[name][0]) == ("SE684", 3)


def test_keys_that_cannot_seal_or_open(pairs: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    private, public = pairs["x25519"]
    path = sealed(tmp_path, public)
    edwards, small = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 1024)  # noqa: S505
    locked = tmp_path / "locked.pem"
    locked.write_bytes(private_pem(rsa.generate_private_key(65537, 2048), b"word"))
    for name, text in (("ed", private_pem(edwards)), ("ed.pub", public_pem(edwards)), ("small.pub", public_pem(small))):
        (tmp_path / name).write_bytes(text)
    assert code_of(load_sealing_key, private) == ("SE681", 3)
    assert code_of(load_sealing_key, tmp_path / "ed.pub") == ("SE682", 3)
    assert code_of(load_sealing_key, tmp_path / "small.pub") == ("SE682", 3)
    assert code_of(load_sealing_key, path) == ("SE602", 3)
    assert code_of(unseal, path, public) == ("SE604", 3)
    assert code_of(unseal, path, tmp_path / "ed") == ("SE682", 3)
    assert code_of(unseal, path, locked) == ("SE603", 3)


def test_the_offline_key_may_have_a_passphrase(
    pairs: dict[str, tuple[Path, Path]], tmp_path: Path, run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = pairs["x25519"]
    path, locked = sealed(tmp_path, public), tmp_path / "locked.pem"
    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    locked.write_bytes(private_pem(key, b"word"))
    for passphrase, code, exit_code in (("", "SE603", 3), ("another", "SE640", 3), ("word", "", 0)):
        monkeypatch.setenv("SECURE_PROVISION_PASSPHRASE", passphrase)
        done = run_cli("keys", "unseal", path, "--key", locked, "-o", tmp_path / "out")
        assert (done.exit_code, code in done.output, "another" in done.output) == (exit_code, True, False)
    assert {file.stem for file in (tmp_path / "out").iterdir()} > set(KEYS)


def test_the_commands(tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    """A pair is made, and what is unsealed goes into files for the owner alone; nothing is overwritten."""
    private, public, out = tmp_path / "private.pem", tmp_path / "public.pem", tmp_path / "out"
    assert run_cli("keys", "sealing-pair", private, public).exit_code == 0
    assert private.stat().st_mode & 0o077 == 0
    path = sealed(tmp_path, public)
    done = run_cli("keys", "unseal", path, "--key", private, "-o", out)
    assert done.exit_code == 0, done.output
    whole = KEYS["flash_encryption_key"]
    halves = {"flash_encryption_key_half_1": whole[:32], "flash_encryption_key_half_2": whole[32:]}
    assert {file.stem: file.read_bytes() for file in out.iterdir()} == {**KEYS, **halves}, "what the script asks for"
    assert all(file.stat().st_mode & 0o077 == 0 for file in (out, *out.iterdir()))
    assert not any(key.hex() in done.output for key in KEYS.values())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)  # noqa: S607
    warned = run_cli("keys", "unseal", path, "--key", private, "-o", tmp_path / "again").stderr
    assert all(f"{name}.bin lies in a git repository" in warned for name in (*KEYS, *halves))
    again = run_cli("keys", "unseal", path, "--key", private, "-o", out)
    assert (again.exit_code, "SE630" in again.stderr) == (3, True)


@pytest.mark.long
@pytest.mark.parametrize("chip", ["esp32c2", "esp32s3"])
def test_the_sealed_copy_of_a_board_is_what_the_chip_holds(
    chip: str, tmp_path: Path, signing_key_for: Callable[[str], Path], run_cli: Callable[..., Result]
) -> None:
    """It is there when the board is done, and a run that burned nothing leaves none behind."""
    values = {"per_device.keep": "sealed", "per_device.seal_to": "public.pem"}
    bundle = template(tmp_path / "made", chip, signing_key_for(chip), **values)
    station = Station(bundle, tmp_path)
    folder = tmp_path / "archive"
    with station.board("0200000000c1", "connection:3") as board:
        assert station.flash(board, "--sealed", str(folder)).returncode == 4
        assert list(folder.iterdir()) == []
        done = station.flash(board, "--sealed", str(folder))
        assert done.returncode == 0, done.stdout
        burned = keys_on(board, bundle)
    path = folder / "0200000000c1.sealed"
    opened = run_cli("keys", "unseal", path, "--key", tmp_path / "made" / "private.pem", "-o", tmp_path / "out")
    assert opened.exit_code == 0, opened.output
    document = json.loads(path.read_text())
    assert (document["chip"], document["mac"]) == (chip, "0200000000c1")
    assert {key["role"] for key in document["keys"]} == set(burned)
    halves = [burned.pop(f"flash_encryption_key_half_{number}", b"") for number in (1, 2)]
    expected = {**burned, **({"flash_encryption_key": b"".join(halves)} if any(halves) else {})}
    parts = {f"flash_encryption_key_half_{number}": half for number, half in enumerate(halves, 1) if half}
    assert {file.stem: file.read_bytes() for file in (tmp_path / "out").iterdir()} == {**expected, **parts}


@pytest.mark.long
def test_without_a_place_for_the_copy_nothing_is_burned(tmp_path: Path, signing_keys: dict[str, Path]) -> None:
    values = {"per_device.keep": "sealed", "per_device.seal_to": "public.pem"}
    station = Station(template(tmp_path / "made", "esp32c3", signing_keys["rsa_0"], **values), tmp_path)
    (tmp_path / "file").touch()
    with station.board("0200000000c2") as board:
        before = board.efuses
        done = station.flash(board, "--sealed", str(tmp_path / "file"))
        assert (done.returncode, "SE687" in done.stdout) == (3, True), done.stdout
        assert board.efuses == before


@pytest.mark.parametrize("name", ["../../evil", "/evil", "flash_encryption_key\0", "secure_boot_signing_key_0"])
def test_what_a_stranger_has_sealed_is_not_written(
    name: str, pairs: dict[str, tuple[Path, Path]], tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    """Everybody can seal something to a public key, under any name."""
    private, public = pairs["x25519"]
    path = tmp_path / "board.sealed"
    path.write_text(seal({name: bytes(32)}, LABEL, load_sealing_key(public)), encoding="utf-8")
    done = run_cli("keys", "unseal", path, "--key", private, "-o", tmp_path / "in" / "out")
    assert (done.exit_code, "SE685" in done.stderr) == (1, True)
    assert not (tmp_path / "in").exists() and not (tmp_path / "evil.bin").exists()
