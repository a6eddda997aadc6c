"""Opens a finished bundle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_ext.bundle.file_names import REHEARSAL, is_unfinished, refuse_foreign_files
from secure_ext.bundle.files import FolderFiles
from secure_ext.bundle.manifest import OUTSIDE_THE_MANIFEST, with_file
from secure_ext.bundle.report_page.page import REPORT, render_report
from secure_ext.bundle.verify.schema import document_schema, schema_errors
from secure_ext.durable import write_durably
from secure_ext.errors import InputError
from secure_ext.plan.replay import replay_plan
from secure_ext.reading import IMAGE_LIMIT, read_file, read_json

CHANGED_BY_A_REHEARSAL = (REHEARSAL, REPORT)
"""Files that a rehearsal writes, or writes again; they do not count for what the bundle is."""


@dataclass(frozen=True)
class FinishedBundle:
    """A bundle on disk: its folder, manifest and plan document."""

    folder: Path
    manifest: dict[str, Any]
    plan: dict[str, Any]

    @property
    def script(self) -> Path:
        """Its provisioning script."""
        return self.folder / "provision.py"

    @property
    def has_per_device_keys(self) -> bool:
        """Whether each board gets keys of its own: then it is made into the bundle of a board before it is used."""
        return bool(self.manifest.get("per_device"))

    @property
    def identity(self) -> str:
        """SHA-256 over what the bundle is, whether it was rehearsed or not: rehearsal and report are left out."""
        files = {name: digest for name, digest in self.manifest["files"].items() if name not in CHANGED_BY_A_REHEARSAL}
        content = json.dumps({**self.manifest, "files": files}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


def read_bundle(folder: Path) -> FinishedBundle:
    """Reads the bundle in `folder`, and compares every public file with its hash in the manifest.

    Raises InputError SE730 (no bundle there), SE731 (a file is missing or changed), SE715 (a file that no bundle has);
    what `replay_plan` raises for a plan that would damage a board.
    """
    try:
        manifest = read_json(folder / "manifest.json", lines=False)
        plan = read_json(folder / "plan.json", lines=False)
    except (OSError, ValueError):
        raise InputError(
            "SE730",
            "this is not a bundle: it has no readable manifest.json and plan.json",
            cure="give the folder that `secure-provision bundle` wrote, such as build/secure",
            place=str(folder),
        ) from None
    _require_schemas(folder, {"manifest": manifest, "plan": plan})
    for name, digest in manifest["files"].items():
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
    try:
        refuse_foreign_files(folder, {*manifest["files"], *_decided_files(folder)}, manifest, plan)
        replay_plan(plan)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            "SE730",
            "this is not a bundle: its plan.json is damaged",
            cure="copy the whole bundle again; `secure-provision verify` shows what is wrong",
            place=str(folder),
        ) from None
    return FinishedBundle(folder, manifest, plan)


def _decided_files(folder: Path) -> set[str]:
    """Every file that is there, but those that belong to boards, and what an interrupted write left."""
    names = FolderFiles(folder).names()
    return {name for name in names if not f"{name}/".startswith(OUTSIDE_THE_MANIFEST) and not is_unfinished(name)}


def _require_schemas(folder: Path, documents: dict[str, object]) -> None:
    """Raises InputError SE730 if one does not keep to its schema."""
    for kind, document in documents.items():
        error = next(schema_errors(document, document_schema(kind)), None)
        if error:
            raise InputError(
                "SE730",
                f"this is not a bundle: its {kind}.json is damaged, or of a later version of this tool: {error}",
                cure="copy the whole bundle again; `secure-provision verify` shows what is wrong",
                place=str(folder),
            )


def store_rehearsal(bundle: FinishedBundle, outcome: dict[str, Any]) -> None:
    """Adds the outcome of a rehearsal to bundle, report and manifest; each file whole or not at all.

    Raises InputError SE702 if it cannot be written, SE780 if the bundle does not hold what a report is made of.
    """
    text = json.dumps(outcome, indent=2) + "\n"
    report = render_report(bundle.manifest, bundle.plan, outcome)
    manifest = with_file(with_file(bundle.manifest, REHEARSAL, text), REPORT, report)
    neither = {name: digest for name, digest in manifest["files"].items() if name not in CHANGED_BY_A_REHEARSAL}
    # In between, the manifest lists neither: whatever interrupts this leaves a bundle that was not rehearsed.
    contents = (
        ("manifest.json", json.dumps({**manifest, "files": neither}, indent=2) + "\n"),
        (REHEARSAL, text),
        (REPORT, report),
        ("manifest.json", json.dumps(manifest, indent=2) + "\n"),
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
    """Whether this very bundle was rehearsed, to its end and with success."""
    if REHEARSAL not in bundle.manifest["files"]:
        return False
    try:
        outcome = read_json(bundle.folder / REHEARSAL)
    except (OSError, ValueError):
        return False
    return isinstance(outcome, dict) and outcome.get("passed") is True and outcome.get("bundle") == bundle.identity
