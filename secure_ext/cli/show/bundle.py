# SPDX-License-Identifier: Apache-2.0
"""What the fronts show of a bundle that was made, as text for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from secure_ext.bundle.generated_keys import KeyState
from secure_ext.bundle.merged import Merged
from secure_ext.bundle.readable import from_rows, readable_text
from secure_ext.bundle.write import Bundle
from secure_ext.cli.command_names import command_line
from secure_ext.cli.show.decision import image_lines, summary_text
from secure_ext.cli.show.findings import findings_data, findings_text
from secure_ext.doctor.decide import Decision
from secure_ext.doctor.rule import Severity
from secure_ext.documents.manifest import ManifestKey
from secure_ext.station.one_line import harmless
from secure_ext.station.typed_document import document_data


def bundle_text(decision: Decision, bundle: Bundle) -> str:
    """What was made, for a terminal, with the next commands."""
    lines = [summary_text(decision), "", *image_lines(decision), "", "keys"]
    for key in bundle.manifest.keys:
        lines.append(f"  {key.block:12} {key.purpose or 'fixed purpose':44} {_key_name(key)}")
    counted = [f for f in bundle.findings if f.severity is not Severity.INFO]
    if counted:
        lines += ["", findings_text(counted)]
    if bundle.key_home is not None and bundle.generated_keys:
        lines += ["", *generated_key_lines(bundle)]
    if bundle.manifest.per_device:
        return harmless("\n".join([*lines, "", *_per_device_lines(bundle)]))
    return harmless(
        "\n".join(
            [
                *lines,
                "",
                f"{len(bundle.manifest.checks)} checks passed: every image decrypts and verifies as on the chip.",
                f"Bundle: {bundle.folder}   (its folder keys holds secrets: keep it off archives and chats)",
                *_readable_lines(bundle),
                *_next_lines(bundle),
            ]
        )
    )


def generated_key_lines(bundle: Bundle) -> Iterator[str]:
    """Which keys are new, which are those of before, and where their home is."""
    told = {
        KeyState.NEW: "NEW, in no board yet",
        KeyState.KEPT: "as before, boards may carry it",
        KeyState.TAKEN_OVER: "as before, taken over from the earlier bundle",
    }
    yield f"Generated keys, kept in {bundle.key_home} (back it up: there is no other way to these boards)"
    for key in bundle.generated_keys:
        found = "" if key.path is None else f": {key.path}"
        yield f"  {key.name:30} {told[key.state]}{found}"


def _key_name(key: ManifestKey) -> str:
    return f"fingerprint {key.fingerprint}" if key.fingerprint else "each board gets its own"


def _per_device_lines(bundle: Bundle) -> Iterator[str]:
    per_device = bundle.manifest.per_device
    kept = "a sealed copy is kept" if per_device and per_device.keep == "sealed" else "it is destroyed then"
    yield f"{len(bundle.manifest.checks)} checks passed: every image verifies as on the chip."
    yield f"Bundle: {bundle.folder}   (its images are encrypted for each board when it is flashed)"
    yield f"Each board gets a key of its own; {kept}. See docs/per-device-keys.md."
    yield from _readable_lines(bundle)
    yield from _next_lines(bundle)


def _readable_lines(bundle: Bundle) -> Iterator[str]:
    """What its files show without its keys. With its keys all of it can be read."""
    yield f"Readable in it without its keys: {readable_text(tuple(from_rows(bundle.manifest)))}"


def _next_lines(bundle: Bundle) -> Iterator[str]:
    """The commands for this very folder; what they leave behind (a rehearsal that passed) the next one asks for."""
    yield f"Rehearse without a board:  {command_line('rehearse', bundle=bundle.folder)}"
    yield f"Provision a board:         {command_line('flash', bundle=bundle.folder, port='PORT')}"


def merged_text(decision: Decision, bundle: Bundle, merged: Merged) -> str:
    """The image that was merged of its images, what it shows to whoever has it, and what a board does with it."""
    lines = [
        f"Merged image, for flash address 0x0: {merged.path}",
        f"  {merged.size} bytes, SHA-256 {merged.sha256}",
        f"Readable by whoever has the merged image: {readable_text(tuple(from_rows(bundle.manifest)))}",
    ]
    if decision.policy.secure_boot.enabled and not decision.policy.flash_encryption.enabled:
        lines.append(
            "A board with it starts when it is powered, and may turn secure boot on by itself: power it at the station"
        )
    return harmless("\n".join(lines))


def bundle_data(decision: Decision, bundle: Bundle, merged: Merged | None = None) -> dict[str, Any]:
    """What was made, for ``--format json``."""
    whole = None if merged is None else {"file": str(merged.path), "size": merged.size, "sha256": merged.sha256}
    return {
        **({} if whole is None else {"merged": whole}),
        "summary": summary_text(decision),
        "bundle": str(bundle.folder),
        "manifest": document_data(bundle.manifest),
        "findings": findings_data(bundle.findings),
        "key_home": None if bundle.key_home is None else str(bundle.key_home),
        "generated_keys": [key.as_dict() for key in bundle.generated_keys],
    }
