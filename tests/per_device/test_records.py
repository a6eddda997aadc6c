# SPDX-License-Identifier: Apache-2.0
"""The record of a begun board, which anybody at a shared journal may have written: nothing in it runs."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_runs import Station, template

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.errors import InputError
from secure_ext.per_device.board import _record
from secure_ext.per_device.device_bundle import write_device_bundle
from secure_ext.per_device.device_keys import new_keys, own_steps
from secure_ext.per_device.record import as_the_bundle_has_it, write_private_script
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.journal import board_journal

MAC = "0200000000c1"
RELEASED = Path(__file__).parents[1] / "released" / "made_by_0.1.0" / "esp32s3-per-device.zip"
FOREIGN = b"import sys\nprint('FOREIGN CODE RAN')\nsys.exit(0)\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path]) -> FinishedBundle:
    return template(tmp_path_factory.mktemp("esp32c3"), "esp32c3", signing_keys["rsa_0"])


class Record:
    """The record of a board, and a forger who makes it consistent again."""

    def __init__(self, bundle: FinishedBundle, folder: Path) -> None:
        self.bundle, self.folder = bundle, folder / "journal" / "boards" / MAC
        keys = new_keys(own_steps(bundle.plan, bundle.own_roles))
        self.written = write_device_bundle(bundle, keys, self.folder, folder / "keys")
        self.manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        self.plan: dict[str, Any] = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))

    def step(self, **members: object) -> dict[str, Any]:
        return next(step for step in self.plan["steps"] if members.items() <= step.items())

    def write_image(self, name: str, content: bytes) -> None:
        (image,) = (image for image in self.manifest["images"] if image["name"] == name)
        (entry,) = (entry for entry in self.plan["images"] if entry["file"] == image["file"])
        for each in (image, entry):
            each |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (self.folder / image["file"]).write_bytes(content)

    def seal(self) -> None:
        """Makes all hashes right."""
        (self.folder / "plan.json").write_text(json.dumps(self.plan), encoding="utf-8")
        for name in self.manifest["files"]:
            if (self.folder / name).is_file():
                self.manifest["files"][name] = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
        (self.folder / "manifest.json").write_text(json.dumps(self.manifest), encoding="utf-8")

    def read(self) -> FinishedBundle:
        self.seal()
        found = _record(self.folder)
        assert found is not None
        return as_the_bundle_has_it(found, self.bundle)


@pytest.fixture
def record(made: FinishedBundle, tmp_path: Path) -> Record:
    return Record(made, tmp_path)


def test_an_honest_record_gives_the_plan_that_was_made(record: Record) -> None:
    found = record.read()
    assert (found.plan, found.manifest.images) == (record.written.plan, record.written.manifest.images)


def less_is_burned(record: Record) -> None:
    """Secure boot is left out: to the chip a sound plan."""
    gone = [step for step in record.plan["steps"] if "JTAG" in json.dumps(step) and step["kind"] == "burn_field"]
    assert gone
    record.plan["steps"] = [step for step in record.plan["steps"] if step not in gone]
    names = {step["field"] for step in gone}
    record.plan["layout"] = [row for row in record.plan["layout"] if row["field"] not in names]


def another_digest(record: Record) -> None:
    digest = bytes(range(100, 132))
    (record.folder / "digests" / "secure_boot_digest_0.bin").write_bytes(digest)
    for item in (record.step(role="secure_boot_digest_0"), *record.manifest["keys"]):
        if item["role"] == "secure_boot_digest_0":
            item["fingerprint"] = fingerprint(digest)


def a_way_out(record: Record) -> None:
    record.plan["images"][0]["file"] = "../../../../outside.bin"


def a_way_out_for_a_key(record: Record) -> None:
    record.step(role="flash_encryption_key")["file"] = "keys/../../outside.bin"


def another_offset(record: Record) -> None:
    record.plan["images"][-1]["offset"] += 0x10000
    record.manifest["images"][-1]["offset"] += 0x10000


def an_image_less(record: Record) -> None:
    name = record.manifest["images"].pop()["file"]
    record.plan["images"].pop()
    del record.manifest["files"][name]
    (record.folder / name).unlink()


def another_project(record: Record) -> None:
    record.manifest["project"] = "other"


def left_in_plaintext(record: Record) -> None:
    record.manifest["images"][0] |= {"encrypted": False}


def of_other_images_than_it_says(record: Record) -> None:
    record.plan["images"][0]["sha256"] = "0" * 64


@pytest.mark.parametrize(
    "forge",
    [
        *(less_is_burned, another_digest, a_way_out, a_way_out_for_a_key, another_offset, an_image_less),
        *(another_project, left_in_plaintext, of_other_images_than_it_says),
    ],
)
def test_a_consistent_forgery_is_refused(forge: Callable[[Record], None], record: Record) -> None:
    forge(record)
    with pytest.raises(InputError) as refused:
        record.read()
    assert refused.value.code in ("SE940", "SE688")


def test_an_image_that_all_boards_have_in_common_is_the_bundles(made: FinishedBundle, tmp_path: Path) -> None:
    *images, last = made.manifest.images
    manifest = replace(made.manifest, images=(*images, replace(last, encrypt_per_device=False)))
    record = Record(FinishedBundle(made.folder, manifest, made.plan), tmp_path)
    record.write_image(record.manifest["images"][-1]["name"], bytes(4096))
    with pytest.raises(InputError, match="all boards have in common"):
        record.read()


def test_requirements_that_were_taken_out_are_those_of_the_bundle(record: Record) -> None:
    """A record of 0.1.0 has none."""
    assert record.plan["requirements"]
    del record.plan["requirements"]
    read_for_them = (
        "DISABLE_WAFER_VERSION_MAJOR",
        "BLK_VERSION_MAJOR",
        "BLK_VERSION_MINOR",
        "DISABLE_BLK_VERSION_MAJOR",
    )
    record.plan["layout"] = [row for row in record.plan["layout"] if row["field"] not in read_for_them]
    assert record.read().plan == record.written.plan


def test_words_of_another_version_do_no_harm(record: Record) -> None:
    for step in record.plan["steps"]:
        step |= {"title": "another", "why": "words", "source": "than these"}
    assert record.read().plan == record.written.plan


@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_what_is_no_folder_is_no_record(kind: str, record: Record) -> None:
    elsewhere = record.folder.with_name("elsewhere")
    record.folder.rename(elsewhere)
    record.folder.write_text("", encoding="utf-8") if kind == "a file" else record.folder.symlink_to(elsewhere)
    with pytest.raises(InputError, match="damaged"):
        _record(record.folder)


def test_the_script_that_is_run_is_rendered_here(record: Record, tmp_path: Path) -> None:
    (record.folder / "provision.py").write_bytes(FOREIGN)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    script = write_private_script(private, record.read())
    text = script.read_text(encoding="utf-8")
    assert FOREIGN.decode() not in text and repr(str(record.folder.absolute())) in text


def test_a_record_of_the_first_release(tmp_path: Path) -> None:
    """Its script is another version's, its plan has no requirements: the board is finished all the same."""
    with zipfile.ZipFile(RELEASED) as archive:
        archive.extractall(tmp_path)
    record = Record(read_bundle(tmp_path / "bundle"), tmp_path)
    (record.folder / "provision.py").write_text("# rendered by 0.1.0\n", encoding="utf-8")
    assert record.read().plan == record.written.plan


