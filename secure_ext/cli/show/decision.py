# SPDX-License-Identifier: Apache-2.0
"""What the fronts show of a decision: the plan and its images, as text for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from secure_ext.cli.show.findings import findings_data
from secure_ext.cli.show.maps import Line, map_lines
from secure_ext.doctor.decide import Decision
from secure_ext.plan.document import plan_document
from secure_ext.plan.recipe import RECIPE_NAMES, NvsFromCsv
from secure_ext.plan.steps import Stage
from secure_ext.plan.unplanned import unplanned_features
from secure_ext.policy.policy import JtagAccess, KeySource
from secure_ext.policy.signing_entry import Signs
from secure_ext.station.one_line import printable
from secure_ext.station.revision import revision_range, revision_text
from secure_ext.station.typed_document import document_data

_JTAG = {
    JtagAccess.DISABLED: "disabled",
    JtagAccess.BY_HMAC: "closed until it is opened with a token",
    JtagAccess.OPEN: "OPEN",
}
_STAGE_TITLES = {
    Stage.FLASH: "flash: can be repeated",
    Stage.BURN: "burn: CANNOT BE UNDONE",
    Stage.SEAL: "seal: CANNOT BE UNDONE, espefuse can do nothing afterwards",
}


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
    features += [f"key {extra.name} ({extra.purpose})" for extra in policy.extra_keys]
    revisions = revision_range(decision.plan.min_revision, decision.plan.max_revision)
    return (
        f"{build.project_name or 'project'} for {build.chip}, chip revision {revisions}: "
        f"{', '.join(features)}; "
        f"download mode {policy.lockdown.download_mode.value}, "
        f"JTAG {_JTAG[policy.lockdown.jtag]}"
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
    for text in (summary_text(decision), "", *image_lines(decision), ""):
        yield ((text, ""),)
    yield from map_lines(decision)
    for text in _step_lines(decision):
        yield ((text, "bold red" if "CANNOT BE UNDONE" in text else ""),)


def image_lines(decision: Decision) -> Iterator[str]:
    """The images with their places, and the partitions that stay erased."""
    yield "images"
    for image in decision.images:
        by_nvs = isinstance(image.recipe, NvsFromCsv) and image.recipe.encrypted
        treatments = (("signed", image.sign), ("encrypted", image.encrypt), ("encrypted by NVS", by_nvs))
        treatment = [word for word, wanted in treatments if wanted]
        yield (
            f"  0x{image.offset:06x}  {image.final_size:8}  {image.name:20} {' + '.join(treatment) or 'plain':18} "
            f"from {printable(image.source)}"
        )
    if decision.boot is not None:
        yield f"  a new board starts {printable(decision.boot.label)}, and goes on with it [profile: boot]"
    for blank in decision.blanks:
        if blank.content.value == "erased":
            yield f"  0x{blank.partition.offset:06x}  {'-':>8}  {printable(blank.partition.label):20} stays erased"


def _step_lines(decision: Decision) -> Iterator[str]:
    if decision.plan.places:
        blocks = ", ".join(place.block for place in decision.plan.places)
        yield ""
        yield f"Stations may take other blocks for keys that go by purpose: {blocks} [profile: place]"
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
    """Features that the chip has no eFuse for; the doctor refuses them (SP155)."""
    for feature in unplanned_features(decision.build.config, decision.chip):
        yield f"NOT PLANNED: {feature.setting}: {decision.chip.name} has no {feature.missing}; {feature.without}."


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
        "boot": None if decision.boot is None else decision.boot.label,
        "blank_partitions": [
            {"partition": blank.partition.label, "content": blank.content.value} for blank in decision.blanks
        ],
        "first_boot": [vars(burn) for burn in decision.first_boot],
        "findings": findings_data(decision.findings),
    }
