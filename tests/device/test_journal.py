# SPDX-License-Identifier: Apache-2.0
"""The journal of a board: what a bundle made again, or another bundle, believes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.typed_documents import changed, plan_with

from secure_ext.station.esp_tools import Stop
from secure_ext.station.journal import Journal, board_journal, boards_not_read_back


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal" / "board.json"
    journal = Journal(path, "keys", "images")
    journal.note_images()
    journal.note_burning()
    return path


@pytest.mark.parametrize(
    ("keys_id", "images_id", "images_written", "burning_begun"),
    [
        pytest.param("keys", "images", True, True, id="the same bundle"),
        pytest.param("keys", "images signed again", False, True, id="made again with its keys"),
        pytest.param("other keys", "images", False, False, id="another bundle"),
    ],
)
def test_who_believes_it(path: Path, keys_id: str, images_id: str, images_written: bool, burning_begun: bool) -> None:
    journal = Journal(path, keys_id, images_id)
    assert (journal.images_written, journal.burning_begun) == (images_written, burning_begun)


BEGUN = '"keys": "keys", "images_written": "images", "burning_begun": "2026-01-02T03:04:05+0000"'


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", '{"keys": "keys"', '"keys"', "[" * 50_000, "{}"),
        *(f"{{{BEGUN}, {more}}}" for more in ('"more": 1', '"read_back": NaN', '"read_back": 1e400', '"keys": "keys"')),
        *(f"{{{BEGUN}, {more}}}" for more in ('"read_back": 1', '"keys_before": false', '"read_back": ["x"]')),
        f"{{{BEGUN}}}" + " " * 0x10000,
    ],
    ids=lambda content: content[-30:].strip(),
)
def test_a_damaged_journal_counts_as_none(path: Path, content: str) -> None:
    """Nobody knows what it would say: so it is not deleted either, when a run ends before it burns."""
    path.write_text(f"{{{BEGUN}}}")
    assert Journal(path, "keys", "images").burning_begun, "whole, it counts"
    path.write_text(content)
    journal = Journal(path, "keys", "images")
    assert not journal.images_written and not journal.burning_begun and not journal.is_readable


def test_no_journal_is_not_a_damaged_one(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none.json", "keys", "images").is_readable


def test_a_board_that_goes_on_with_a_new_key_is_known_by_both(path: Path) -> None:
    """By the keys of the plan that began it, in case the new plan never gets to its place; its images are due again."""
    Journal(path, "new keys", "new images").note_burning_with_other_keys(Journal(path, "keys", "images"))
    for keys_id in ("keys", "new keys"):
        journal = Journal(path, keys_id, "images")
        assert (journal.burning_begun, journal.images_written) == (True, False)
    assert not Journal(path, "other keys", "images").burning_begun


def test_a_journal_that_cannot_be_kept_stops_the_run(tmp_path: Path) -> None:
    """Without it nobody could tell later whose the hidden keys are."""
    (tmp_path / "file").touch()
    with pytest.raises(Stop, match="SE830"):
        Journal(tmp_path / "file" / "board.json", "keys", "images").note_burning()


def test_what_was_begun_and_never_read_back_is_named(tmp_path: Path) -> None:
    """Not what was read back, nor another bundle's; nor a record of an older version, which does not say it."""
    plan = plan_with()
    for mac in ("02aa", "02bb", "02cc"):
        board_journal(plan, tmp_path / f"{mac}.json").note_burning()
    board_journal(changed(plan, chip="esp32c6"), tmp_path / "02dd.json").note_burning()
    board_journal(plan, tmp_path / "02bb.json").note_read_back()
    board_journal(plan, tmp_path / "02bb.json").note_burning(is_seal=True)
    old = json.loads((tmp_path / "02cc.json").read_text())
    del old["read_back"]
    (tmp_path / "02cc.json").write_text(json.dumps(old))
    assert boards_not_read_back(plan, tmp_path) == ("02aa",)
    assert board_journal(plan, tmp_path / "02cc.json").burning_begun


def test_a_board_that_another_bundle_begins_anew_has_to_be_read_back_anew(tmp_path: Path) -> None:
    """A development board that becomes one for production, with the same keys."""
    journal = Journal(tmp_path / "board.json", "keys", "images")
    journal.note_burning()
    journal.note_read_back()
    journal.note_burning()
    assert journal.never_read_back


def test_a_board_that_was_never_begun_has_nothing_to_read_back(tmp_path: Path) -> None:
    Journal(tmp_path / "board.json", "keys", "images").note_read_back()
    assert not (tmp_path / "board.json").exists()
