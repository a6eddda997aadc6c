# SPDX-License-Identifier: Apache-2.0
"""docs/rework.md: with the sealed copy of a board its flash can be made again, by the commands of the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from board_runs import Station, template
from click.testing import Result

from secure_ext.bundle.read import read_bundle

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "rework.md").read_text(encoding="utf-8")
MAC = "0200000000ab"


def commands() -> list[list[str]]:
    block = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
    return [shlex.split(line.removeprefix("secure-provision ")) for line in block.splitlines()]


@pytest.mark.long
def test_the_images_of_a_board_are_made_again(
    tmp_path: Path,
    signing_key_for: Callable[[str], Path],
    run_cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is not signed anew is byte for byte what the board's flash holds."""
    key = signing_key_for("esp32c3")
    values = {"per_device.keep": "sealed", "per_device.seal_to": "public.pem"}
    bundle = template(tmp_path / "made", "esp32c3", key, **values)
    station = Station(bundle, tmp_path)
    with station.board(MAC) as board:
        done = station.flash(board, "--sealed", str(tmp_path / "made" / "project"))
        assert done.returncode == 0, done.stdout
        flash = board.flash
    monkeypatch.chdir(tmp_path / "made" / "project")
    Path("sealing_private.pem").symlink_to(tmp_path / "made" / "private.pem")
    Path("signing_key.pem").symlink_to(key)
    for words in commands():
        result = run_cli(*words)
        assert result.exit_code == 0, result.output
    again = read_bundle(Path(f"board-{MAC}"))
    unsigned = [image for image in again.manifest.images if image.encrypted and not image.signed]
    assert unsigned
    for image in unsigned:
        content = (again.folder / image.file).read_bytes()
        assert flash[image.offset : image.offset + len(content)] == content, image.name
