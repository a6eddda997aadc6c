# SPDX-License-Identifier: Apache-2.0
"""The boot check passes what the real script made, and nothing else."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from mutants import SECTOR, SIGNATURE_BLOCK, hashed_length, mutants
from silicon import Silicon, burn_by_hand, key_blocks, provision
from support.matrix_bundles import shared_bundles, signing_keys  # noqa: F401 (a fixture)
from support.matrix_cells import Bundles, Cell

from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.prove.boot_check import flash_cipher
from secure_ext.prove.boot_check.boot_check import boot_check

QUICK = (
    Cell("esp32", "both"),
    Cell("esp32c2", "both"),
    Cell("esp32c3", "boot"),
    Cell("esp32c6", "both", keys=3),
)
"""Both kinds of fixed key blocks, one without flash encryption, one with three keys."""

ESP32, ESP32C2, PLAIN, THREE_KEYS = QUICK

LONG = (
    Cell("esp32s3", "both", key_bits=256),
    Cell("esp32c2", "release"),
    Cell("esp32c5", "both", keys=3, scheme="ecdsa384"),
    Cell("esp32p4", "development"),
)
"""More chips to change: two halves of a key, the whole block of the ESP32-C2, P-384, flash encryption alone."""

PREVIEW = (Cell("esp32h21", "both"), Cell("esp32h4", "release"), Cell("esp32s31", "both"))
"""ESP-IDF's preview targets, which need the newest esptool; BLOCK0 of the ESP32-S31 has 36 bytes."""

WRONG: tuple[object, ...] = (None, -1, 1 << 80, "x", [], {})
"""Values of other kinds than a document has."""

DOCUMENTS = ("manifest.json", "plan.json")

HARMLESS: dict[str, str] = {}
"""Mutants that boot and are as planned, by name, with the reason."""


def long(cells: Iterable[Cell]) -> Iterable[object]:
    """Parameters of the long run."""
    return [pytest.param(cell, marks=pytest.mark.long) for cell in cells]


@pytest.fixture
def chip(request: pytest.FixtureRequest, bundles: Bundles, tmp_path: Path) -> Silicon:
    """The finished chip of a cell, made by hand."""
    return burn_by_hand(bundles(request.param), tmp_path / "by-hand")


@pytest.fixture
def other_key(chip: Silicon, tmp_path: Path) -> Path:
    """A signing key of the chip's scheme that is not its owner's."""
    return signing_keys(chip.made.cell.signature_scheme, tmp_path)[0]


@pytest.fixture
def state(chip: Silicon, tmp_path: Path) -> Path:
    """The state of a chip, to be damaged; its bundle's documents are beside it."""
    (tmp_path / "bundle").mkdir()
    for document in DOCUMENTS:
        shutil.copy(chip.made.folder / document, tmp_path / "bundle")
    return chip.store(tmp_path / "state")


