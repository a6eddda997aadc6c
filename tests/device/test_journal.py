"""The journal of a board: what a bundle made again, or another bundle, believes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_ext.device.esp_tools import Stop
from secure_ext.device.journal import Journal


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


@pytest.mark.parametrize("content", ["", "[]", '{"keys": "keys"', '"keys"'])
def test_a_broken_journal_counts_as_none(path: Path, content: str) -> None:
    path.write_text(content)
    journal = Journal(path, "keys", "images")
    assert not journal.images_written and not journal.burning_begun


def test_a_journal_that_cannot_be_kept_stops_the_run(tmp_path: Path) -> None:
    """Without it nobody could tell later whose the hidden keys are."""
    (tmp_path / "file").touch()
    with pytest.raises(Stop, match="SE830"):
        Journal(tmp_path / "file" / "board.json", "keys", "images").note_burning()
