"""Makes a bundle from a decision: keys, images, digests, plan, script, manifest; whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secure_ext.bundle.atomic import replaced_directory
from secure_ext.bundle.attest import sign_statement
from secure_ext.bundle.commands import render_powershell, render_shell
from secure_ext.bundle.key_material import KeyMaterial, load_key_material
from secure_ext.bundle.manifest import ENVELOPE, MANIFEST, SEAL_TO, image_file, manifest, with_file
from secure_ext.bundle.produce import Check, ProducedImage, produce, prove
from secure_ext.bundle.read import FinishedBundle
from secure_ext.bundle.report_page.page import REPORT, render_report
from secure_ext.bundle.script import PER_DEVICE_SCRIPT, render_script
from secure_ext.bundle.signing.answers import detached_signers
from secure_ext.bundle.signing.signers import NO_HELP, SigningHelp
from secure_ext.keys.fingerprint import fingerprint
from secure_ext.keys.sealing import load_sealing_key
from secure_ext.keys.signer import Signer
from secure_ext.plan.decide import Decision
from secure_ext.plan.document import ImageEntry, key_file, key_length, plan_document
from secure_ext.plan.steps import KeyRole

Progress = Callable[[str], None]
"""Is told what is being done, a few words at a time."""


@dataclass(frozen=True)
class Bundle:
    """A finished bundle: where it is, its manifest and its plan document."""

    folder: Path
    manifest: dict[str, Any]
    plan: dict[str, Any]


def write_bundle(
    decision: Decision,
    output: Path,
    progress: Progress,
    signing: SigningHelp = NO_HELP,
    *,
    manifest_key: Signer | None = None,
) -> Bundle:
    """Makes the bundle of `decision` in the directory `output`; `signing` helps with keys that are not plain files.

    With a `manifest_key` it holds a statement signed by it.

    Generated keys of an earlier bundle in `output` are kept, and so are its journal and its sealed copies of keys. With
    keys per device it holds signed plaintext, and is made into the bundle of each board by `secure_ext.per_device`.

    Raises CheckError SE404 if the doctor found errors; the errors of the keys (SE6xx, SE71x), of the images (SE5xx) and
    of writing (SE701, SE702). Nothing is written then.
    """
    decision.require_healthy()
    with replaced_directory(output, keep=("journal", "sealed")) as folder:
        progress("keys")
        earlier = output / "keys" if (output / "keys").is_dir() else None
        material = load_key_material(decision.policy, folder / "keys", earlier, signing.secrets)
        if signing.answers is not None:
            material = replace(material, detached=detached_signers(decision.images, material.signers, signing.answers))
        _write_digests(folder, material)
        images, checks = _produce_all(decision, material, folder, progress)
        progress("plan and script")
        document = _document(decision, images, material)
        project = decision.build.project_name
        _write_json(folder / "plan.json", document)
        if decision.policy.has_per_device_keys:
            _write_text(folder / "provision.py", PER_DEVICE_SCRIPT)
            if decision.policy.per_device.seal_to:
                (folder / SEAL_TO).write_bytes(load_sealing_key(decision.policy.per_device.seal_to).pem)
        else:
            _write_text(folder / "provision.py", render_script(document, project))
            _write_text(folder / "commands.sh", render_shell(document, project))
            _write_text(folder / "commands.ps1", render_powershell(document, project))
            (folder / "commands.sh").chmod(0o755)
        (folder / "provision.py").chmod(0o755)
        content = manifest(decision, images, material.burned(), checks, folder)
        report = render_report(content, document, None)
        _write_text(folder / REPORT, report)
        content = with_file(content, REPORT, report)
        _write_json(folder / MANIFEST, content)
        if manifest_key is not None:
            _write_text(folder / ENVELOPE, sign_statement(FinishedBundle(folder, content, document), manifest_key))
    return Bundle(output, content, document)


def _write_digests(folder: Path, material: KeyMaterial) -> None:
    for role, data in material.burned().items():
        if not role.is_secret:
            path = folder / key_file(role)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)


def _produce_all(
    decision: Decision, material: KeyMaterial, folder: Path, progress: Progress
) -> tuple[list[ProducedImage], list[Check]]:
    images: list[ProducedImage] = []
    checks: list[Check] = []
    (folder / "images").mkdir()
    for planned in decision.images:
        steps = (("make", planned.recipe is not None), ("sign", planned.sign), ("encrypt", planned.encrypt))
        work = [word for word, wanted in steps if wanted]
        progress(f"{planned.name}: {' and '.join(work) or 'copy'}")
        produced = produce(planned, material)
        checks += prove(produced, material)
        (folder / image_file(produced)).write_bytes(produced.content)
        images.append(produced)
    return images, checks


def _document(decision: Decision, images: list[ProducedImage], material: KeyMaterial) -> dict[str, Any]:
    burned: dict[KeyRole, bytes] = material.burned()
    entries = tuple(
        ImageEntry(image_file(image), image.planned.offset, len(image.content), image.sha256) for image in images
    )
    prints = {
        key.role: fingerprint(burned[key.role][: key_length(key)]) for key in decision.plan.keys if key.role in burned
    }
    return plan_document(decision.plan, decision.chip, images=entries, fingerprints=prints)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _write_text(path, json.dumps(content, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
