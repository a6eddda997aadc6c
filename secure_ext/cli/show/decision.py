# SPDX-License-Identifier: Apache-2.0
"""What the fronts show: decisions, findings and bundles as text for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from secure_ext.bundle.generated_keys import KeyState
from secure_ext.bundle.readable import from_rows, readable_text
from secure_ext.bundle.write import Bundle
from secure_ext.cli.command_names import as_typed_here, command_line
from secure_ext.cli.show.maps import Line, map_lines
from secure_ext.doctor.decide import Decision
from secure_ext.doctor.rule import Finding, Severity
from secure_ext.documents.manifest import ManifestKey
from secure_ext.plan.document import plan_document
from secure_ext.plan.recipe import RECIPE_NAMES, NvsFromCsv
from secure_ext.plan.steps import Stage
from secure_ext.plan.unplanned import unplanned_features
from secure_ext.policy.policy import KeySource
from secure_ext.policy.signing_entry import Signs
from secure_ext.station.one_line import harmless, one_line, printable
from secure_ext.station.revision import revision_range, revision_text
from secure_ext.station.typed_document import document_data

_STAGE_TITLES = {
    Stage.FLASH: "flash: can be repeated",
    Stage.BURN: "burn: CANNOT BE UNDONE",
    Stage.SEAL: "seal: CANNOT BE UNDONE, espefuse can do nothing afterwards",
}


def findings_data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings for ``--format json``."""
    return [finding.as_dict() for finding in findings]


def findings_text(findings: Sequence[Finding]) -> str:
    """Findings for a terminal, worst first, with a closing count."""
    lines = []
    for finding in findings:
        accepted = " (accepted)" if finding.accepted else ""
        lines.append(f"{finding.severity.value:7}  {finding.code}  {one_line(finding.place)}{accepted}")
        lines.append(f"         {one_line(finding.cause)}")
        if not finding.cure.startswith("nothing to do"):
            lines.append(f"         what to do: {as_typed_here(finding.cure)}")
    counts = [
        f"{number} {severity.value}{'s' if number != 1 and severity is not Severity.INFO else ''}"
        for severity in Severity
        if (number := sum(finding.severity is severity for finding in findings))
    ]
    return harmless("\n".join([*lines, "doctor: " + (", ".join(reversed(counts)) if counts else "nothing found")]))


def summary_text(decision: Decision) -> str:
    """One paragraph: what the chip will be."""
    policy, build = decision.policy, decision.build
    features = []
    if policy.flash_encryption.enabled:
        size = policy.flash_encryption.key_size.value
        features.append(f"flash encryption {policy.flash_encryption.mode.value} (key {size})")
    if policy.secure_boot.enabled:
        features.append(f"secure boot V2 ({policy.secure_boot.scheme}, {_signing_keys(policy.secure_boot.keys)})")
    if policy.nvs.scheme.value == "hmac":
        features.append("NVS HMAC key")
    elif policy.nvs.scheme.value == "flash-encryption":
        features.append(f"NVS keys {policy.nvs.key.describe()}")
    revisions = revision_range(decision.plan.min_revision, decision.plan.max_revision)
    return (
        f"{build.project_name or 'project'} for {build.chip}, chip revision {revisions}: "
        f"{', '.join(features)}; "
        f"download mode {policy.lockdown.download_mode.value}, "
        f"JTAG {'disabled' if policy.lockdown.jtag_disabled else 'OPEN'}"
    )


def _signing_keys(keys: Sequence[KeySource]) -> str:
    """How many signing keys there are, and what they sign if not everything."""
    if any(key.is_missing for key in keys):
        return "no key given yet"
    said = f"{len(keys)} key{'s' if len(keys) > 1 else ''}"
    fewer = {Signs.BOOTLOADER: "for the bootloader only", Signs.NOTHING: "digest only"}
    parts = [f"{count} {words}" for signs, words in fewer.items() if (count := sum(k.signs is signs for k in keys))]
    return ", ".join([said, *parts])


