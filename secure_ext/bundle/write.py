# SPDX-License-Identifier: Apache-2.0
"""Makes a bundle from a decision: keys, images, digests, plan, script, manifest; whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from secure_ext.atomic import replaced_directory
from secure_ext.bundle.attest import sign_statement
from secure_ext.bundle.commands import render_powershell, render_shell
from secure_ext.bundle.earlier import read_earlier, refuse_another
from secure_ext.bundle.generated_keys import GeneratedKey, GeneratedKeys, keep_keys_of_another
from secure_ext.bundle.inputs import recorded_inputs
from secure_ext.bundle.key_home import home_of, place_for
from secure_ext.bundle.key_material import KeyMaterial, load_key_material
from secure_ext.bundle.mac_list_file import MAC_LIST
from secure_ext.bundle.manifest import ENVELOPE, IDENTITY_CA, SEAL_TO, document_text, image_file, manifest, with_file
from secure_ext.bundle.produce import ProducedImage, produce, prove
from secure_ext.bundle.read import FinishedBundle
from secure_ext.bundle.readable import as_rows, from_rows, readable_files, refuse_secrets, secret_files
from secure_ext.bundle.script import PER_ADDRESS_SCRIPT, PER_DEVICE_SCRIPT, render_script
from secure_ext.doctor.decide import Decision
from secure_ext.doctor.rule import Finding, Making
from secure_ext.documents.manifest import Manifest, Proof
from secure_ext.documents.read import MANIFEST
from secure_ext.keys.sealing import load_sealing_key
from secure_ext.keys.signer import Signer
from secure_ext.plan.document import key_file, key_length, plan_document
from secure_ext.plan.steps import KeyRole
from secure_ext.report.page import REPORT, render_report
from secure_ext.sign.answers import detached_signers
from secure_ext.sign.signers import NO_HELP, SigningHelp
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import ImageEntry, PlanDocument

Progress = Callable[[str], None]
"""Is told what is being done, a few words at a time."""

_AS_EVER = Making()


@frozen
class Bundle:
    """A finished bundle: where it is, its manifest and its plan document.

    Attributes:
        findings: the doctor's, with those of the making.
        key_home: where the keys are that were generated, for this bundle or before; None if none were.
        generated_keys: those it uses.
    """

    folder: Path
    manifest: Manifest
    plan: PlanDocument
    findings: tuple[Finding, ...]
    key_home: Path | None
    generated_keys: tuple[GeneratedKey, ...]


def write_bundle(
    decision: Decision,
    output: Path,
    progress: Progress,
    signing: SigningHelp = NO_HELP,
    *,
    manifest_key: Signer | None = None,
    circumstances: Making = _AS_EVER,
    keep_others: bool = False,
) -> Bundle:
    """Makes the bundle of `decision` in the directory `output`; `signing` helps with keys that are not plain files.

    With a `manifest_key` it holds a statement signed by it. `circumstances` say what the front knows of the run.

    Keys that are generated live in their home (`secure_ext.bundle.key_home`) and are copied from there; those of an
    earlier bundle in `output` are taken over, and its journal and its sealed copies of keys are kept. With keys per
    device the bundle holds signed plaintext, and is made into the bundle of each board by `secure_ext.per_device`.

    Raises CheckError SE404 if the doctor found errors; the errors of the keys (SE6xx, SE71x, SE734 to SE738), of the
    images (SE5xx) and of writing (SE701, SE702); InputError SE739 if a bundle of another chip, project or build
    directory is in `output` and may not be replaced (`keep_others`); CheckError SE960 if an archive of it is wanted
    that would show secrets to everybody. Nothing is written then.
    """
    decision.require_healthy()
    build, policy = decision.build, decision.policy
    with replaced_directory(output, keep=("journal", "sealed")) as folder:
        progress("keys")
        place = place_for(build, policy.key_home, output)
        earlier = read_earlier(output)
        if earlier is not None and keep_others:
            refuse_another(earlier, build)
        own = earlier if earlier is not None and earlier.is_of(build) else None
        generated = GeneratedKeys(home_of(place, build.project_name, build.chip, output), own)
        material = load_key_material(policy, build.chip, folder / "keys", generated, signing.secrets)
        names = (path.name for path in sorted((folder / "keys").glob("[!.]*")) if path.is_file())
        decision = decision.with_making(
            replace(
                circumstances,
                new_keys=generated.new,
                kept_keys=generated.found,
                home_is_named=policy.key_home is not None,
                bundled_keys=tuple(output / "keys" / name for name in names),
            )
        )
        decision.require_healthy()
        if signing.answers is not None:
            material = replace(material, detached=detached_signers(decision.images, material.signers, signing.answers))
        _write_digests(folder, material)
        images, checks = _produce_all(decision, material, folder, progress)
        progress("plan and script")
        document = _document(decision, images, material)
        _write_data(folder, document, decision)
        project = build.project_name
        _write_text(folder / "plan.json", document_text(document))
        if decision.policy.is_per_device:
            has_keys = decision.policy.has_per_device_keys
            _write_text(folder / "provision.py", PER_DEVICE_SCRIPT if has_keys else PER_ADDRESS_SCRIPT)
            if decision.policy.per_device.seal_to:
                (folder / SEAL_TO).write_bytes(load_sealing_key(decision.policy.per_device.seal_to).pem)
        else:
            _write_text(folder / "provision.py", render_script(document, project))
            _write_text(folder / "commands.sh", render_shell(document, project))
            _write_text(folder / "commands.ps1", render_powershell(document, project))
            (folder / "commands.sh").chmod(0o755)
        (folder / "provision.py").chmod(0o755)
        home = generated.home.folder if generated.uses_home else None
        inputs = recorded_inputs(decision, output, home)
        content = manifest(decision, images, material.burned(), checks, folder, inputs=inputs)
        content = _with_readable(content, document, images, folder)
        if circumstances.archived and not circumstances.with_plaintext:
            refuse_secrets(tuple(from_rows(content)), output)
        report = render_report(content, document, None)
        _write_text(folder / REPORT, report)
        content = with_file(content, REPORT, report)
        _write_text(folder / MANIFEST, document_text(content))
        if manifest_key is not None:
            _write_text(folder / ENVELOPE, sign_statement(FinishedBundle(folder, content, document), manifest_key))
        if earlier is not None and own is None:
            keep_keys_of_another(earlier, home_of(place, earlier.project, earlier.chip, output))
        generated.store()
    return Bundle(output, content, document, decision.findings, home, generated.keys)


def _write_digests(folder: Path, material: KeyMaterial) -> None:
    for role, data in material.burned().items():
        if not role.is_secret:
            path = folder / key_file(role)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)


def _write_data(folder: Path, document: PlanDocument, decision: Decision) -> None:
    """What goes into the block of user data, the list of the boards' addresses, the CA of their identities."""
    for data in document.data:
        (folder / data.file).parent.mkdir(exist_ok=True)
        (folder / data.file).write_bytes(data.content)
    if decision.policy.user_block.macs is not None:
        (folder / MAC_LIST).write_bytes(decision.policy.user_block.macs.content)
    if decision.policy.identity is not None:
        (folder / IDENTITY_CA).write_bytes(decision.policy.identity.ca)


def _produce_all(
    decision: Decision, material: KeyMaterial, folder: Path, progress: Progress
) -> tuple[list[ProducedImage], list[Proof]]:
    images: list[ProducedImage] = []
    checks: list[Proof] = []
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


def _with_readable(content: Manifest, document: PlanDocument, images: list[ProducedImage], folder: Path) -> Manifest:
    """The manifest with what can be read; files that hold secrets become the owner's alone (the folder is still)."""
    by_file = {image_file(image): image.content for image in images}
    content = replace(content, readable=as_rows(readable_files(content, document, by_file.get)))
    for name in secret_files(content):
        (folder / name).chmod(0o600)
    return content


def _document(decision: Decision, images: list[ProducedImage], material: KeyMaterial) -> PlanDocument:
    burned: dict[KeyRole, bytes] = material.burned()
    entries = tuple(
        ImageEntry(image_file(image), image.planned.offset, len(image.content), image.sha256) for image in images
    )
    prints = {
        key.role: fingerprint(burned[key.role][: key_length(key)]) for key in decision.plan.keys if key.role in burned
    }
    return plan_document(decision.plan, decision.chip, images=entries, fingerprints=prints)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
