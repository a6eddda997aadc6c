# SPDX-License-Identifier: Apache-2.0
"""What whoever has a bundle or an archive can read in it: decided from the files, said, and kept from leaving."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ext.bundle.nvs_image import make_nvs_image
from secure_ext.bundle.read import read_bundle
from secure_ext.bundle.readable import readable_files
from secure_ext.cli.esp_idf.options import idf_options
from secure_ext.cli.main import cli
from secure_ext.documents.manifest import Manifest
from secure_ext.documents.read import MANIFEST
from secure_ext.documents.readable import Holds
from secure_ext.formats.in_the_clear import is_plaintext
from secure_ext.formats.nvs_csv import read_nvs_csv
from secure_ext.formats.nvs_keys import NvsKeys, generate_nvs_keys
from secure_ext.formats.partition_table import TYPE_DATA, Partition
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.per_device.device_bundle import write_device_bundle
from secure_ext.per_device.device_keys import new_keys
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions, partitions_of
from secure_ext.station.plan_document import PlanDocument

PASSWORD = "correct horse battery staple"
CSV = f"key,type,encoding,value\nwifi,namespace,,\npassword,data,string,{PASSWORD}\n"
NVS_OFF = {"NVS_ENCRYPTION": False, "NVS_SEC_KEY_PROTECT_USING_HMAC": False}
OTHERS = (
    Partition("dump", TYPE_DATA, 0x03, 0x330000, 0x10000),
    Partition("assets", TYPE_DATA, 0x82, 0x340000, 0x10000),
    Partition("esp_secure_cert", 0x3F, 0x00, 0x350000, 0x2000),
)


@dataclass(frozen=True)
class Project:
    """A build, and the options with which its bundle is made."""

    build: Path
    options: tuple[object, ...]
    run: Callable[..., Result]

    def bundle(self, *options: object) -> Result:
        return self.run("bundle", "-B", self.build, *self.options, "--format", "json", *options)

    def holds(self, *options: object) -> dict[str, str]:
        """What the manifest of its bundle says, by the name of the image."""
        done = self.bundle(*options)
        assert done.exit_code == 0, done.stderr
        return {Path(row["file"]).stem: row["holds"] for row in json.loads(done.stdout)["manifest"]["readable"]}

    @property
    def folder(self) -> Path:
        return self.build / "secure"

    def profile(self, **sections: Any) -> Project:
        path = self.build.parent / "production.yaml"
        path.write_text(json.dumps({"schema": 1, **sections}), encoding="utf-8")
        return Project(self.build, (*self.options, "--profile", path), self.run)


@pytest.fixture
def project(tmp_path: Path, signing_keys: dict[str, Path], run_cli: Callable[..., Result]) -> Callable[..., Project]:
    def make(**options: Any) -> Project:
        wanted: dict[str, Any] = {"flash_encryption": "release", "secure_boot": True, "app_size": 20_000, **options}
        build = make_sample_build(tmp_path / "project", "esp32c3", options=SampleOptions(**wanted))
        (tmp_path / "project" / "nvs.csv").write_text(CSV, encoding="utf-8")
        return Project(build, ("--signing-key", signing_keys["rsa_0"]), run_cli)

    return make


@pytest.fixture
def plain_nvs(project: Callable[..., Project]) -> Project:
    """A release whose firmware does not encrypt NVS, with values from a CSV."""
    return project(config=NVS_OFF).profile(nvs={"scheme": "off", "images": {"nvs": "nvs.csv"}})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def nvs_image(tmp_path: Path, keys: NvsKeys | None = None) -> bytes:
    path = tmp_path / "values.csv"
    path.write_text(CSV, encoding="utf-8")
    return make_nvs_image(read_nvs_csv(path), 0x6000, keys)


# ---- what it is decided to be


def test_a_release_shows_nothing_but_what_the_chip_does_not_decrypt(project: Callable[..., Project]) -> None:
    nvs = {"images": {"nvs": "nvs.csv"}}
    holds = project(partitions=(*partitions_of(SampleOptions()), *OTHERS[1:2]), data_images={"assets": b"text " * 99})
    found = holds.profile(nvs=nvs).holds()
    assert found.pop("assets") == "data"
    assert found.pop("nvs") == "nvs-ciphertext"
    assert set(found.values()) == {"ciphertext"} and {"bootloader", "sample", "otadata"} <= set(found)


def test_with_keys_per_device_the_firmware_is_in_the_clear(project: Callable[..., Project]) -> None:
    found = project().holds("--flash-encryption-key", "per-device")
    assert (found["bootloader"], found["sample"], found["partition-table"]) == (
        "firmware",
        "firmware",
        "partition-table",
    )
    assert found["otadata"] == "erased"


def test_with_secure_boot_alone_all_is_in_the_clear(project: Callable[..., Project]) -> None:
    found = project(flash_encryption="off").holds()
    assert "ciphertext" not in found.values() and found["sample"] == "firmware"


def images_with_secrets(tmp_path: Path) -> Iterator[tuple[str, str, str, bytes]]:
    """Name, what it holds, the partition, and an image that a project flashes itself."""
    values = nvs_image(tmp_path)
    states = slice(32, 64)
    deleted = values[: states.start] + bytes(32) + values[states.stop :]
    pem = generate_signing_key(SignatureScheme.ECDSA256)
    der = base64.b64decode(b"".join(pem.split(b"-----")[2].split()))
    yield "an NVS image of the build", "nvs-values", "nvs", values
    yield "values that were deleted, whose bytes stay", "nvs-values", "nvs", deleted
    yield "a damaged NVS image", "nvs-values", "nvs", values[7:] + bytes(7)
    yield "NVS in a partition of another kind", "nvs-values", "assets", bytes(0x1000) + values
    yield "a private key in PEM", "private-key", "assets", b"{" + pem + b"}"
    yield "a private key in DER", "private-key", "assets", b"12" + der
    yield "a device's certificate", "private-key", "esp_secure_cert", bytes(range(256)) * 4
    yield "a core dump", "core-dump", "dump", bytes(range(256)) * 4


def test_secrets_of_the_build_leave_only_when_asked(project: Callable[..., Project], tmp_path: Path) -> None:
    rows = (*partitions_of(SampleOptions()), *OTHERS)
    made = project(partitions=rows, config=NVS_OFF).profile(nvs={"scheme": "off"})
    archive = tmp_path / "factory.zip"
    for name, holds, partition, content in images_with_secrets(tmp_path):
        make_sample_build(
            made.build.parent,
            "esp32c3",
            options=SampleOptions(
                "release", True, app_size=20_000, partitions=rows, config=NVS_OFF, data_images={partition: content}
            ),
        )
        refused = made.bundle("--archive", archive)
        assert (refused.exit_code, json.loads(refused.stdout)["error"]["code"]) == (1, "SE960"), name
        assert f"images/{partition}.bin" in refused.output and "--with-plaintext" in refused.output
        assert not archive.exists() and not made.folder.exists(), "nothing is made"
        assert made.holds("--archive", archive, "--with-plaintext")[partition] == holds, name
        assert (mode(archive), mode(made.folder / "images" / f"{partition}.bin")) == (0o600, 0o600)
        archive.unlink()
        shutil.rmtree(made.folder)


def documents(project: Project) -> tuple[Manifest, PlanDocument]:
    bundle = read_bundle(project.folder)
    return bundle.manifest, bundle.plan


def test_values_are_not_hidden_by_a_key_that_lies_beside_them(project: Callable[..., Project], tmp_path: Path) -> None:
    made = project(flash_encryption="off")
    made.holds()
    manifest, plan = documents(made)
    keys = generate_nvs_keys()
    files = {"images/sample.bin": nvs_image(tmp_path, keys), "images/bootloader.bin": keys.image()}
    found = {item.file: item.holds for item in readable_files(manifest, plan, files.get)}
    assert found == {"images/sample.bin": Holds.NVS_VALUES, "images/bootloader.bin": Holds.NVS_KEYS}
    del files["images/bootloader.bin"]
    assert [item.holds for item in readable_files(manifest, plan, files.get)] == [Holds.NVS_CIPHERTEXT]


@pytest.mark.parametrize("content", [b"\xff" * 999, b"words, " * 99, bytes(4096), CSV.encode() * 9])
def test_nobody_believes_that_plaintext_is_encrypted(project: Callable[..., Project], content: bytes) -> None:
    """The manifest and the plan say so of a release's app; its bytes say otherwise."""
    made = project()
    made.holds()
    manifest, plan = documents(made)
    manifest = replace(manifest, images=tuple(replace(image, encrypted=True) for image in manifest.images))
    assert Holds.CIPHERTEXT not in {item.holds for item in readable_files(manifest, plan, lambda _: content)}


