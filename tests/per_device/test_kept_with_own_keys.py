# SPDX-License-Identifier: Apache-2.0
"""A board with a key of its own keeps what it came with, also when it is cut and gets another key in its next run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from board_runs import Station, keys_on, template
from support.matrix_tools import espsecure

from secure_ext.prove.rehearsal.script_run import carry
from secure_ext.prove.virtual_chip.process import events

KEPT = "storage"


@pytest.mark.long
def test_a_cut_in_the_write_of_what_is_kept(signing_keys: dict[str, Path], tmp_path: Path) -> None:
    """The first key is gone with the run; the copy is not."""
    bundle = template(tmp_path, "esp32c3", signing_keys["rsa_0"], keep=(KEPT,))
    station = Station(bundle, tmp_path)
    (kept,) = bundle.plan.kept
    assert kept.label == KEPT and kept.encrypt
    log = tmp_path / "events"
    whole = station.board("020000000001")
    carry(bundle, whole.options, whole.state)
    with dataclasses.replace(whole, options=dataclasses.replace(whole.options, log=log)) as chip:
        assert station.flash(chip).returncode == 0
    writes = max(event["flash"] for event in events(log))

    cut = station.board("020000000002", cut=f"flash:{writes - 2}")
    carry(bundle, cut.options, cut.state)
    with cut as chip:
        assert station.flash(chip).returncode
        first = chip.flash[kept.offset : kept.end]
    with station.board("020000000002") as chip:
        done = station.flash(chip)
        assert done.returncode == 0, done.stdout
        was = (chip.state / "flash_before.bin").read_bytes()[kept.offset : kept.end]
        assert first != was
        paths = {name: tmp_path / name for name in ("key", "cipher", "plain")}
        paths["key"].write_bytes(keys_on(chip, bundle)["flash_encryption_key"])
        paths["cipher"].write_bytes(chip.flash[kept.offset : kept.end])
    words = [
        "--aes-xts",
        "--keyfile",
        str(paths["key"]),
        "--address",
        hex(kept.offset),
        "--output",
        str(paths["plain"]),
    ]
    espsecure(["decrypt-flash-data", *words, str(paths["cipher"])])
    assert paths["plain"].read_bytes() == was
    assert not list((bundle.folder / "journal").glob("*.kept"))