def begun_board(station: Station, forge: Callable[[Path], None], *, code: int) -> str:
    """Burns a board, lets somebody forge its record, and runs the command again."""
    with station.board(MAC) as board:
        first = station.flash(board, "--until", "burn")
        assert first.returncode == 0, first.stdout
        forge(station.record(MAC))
        before = board.efuses
        again = station.flash(board, "--until", "burn")
        assert again.returncode == code, again.stdout
        assert board.efuses == before
    return again.stdout


def with_foreign_script(folder: Path) -> None:
    (folder / "provision.py").write_bytes(FOREIGN)
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest["files"]["provision.py"] = hashlib.sha256(FOREIGN).hexdigest()
    file.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_foreign_script_in_a_record_does_not_run(made: FinishedBundle, tmp_path: Path) -> None:
    said = begun_board(Station(made, tmp_path), with_foreign_script, code=0)
    assert "FOREIGN CODE RAN" not in said and "Nothing to do: this board is as the plan wants it" in said


def test_the_record_of_another_board_is_not_what_the_journal_knows(record: Record, tmp_path: Path) -> None:
    """Its keys are others: nobody takes the hidden ones on the board for them."""
    journal = record.folder.parent.parent / f"{MAC}.json"
    board_journal(record.read().plan, journal).note_burning()
    other = Record(record.bundle, tmp_path / "other")
    assert board_journal(record.read().plan, journal).burning_begun
    assert not board_journal(other.read().plan, journal).burning_begun
