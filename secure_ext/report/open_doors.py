# SPDX-License-Identifier: Apache-2.0
"""What stays open on the finished board: what the plan leaves open, and what stays beside that."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.documents.manifest import Manifest
from secure_ext.plan.effects import Effects
from secure_ext.report.element import Element, el
from secure_ext.station.efuse_features import Download
from secure_ext.station.revision import revision_text


def open_doors(effects: Effects) -> tuple[str, ...]:
    """What stays open on the finished board, in words; a reader may take for closed what is not named."""
    doors = []
    if effects.flash_encryption != "release":
        doors.append("Whoever has the board can get at its software: flash encryption is not on in release mode.")
    if not effects.signing_keys:
        doors.append("Secure boot is not on: the chip does not ask who made the software that it starts.")
    if effects.jtag_by_token:
        doors.append("The connection for debugging (JTAG) is opened by the software for whoever has its token.")
    elif not effects.jtag_closed:
        doors.append("The connection for debugging (JTAG) stays open.")
    if effects.download is Download.OPEN:
        older = (
            "" if effects.sealed_from is None else f" on chips older than revision {revision_text(effects.sealed_from)}"
        )
        doors.append(f"The chip's service entrance for a cable (download mode) stays open{older}.")
    return tuple(doors)


def what_stays_open(manifest: Manifest, effects: Effects) -> Iterator[Element]:
    """The list for the summary; it is never empty."""
    doors = open_doors(effects)
    if doors:
        yield el("ul", [el("li", door) for door in doors])
    else:
        yield el("p", "Nothing that this plan could close.")
    further = list(_beside_the_plan(manifest, effects))
    if further:
        yield el("p", "These stay, too:" if doors else "These stay:")
        yield el("ul", [el("li", item) for item in further])


def _beside_the_plan(manifest: Manifest, effects: Effects) -> Iterator[str]:
    plain = [row for row in manifest.partitions if not row.encrypted]
    settings = [row.label or "(no name)" for row in plain if row.subtype == "nvs"]
    others = [row.label or "(no name)" for row in plain if row.subtype != "nvs"]
    if others and effects.flash_encryption == "release":
        yield (
            f"The partition table leaves {_listed(others)} out of flash encryption: whoever opens the board can read "
            "and change what is there."
        )
    if settings and effects.flash_encryption == "release":
        values = (
            "the software has a key to encrypt its values there (NVS encryption), but whoever opens the board can "
            "still erase them"
            if effects.nvs_key
            else "whoever opens the board can read and change what the software does not encrypt there by itself "
            "(NVS encryption)"
        )
        yield f"Flash encryption never covers {_listed(settings)}: {values}."
    if effects.download is Download.SECURE:
        yield (
            "The memory can be overwritten over the cable (secure download mode). That can ruin the board's "
            "software; it shows nobody what is in it."
        )
    if effects.signing_keys:
        yield (
            f"The {'digest' if effects.signing_keys == 1 else 'digests'} of your signing "
            f"{'key' if effects.signing_keys == 1 else 'keys'} can be read. That is meant so: nobody can sign with it."
        )


def _listed(labels: list[str]) -> str:
    return ", ".join(labels[:-1]) + " and " + labels[-1] if len(labels) > 1 else labels[0]