def plan_lines(decision: Decision) -> Iterator[Line]:
    """The plan for a terminal: images, maps, then the steps by stage, each with its reason."""
    for text in (summary_text(decision), "", *_image_lines(decision), ""):
        yield ((text, ""),)
    yield from map_lines(decision)
    for text in _step_lines(decision):
        yield ((text, "bold red" if "CANNOT BE UNDONE" in text else ""),)


def _image_lines(decision: Decision) -> Iterator[str]:
    yield "images"
    for image in decision.images:
        by_nvs = isinstance(image.recipe, NvsFromCsv) and image.recipe.encrypted
        treatments = (("signed", image.sign), ("encrypted", image.encrypt), ("encrypted by NVS", by_nvs))
        treatment = [word for word, wanted in treatments if wanted]
        yield (
            f"  0x{image.offset:06x}  {image.final_size:8}  {image.name:20} {' + '.join(treatment) or 'plain':18} "
            f"from {printable(image.source)}"
        )
    for blank in decision.blanks:
        if blank.content.value == "erased":
            yield f"  0x{blank.partition.offset:06x}  {'-':>8}  {printable(blank.partition.label):20} stays erased"


def _step_lines(decision: Decision) -> Iterator[str]:
    for stage in Stage:
        steps = decision.plan.of(stage)
        if not steps:
            continue
        yield ""
        yield _STAGE_TITLES[stage]
        for step in steps:
            only = f" (chips from {revision_text(step.min_revision)})" if step.min_revision else ""
            yield f"  {step.title}{only}"
            yield f"      why: {step.why} [{step.source}]"
    yield ""
    yield from _first_boot_lines(decision)


def _first_boot_lines(decision: Decision) -> Iterator[str]:
    yield from _left_open(decision)
    if not decision.first_boot:
        yield "At its first boot the firmware burns nothing more."
        yield "What an application burns with calls of its own cannot be seen here."
        return
    yield "At its first boot the firmware burns more: CANNOT BE UNDONE"
    for burn in decision.first_boot:
        yield f"  {burn.efuse} (by the {burn.by})" + (" - and fails" if burn.fails_because else "")
        fails = f"; {burn.fails_because}" if burn.fails_because else ""
        yield f"      why: it {burn.reason}{fails} [CONFIG_{burn.setting}]"


def _left_open(decision: Decision) -> Iterator[str]:
    """The eFuses of features that no plan covers; the doctor refuses them (SP155)."""
    for feature in unplanned_features(decision.build.config):
        yield f"NOT PLANNED: {feature.setting} needs {feature.needs}; {feature.left_open} stays open."


def plan_data(decision: Decision) -> dict[str, Any]:
    """The plan for ``--format json``."""
    return {
        "summary": summary_text(decision),
        "plan": document_data(plan_document(decision.plan, decision.chip)),
        "images": [
            {
                "name": image.name,
                "role": image.role.value,
                "partition": image.partition,
                "offset": image.offset,
                "size": image.final_size,
                "signed": image.sign,
                "encrypted": image.encrypt,
                "source": image.source,
                "recipe": None if image.recipe is None else RECIPE_NAMES[type(image.recipe)],
            }
            for image in decision.images
        ],
        "blank_partitions": [
            {"partition": blank.partition.label, "content": blank.content.value} for blank in decision.blanks
        ],
        "first_boot": [vars(burn) for burn in decision.first_boot],
        "findings": findings_data(decision.findings),
    }


def bundle_text(decision: Decision, bundle: Bundle) -> str:
    """What was made, for a terminal, with the next commands."""
    lines = [summary_text(decision), "", *_image_lines(decision), "", "keys"]
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


def bundle_data(decision: Decision, bundle: Bundle) -> dict[str, Any]:
    """What was made, for ``--format json``."""
    return {
        "summary": summary_text(decision),
        "bundle": str(bundle.folder),
        "manifest": document_data(bundle.manifest),
        "findings": findings_data(bundle.findings),
        "key_home": None if bundle.key_home is None else str(bundle.key_home),
        "generated_keys": [key.as_dict() for key in bundle.generated_keys],
    }