@settings(max_examples=50, deadline=None)
@given(content=st.binary(min_size=256, max_size=1024))
def test_random_bytes_are_not_taken_for_plaintext(content: bytes) -> None:
    """As random as ciphertext is: hypothesis shrinks towards zeros, so it is hashed."""
    assert not is_plaintext(hashlib.shake_256(content).digest(len(content)))


# ---- how files with secrets are kept, and what is said of them


def test_plain_nvs_is_its_owners_alone_whatever_the_umask(plain_nvs: Project, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert plain_nvs.holds("--archive", tmp_path / "factory.zip", "--with-plaintext")["nvs"] == "nvs-values"
    finally:
        os.umask(before)
    assert mode(plain_nvs.folder / "images" / "nvs.bin") == 0o600
    assert mode(tmp_path / "factory.zip") == 0o600
    with zipfile.ZipFile(tmp_path / "factory.zip") as opened:
        modes = {member.filename: stat.S_IMODE(member.external_attr >> 16) for member in opened.infolist()}
    assert modes["images/nvs.bin"] == 0o600 and modes["images/sample.bin"] == 0o644


def test_verify_asks_before_it_packs_and_says_what_can_be_read(
    plain_nvs: Project, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    plain_nvs.holds()
    archive, profile = tmp_path / "factory.zip", plain_nvs.build.parent / "production.yaml"
    line = ("verify", plain_nvs.folder, "-B", plain_nvs.build, "--profile", profile)
    refused = run_cli(*line, "--archive", archive)
    assert refused.exit_code == 1 and "SE960" in refused.stderr and not archive.exists()
    done = run_cli(*line, "--archive", archive, "--with-plaintext")
    assert done.exit_code == 0, done.output
    assert "VALUES OF NVS in the clear, such as passwords (nvs)" in done.stdout
    assert run_cli("verify", archive).exit_code == 0
    (plain_nvs.folder / "images" / "nvs.bin").chmod(0o640)
    done = run_cli(*line)
    assert done.exit_code == 1 and "key-permissions" in done.stdout and "images/nvs.bin" in done.stdout


def test_the_closing_lines_say_what_can_be_read(project: Callable[..., Project], tmp_path: Path) -> None:
    made = project()
    line = ("bundle", "-B", made.build, *made.options, "--archive", tmp_path / "factory.zip")
    shown = made.run(*line).stdout
    assert shown.count("no firmware, no data and no values. Not readable without the keys: ciphertext of flash") == 2
    assert shown.splitlines()[-1].startswith("Readable by whoever has the archive: ")
    shown = made.run(*line, "--flash-encryption-key", "per-device", "--replace").stdout
    assert shown.splitlines()[-1].startswith("Readable by whoever has the archive: FIRMWARE in the clear (")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Whoever has the keys, too, can read everything."),
        (("--flash-encryption-key", "per-device"), "The software is encrypted only on the station"),
        (("--flash-encryption", "development", "--accept", "SP021"), "Flash encryption is in development mode"),
    ],
)
def test_the_report_says_what_can_be_read(project: Callable[..., Project], options: tuple[str, ...], said: str) -> None:
    mode = "development" if "development" in options else "release"
    made = project(flash_encryption=mode)
    made.holds(*options)
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    assert "Who can read what" in page and said in page