@pytest.fixture
def quick_decryption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembers what was decrypted: most mutants share most of their flash."""

    def remembering(make: Callable[..., flash_cipher.Decrypt]) -> Callable[..., flash_cipher.Decrypt]:
        @functools.cache
        def cipher(*key: object) -> flash_cipher.Decrypt:
            return functools.cache(make(*key))

        return cipher

    monkeypatch.setattr(flash_cipher, "xts", remembering(flash_cipher.xts))
    monkeypatch.setattr(flash_cipher, "esp32", remembering(flash_cipher.esp32))


@pytest.mark.parametrize("cell", [ESP32C2, *long((ESP32, PLAIN, THREE_KEYS, *PREVIEW))], ids=str)
def test_a_provisioned_chip_boots(cell: Cell, bundles: Bundles, tmp_path: Path) -> None:
    """The real script with the real esptool and espefuse, on the virtual chip."""
    chip = provision(bundles(cell), tmp_path / "state")
    report = boot_check(tmp_path / "state", chip.made.folder)
    assert report.boots and not report.faults, report.faults
    log = "\n".join(report.log)
    assert ("flash encryption is on" in log) == cell.has_flash_encryption
    accepted = 2 * cell.keys if cell.has_secure_boot else 0
    assert log.count("accepted") == accepted
    trusted = "1 digest trusted" if cell.keys == 1 else f"{cell.keys} digests trusted"
    assert (f"secure boot is on, {trusted}" in log) == cell.has_secure_boot
    for name in chip.images:
        assert f"flash: {name} at" in log
    by_hand = burn_by_hand(chip.made, tmp_path / "by-hand")
    assert by_hand == chip, "what is proved below with chips made by hand holds for this one too"


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 4], ids=["all", "a quarter"])
@pytest.mark.parametrize("chip", [ESP32C2, *long((ESP32, PLAIN, THREE_KEYS, *LONG))], indirect=True, ids=str)
def test_no_mutant_survives(chip: Silicon, every: int, other_key: Path, tmp_path: Path, quick_decryption: None) -> None:
    """More than 200 chips with one thing wrong: none passes, and each is told what is wrong with it."""
    survivors, misnamed, names = [], [], set()
    for mutant in itertools.islice(mutants(chip, other_key, seed=len(str(chip.made.cell))), 0, None, every):
        names.add(mutant.name)
        report = boot_check(mutant.silicon.store(tmp_path / "state"), chip.made.folder)
        if report.boots:
            survivors.append(mutant.name)
        elif mutant.code and mutant.code not in {fault.code for fault in report.faults}:
            misnamed.append((mutant.name, mutant.code, report.faults))
    assert sorted(survivors) == sorted(HARMLESS.keys() & names)
    assert not misnamed
    assert len(names) > 200 // every


@pytest.mark.parametrize("chip", PREVIEW, indirect=True, ids=str)
def test_a_preview_chip_boots(chip: Silicon, tmp_path: Path) -> None:
    """And a bit behind the first 32 bytes of BLOCK0 is seen, where there is one and where there is none."""
    assert not boot_check(chip.store(tmp_path / "state"), chip.made.folder).faults
    more = chip.with_raw_flip(0, 8 * 32 + 31)
    faults = boot_check(more.store(tmp_path / "state"), chip.made.folder).faults
    assert {fault.code for fault in faults} == {"BC24" if chip.chip == "esp32s31" else "BC02"}


@pytest.mark.parametrize("chip", [THREE_KEYS], indirect=True, ids=str)
def test_signatures_may_stand_in_any_order(chip: Silicon, tmp_path: Path) -> None:
    """The ROM compares each block with each digest, as far as it reads them."""
    turned = chip
    for name, image in chip.images.items():
        if image["signed"]:
            sector = chip.plain(name)[-SECTOR:]
            end = chip.made.cell.keys * SIGNATURE_BLOCK
            blocks = [sector[at : at + SIGNATURE_BLOCK] for at in range(0, end, SIGNATURE_BLOCK)]
            changed = b"".join(blocks[::-1]) + sector[end:]
            turned = turned.with_plain(name, chip.plain(name)[:-SECTOR] + changed)
    assert turned.flash != chip.flash
    assert boot_check(turned.store(tmp_path / "state"), chip.made.folder).boots


@pytest.mark.parametrize("chip", [ESP32], indirect=True, ids=str)
def test_an_esp32_is_content_with_its_second_signature_block(chip: Silicon, other_key: Path, tmp_path: Path) -> None:
    """Its ROM looks at three blocks, though it has room for one digest; the bootloader calls the same verification."""
    turned = chip
    for name in ("bootloader", "sample"):
        plain = chip.plain(name)
        stranger = sign(plain[:-SECTOR], [load_signing_key(other_key)], place=name)[-SECTOR:][:SIGNATURE_BLOCK]
        own = plain[-SECTOR:][:SIGNATURE_BLOCK]
        turned = turned.with_plain(name, plain[:-SECTOR] + (stranger + own).ljust(SECTOR, b"\xff"))
    faults = {fault.code for fault in boot_check(turned.store(tmp_path / "state"), chip.made.folder).faults}
    assert faults == set()


@pytest.mark.parametrize("chip", [ESP32, PLAIN], indirect=True, ids=str)
def test_a_wrong_sha256_in_a_signed_image_is_a_fault_that_boots(chip: Silicon, tmp_path: Path) -> None:
    """No ROM looks at it behind a signature; a finished product has it right all the same."""
    changed = chip
    for name in ("bootloader", "sample"):
        unsigned = chip.plain(name)[:-SECTOR]
        at = hashed_length(unsigned)
        wrong = unsigned[:at] + bytes([unsigned[at] ^ 1]) + unsigned[at + 1 :]
        keys = [load_signing_key(path) for path in chip.made.signing_keys]
        changed = changed.with_plain(name, sign(wrong, keys, place=name))
    report = boot_check(changed.store(tmp_path / "state"), chip.made.folder)
    assert {fault.code for fault in report.faults} == {"BC10", "BC19"}
    assert sum("accepted" in line for line in report.log) == 2, "the chip goes on to the app"


@pytest.mark.parametrize("chip", QUICK, indirect=True, ids=str)
def test_no_key_is_told(chip: Silicon, tmp_path: Path) -> None:
    """Neither of a good chip nor of one whose keys are all wrong."""
    secrets = {chip.data(step["block_number"]) for step in key_blocks(chip)}
    wrong = chip
    for step in key_blocks(chip):
        wrong = wrong.with_flip(step["block_number"], 3)
    for state in (chip, wrong):
        told = repr(boot_check(state.store(tmp_path / "state"), chip.made.folder))
        for secret in secrets:
            for part in (secret, secret[::-1]):
                assert part.hex()[:16] not in told and repr(part)[2:18] not in told


@pytest.mark.parametrize("chip", [PLAIN], indirect=True, ids=str)
@pytest.mark.parametrize("name", ["efuses.json", "efuse_layout.json", "flash.bin", *DOCUMENTS])
def test_unreadable_files_are_a_fault(name: str, state: Path) -> None:
    """Also a flash that is no flash; ``{}`` is a chip with nothing burned."""
    bundle = state.parent / "bundle"
    path = (bundle if name in DOCUMENTS else state) / name
    for content in (b"", b"{", b"[]", b"null", b"{}", b'{"0": 5}', b'{"fields": []}', b"\xff\xfe", b"\xff" * 0x8000):
        path.write_bytes(content)
        assert not boot_check(state, bundle).boots
    path.unlink()
    assert not boot_check(state, bundle).boots


@pytest.mark.parametrize("chip", QUICK, indirect=True, ids=str)
def test_a_flash_that_ends_anywhere_is_a_fault(chip: Silicon, tmp_path: Path) -> None:
    """Also in the middle of what is decrypted together."""
    for end in (1, 15, 0x1005, 0x2FFF, 0xC001, 0xC010, 0x13007, 0x20001, 0x20021, 0x2A00F):
        shorter = replace(chip, flash=chip.flash[:end])
        assert not boot_check(shorter.store(tmp_path / "state"), chip.made.folder).boots


@pytest.mark.parametrize("chip", [PLAIN], indirect=True, ids=str)
def test_any_wrong_type_in_a_document_is_a_fault(state: Path) -> None:
    """Values of both documents, one after another, replaced by one of another kind: nothing raises."""
    bundle = state.parent / "bundle"
    (state / "flash.bin").write_bytes(b"")
    for name in DOCUMENTS:
        text = (bundle / name).read_text(encoding="utf-8")
        for number, path in enumerate(_paths(json.loads(text))):
            document = parent = json.loads(text)
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = WRONG[number % len(WRONG)]
            (bundle / name).write_text(json.dumps(document), encoding="utf-8")
            assert not boot_check(state, bundle).boots
        (bundle / name).write_text(text, encoding="utf-8")


def _paths(document: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(document, dict):
        items: list[tuple[str | int, object]] = list(document.items())
    elif isinstance(document, list):
        items = list(enumerate(document[:3]))
    else:
        return [path]
    return [*([path] if path else []), *(found for key, value in items for found in _paths(value, (*path, key)))]
