# SPDX-License-Identifier: Apache-2.0
"""The archive for the factory: reproducible, without secrets, verified like the folder, never in place of something."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from verify_bundles import Made, encrypted_bundle, readable_bundle  # noqa: F401 (fixtures)

from secure_ext.bundle.archive import write_archive
from secure_ext.checks import Check, Outcome, has_failures
from secure_ext.errors import InputError
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand, verify_bundle


@pytest.fixture
def archive(encrypted: Made, tmp_path: Path) -> Path:
    write_archive(encrypted.folder, tmp_path / "factory.zip")
    return tmp_path / "factory.zip"


def failed_names(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if check.outcome is Outcome.FAILED}


def test_two_archives_are_the_same_bytes(encrypted: Made, archive: Path, tmp_path: Path) -> None:
    """Also of a copy whose files have other dates and modes, in another time zone."""
    copy = encrypted.copy(tmp_path / "copy")
    for path in copy.folder.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700)
    program = "import sys; from pathlib import Path; from secure_ext.bundle.archive import write_archive; "
    program += "write_archive(Path(sys.argv[1]), Path(sys.argv[2]))"
    environment = os.environ | {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program, copy.folder, tmp_path / "b.zip"], env=environment, check=True)
    assert (tmp_path / "b.zip").read_bytes() == archive.read_bytes()


def test_the_same_signed_build_gives_the_same_archive(
    readable: Made, tmp_path: Path, run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures are random; with images that carry theirs already, all of it is made again from the build."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    build = tmp_path / "project" / "build"
    shutil.copytree(readable.build.parent, build.parent)
    for image, source in (("bootloader", "bootloader/bootloader.bin"), ("sample", "sample.bin")):
        shutil.copy(readable.folder / "images" / f"{image}.bin", build / source)
    keys = [word for name in ("rsa_0", "rsa_1") for word in ("--signing-key", readable.keys[name])]
    for name in ("a", "b"):
        done = run_cli("bundle", "-B", build, "-o", tmp_path / name, "--archive", tmp_path / f"{name}.zip", *keys)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_it_holds_all_but_the_secrets(encrypted: Made, archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert set(opened.namelist()) == {"manifest.json", *encrypted.load()["files"]}
        content = archive.read_bytes()
    for path in (encrypted.folder / "keys").rglob("*.bin"):
        secret = path.read_bytes()
        assert not any(form in content for form in (secret, secret[::-1], secret.hex().encode()))


def test_it_is_verified_like_the_folder(encrypted: Made, archive: Path) -> None:
    """Without the key some cannot be seen; with it all but the key files themselves is seen."""
    checks = verify_bundle(archive, encrypted.at_hand())
    assert not has_failures(checks)
    assert {check.outcome for check in checks if check.name == "image-decrypts"} == {Outcome.NOT_VERIFIABLE}
    key = encrypted.folder / "keys" / "flash_encryption_key.bin"
    again = verify_bundle(archive, encrypted.at_hand(flash_encryption_key=key))
    unseen = {check.name for check in again if check.outcome is not Outcome.PASSED}
    assert unseen == {"key-folder", "signed-statement", "statement-signature"}


def test_the_script_in_it_says_that_the_keys_are_missing(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "unpacked")
    script = [sys.executable, str(tmp_path / "unpacked" / "provision.py"), "--virt", str(tmp_path / "chip"), "--yes"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    assert "SE820" in done.stdout and "archives of a bundle hold no keys" in done.stdout


@pytest.mark.parametrize("name", ["keys/flash_encryption_key.bin", "journal/aa.json"])
def test_a_secret_in_an_archive_is_seen(encrypted: Made, archive: Path, name: str) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(name, b"secret")
    assert failed_names(verify_bundle(archive, encrypted.at_hand())) >= {"archive-secrets", "archive-form"}


def with_a_comment(content: bytes) -> bytes:
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.comment = b"hello"
    return buffer.getvalue()


def with_a_member_twice(content: bytes) -> bytes:
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("commands.sh", opened.read("commands.sh"))
    return buffer.getvalue()


def with_a_script_before(content: bytes) -> bytes:
    return b"#!/bin/sh\n" + content


@pytest.mark.parametrize("hide", [with_a_comment, with_a_member_twice, with_a_script_before])
def test_what_is_hidden_in_an_archive_is_seen(encrypted: Made, archive: Path, hide: Callable[[bytes], bytes]) -> None:
    archive.write_bytes(hide(archive.read_bytes()))
    assert failed_names(verify_bundle(archive, encrypted.at_hand())) == {"archive-form"}


def test_a_changed_or_cut_archive_is_refused(archive: Path, run_cli: Callable[..., Result]) -> None:
    content = archive.read_bytes()
    for wrong in (content[:-30], content[: len(content) // 2], b"", content.replace(b"#!/bin/sh", b"#!/bin/zh")):
        archive.write_bytes(wrong)
        done = run_cli("verify", archive)
        assert (done.exit_code, "SE750" in done.stderr) == (3, True)


def test_verify_writes_it_only_if_nothing_failed(
    encrypted: Made, archive: Path, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    made = encrypted.copy(tmp_path / "copy")
    assert run_cli("verify", made.folder, "-B", made.build, "--archive", tmp_path / "a.zip").exit_code == 0
    assert (tmp_path / "a.zip").read_bytes() == archive.read_bytes()
    assert run_cli("verify", tmp_path / "a.zip", "--archive", tmp_path / "c.zip").exit_code == 0
    assert (tmp_path / "c.zip").read_bytes() == archive.read_bytes()
    (made.folder / "commands.sh").write_text("")
    assert run_cli("verify", made.folder, "--archive", tmp_path / "b.zip").exit_code == 1
    assert not (tmp_path / "b.zip").exists()


def test_only_an_earlier_archive_is_replaced(
    encrypted: Made, archive: Path, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    """And the refusal comes before a bundle is made."""
    photos = tmp_path / "photos.zip"
    with zipfile.ZipFile(photos, "w") as opened:
        opened.writestr("holiday.jpg", b"jpg")
    text = tmp_path / "text.zip"
    text.write_text("text")
    folder = tmp_path / "folder.zip"
    folder.mkdir()
    link = tmp_path / "link.zip"
    link.symlink_to(archive)
    wanted = {photos: "SE752", text: "SE752", folder: "SE752", link: "SE752", tmp_path / "a.tar.gz": "SE751"}
    wanted[tmp_path / "new" / "a.zip"] = "SE751"
    for target, code in wanted.items():
        line = ("bundle", "-B", encrypted.build, "--signing-key", encrypted.keys["rsa_0"], "-o", tmp_path / "new")
        assert code in run_cli(*line, "--archive", target).stderr
    assert photos.read_bytes().endswith(b"\0\0") and text.read_text() == "text"
    assert not (tmp_path / "new").exists()
    assert run_cli("verify", encrypted.folder, "-B", encrypted.build, "--archive", archive).exit_code == 0
    assert not list(tmp_path.glob(".*.partial"))


def test_an_archive_that_cannot_be_written_leaves_nothing(
    encrypted: Made, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    (tmp_path / "file").write_text("")
    done = run_cli("verify", encrypted.folder, "--archive", tmp_path / "file" / "a.zip")
    assert (done.exit_code, "SE702" in done.stderr) == (3, True)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data(), compression=st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)))
def test_any_archive_is_answered(data: st.DataObject, compression: int, archive: Path) -> None:
    """Whatever byte is changed: it cannot be read, or is not the archive that this tool makes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(buffer, "w", compression) as packed:
        for name in ("manifest.json", "plan.json", "commands.sh"):
            packed.writestr(name, whole.read(name))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        from_the_end = data.draw(st.one_of(st.integers(1, 300), st.integers(1, len(content))))
        content[-from_the_end] = data.draw(st.integers(0, 255))
    spoilt = archive.with_name("spoilt.zip")
    spoilt.write_bytes(content)
    try:
        checks = verify_bundle(spoilt, AtHand(BuildAtHand(archive.parent, None)))
    except InputError as error:
        assert error.code == "SE750"
    else:
        assert has_failures(checks)
