# SPDX-License-Identifier: Apache-2.0
"""Opens a finished bundle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from secure_ext.bundle.file_names import PLAN, REHEARSAL, is_unfinished, refuse_foreign_files
from secure_ext.bundle.files import BundleFiles, FolderFiles
from secure_ext.bundle.manifest import OUTSIDE_THE_MANIFEST, document_text, with_file
from secure_ext.documents.manifest import Manifest
from secure_ext.documents.read import (
    MANIFEST,
    damaged_manifest,
    not_a_bundle,
    parse_manifest,
    read_manifest,
    read_rehearsal,
)
from secure_ext.documents.rehearsal import RehearsalOutcome
from secure_ext.errors import InputError
from secure_ext.plan.read_document import not_a_plan, parse_plan, read_plan
from secure_ext.plan.replay import replay_plan
from secure_ext.reading import DOCUMENT_LIMIT, IMAGE_LIMIT, read_file
from secure_ext.report.page import REPORT, render_report
from secure_ext.station.durable import write_durably
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import document_data

CHANGED_BY_A_REHEARSAL = (REHEARSAL, REPORT)
"""Files that a rehearsal writes, or writes again; they do not count for what the bundle is."""


@frozen
class FinishedBundle:
    """A bundle on disk: its folder, manifest and plan document."""

    folder: Path
    manifest: Manifest
    plan: PlanDocument

    @property
    def script(self) -> Path:
        """Its provisioning script."""
        return self.folder / "provision.py"

    @property
    def has_per_device_keys(self) -> bool:
        """Whether each board gets keys of its own: then it is made into the bundle of a board before it is used."""
        return self.manifest.per_device is not None

    @property
    def own_roles(self) -> tuple[str, ...]:
        """The roles of the keys that each board gets for itself."""
        return () if self.manifest.per_device is None else self.manifest.per_device.keys

    @property
    def keeps_sealed_copies(self) -> bool:
        """Whether a sealed copy of a board's own keys is kept."""
        return self.manifest.per_device is not None and self.manifest.per_device.keep == "sealed"

    @property
    def identity(self) -> str:
        """SHA-256 over what the bundle is, whether it was rehearsed or not: rehearsal and report are left out."""
        files = {name: digest for name, digest in self.manifest.files.items() if name not in CHANGED_BY_A_REHEARSAL}
        content = document_data(replace(self.manifest, files=files))
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_bundle(folder: Path) -> FinishedBundle:
    """Reads the bundle in `folder`, and compares every public file with its hash in the manifest.

    Raises InputError SE730 (no bundle there), SE875 (its plan is damaged), SE731 (a file is missing or changed), SE715
    (a file that no bundle has); what `replay_plan` raises for a plan that would damage a board.
    """
    manifest, plan = read_manifest(folder), read_plan(folder / PLAN)
    for name, digest in manifest.files.items():
        try:
            content = read_file(folder / name, IMAGE_LIMIT)
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise InputError(
                "SE731",
                f"{name} is missing, or is not the file that the bundle was made with",
                cure="make the bundle again, or copy the whole of it again",
                place=str(folder),
            )
    refuse_foreign_files(folder, {*manifest.files, *_decided_files(folder)}, manifest, plan)
    replay_plan(plan)
    return FinishedBundle(folder, manifest, plan)


def read_documents_of(files: BundleFiles) -> tuple[Manifest, PlanDocument]:
    """Manifest and plan of a folder or an archive. Raises InputError SE730, SE875 as `read_bundle` does."""
    content, plan = files.read(MANIFEST), files.read(PLAN)
    if content is None:
        raise not_a_bundle(files.place, f"it has no {MANIFEST} that can be read")
    try:
        manifest = parse_manifest(content)
    except ValueError as error:
        raise not_a_bundle(files.place, damaged_manifest(error)) from None
    if plan is None:
        raise not_a_plan(str(files.place), f"there is no {PLAN} that can be read")
    try:
        return manifest, parse_plan(plan)
    except ValueError as error:
        raise not_a_plan(str(files.place), str(error)) from None


def _decided_files(folder: Path) -> set[str]:
    """Every file that is there, but those that belong to boards, and what an interrupted write left."""
    names = FolderFiles(folder).names()
    return {name for name in names if not f"{name}/".startswith(OUTSIDE_THE_MANIFEST) and not is_unfinished(name)}


def store_rehearsal(bundle: FinishedBundle, outcome: RehearsalOutcome) -> None:
    """Adds the outcome of a rehearsal to bundle, report and manifest; each file whole or not at all.

    Raises InputError SE702 if it cannot be written.
    """
    text = document_text(outcome)
    report = render_report(bundle.manifest, bundle.plan, outcome)
    manifest = with_file(with_file(bundle.manifest, REHEARSAL, text), REPORT, report)
    neither = {name: digest for name, digest in manifest.files.items() if name not in CHANGED_BY_A_REHEARSAL}
    # In between, the manifest lists neither: whatever interrupts this leaves a bundle that was not rehearsed.
    contents = (
        (MANIFEST, document_text(replace(manifest, files=neither))),
        (REHEARSAL, text),
        (REPORT, report),
        (MANIFEST, document_text(manifest)),
    )
    try:
        for name, content in contents:
            write_durably(bundle.folder / name, content.encode())
    except OSError as error:
        raise InputError(
            "SE702",
            f"the output cannot be written: {error.strerror or error}",
            cure="check the permissions and the free space",
            place=str(bundle.folder),
        ) from None


def has_passed_rehearsal(bundle: FinishedBundle) -> bool:
    """Whether this very bundle was rehearsed, to its end and with success.

    Raises InputError SE744 if the outcome that its manifest lists cannot be read.
    """
    if REHEARSAL not in bundle.manifest.files:
        return False
    try:
        outcome = read_rehearsal(read_file(bundle.folder / REHEARSAL, DOCUMENT_LIMIT))
    except (OSError, ValueError) as error:
        raise InputError(
            "SE744",
            f"{REHEARSAL} is damaged: {error}",
            cure="run `secure-provision rehearse` on this bundle",
            place=str(bundle.folder),
        ) from None
    return outcome.passed and outcome.bundle == bundle.identity