def test_a_manifest_that_says_otherwise_or_nothing_fails(
    project: Callable[..., Project], run_cli: Callable[..., Result]
) -> None:
    made = project()
    made.holds("--flash-encryption-key", "per-device")
    path = made.folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    closed = [{**row, "holds": "ciphertext"} for row in manifest["readable"]]
    without = {name: value for name, value in manifest.items() if name != "readable"}
    for changed in ({**manifest, "readable": closed}, {**manifest, "readable": closed[1:]}, without):
        path.write_text(json.dumps(changed, indent=2) + "\n", encoding="utf-8")
        done = run_cli("verify", made.folder, "--format", "json")
        failed = {check["name"] for check in json.loads(done.stdout)["checks"] if check["outcome"] == "failed"}
        assert done.exit_code == 1 and failed >= {"readable-contents"}
        assert {"file": "images/sample.bin", "holds": "firmware"} in json.loads(done.stdout)["readable"]


def test_a_value_is_in_its_image_and_nowhere_else(plain_nvs: Project, run_cli: Callable[..., Result]) -> None:
    """Not in manifest, plan, report, scripts, rehearsal and SARIF, nor in anything that is shown."""
    made = plain_nvs.bundle()
    rehearsed = run_cli("rehearse", plain_nvs.folder)
    assert (made.exit_code, rehearsed.exit_code) == (0, 0), rehearsed.output
    sarif = run_cli("doctor", "-B", plain_nvs.build, *plain_nvs.options, "--format", "sarif")
    shown = made.output + rehearsed.output + sarif.output + run_cli("verify", plain_nvs.folder, "--all").output
    assert PASSWORD not in shown
    files = [path for path in plain_nvs.folder.rglob("*") if path.is_file()]
    holding = [path.name for path in files if PASSWORD.encode() in path.read_bytes()]
    assert holding == ["nvs.bin"] and {"rehearsal.json", "report.html"} <= {path.name for path in files}


def test_the_record_of_a_board_keeps_plain_nvs_for_its_owner(plain_nvs: Project, tmp_path: Path) -> None:
    assert plain_nvs.holds("--flash-encryption-key", "per-device")["sample"] == "firmware"
    template = read_bundle(plain_nvs.folder)
    keys = new_keys([key for key in template.plan.keys if key.role == "flash_encryption_key"])
    board = write_device_bundle(template, keys, tmp_path / "board", tmp_path / "keys")
    assert mode(board.folder / "images" / "nvs.bin") == 0o600
    holds = {Path(row.file).stem: row.holds for row in board.manifest.readable or ()}
    assert (holds["nvs"], holds["sample"]) == ("nvs-values", "ciphertext")


@pytest.mark.parametrize("name", ["bundle", "verify"])
def test_idf_py_has_the_option_too(name: str) -> None:
    assert ["with_plaintext", "--with-plaintext"] in [option["names"] for option in idf_options(cli.commands[name])]
