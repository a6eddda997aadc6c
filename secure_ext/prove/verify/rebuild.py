# SPDX-License-Identifier: Apache-2.0
"""Do the recorded inputs, if they are at hand, give this very plan again?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

from secure_ext.bundle.file_names import PLAN
from secure_ext.bundle.inputs import inputs_of_build, profile_from_inputs
from secure_ext.bundle.manifest import partition_rows, per_device
from secure_ext.bundle.settings import firmware_settings
from secure_ext.checks import Check
from secure_ext.doctor.decide import Decision, decide
from secure_ext.doctor.keys import ABOUT_KEY_FILES
from secure_ext.doctor.making import WHEN_MADE
from secure_ext.documents.manifest import Inputs
from secure_ext.documents.read import MANIFEST
from secure_ext.errors import SecureProvisionError
from secure_ext.plan.document import plan_document
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.recipe import RECIPE_NAMES
from secure_ext.policy.profile import Profile, load_profile
from secure_ext.prove.verify.check import failed, judged, passed, refused, unseen
from secure_ext.prove.verify.documents import Documents
from secure_ext.prove.verify.options import NOTHING_REPEATED, Repeated, check_options, check_options_without_build
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import KeyStep, PlanDocument
from secure_ext.station.typed_document import document_data

_BUILD_FILES = ("sdkconfig", "flasher_args", "partition_table")
_NAMES = ("plan-from-build", "images-from-build", "facts-from-build")
_NAME_THE_RIGHT = "name the build and the profile that the bundle was made from; if you did, do not use the bundle"


@frozen
class BuildAtHand:
    """Where the inputs may be: a build directory, and a profile if the bundle was made with one.

    Attributes:
        build_dir: the build directory.
        profile: the profile.
        is_named: whether somebody named one of both for this bundle. What does not fit is then wrong, and else merely
            another one.
        repeated: the options that the bundle was made with.
    """

    build_dir: Path
    profile: Path | None
    is_named: bool = False
    repeated: Repeated = NOTHING_REPEATED


def check_rebuild(documents: Documents, at_hand: BuildAtHand, *, is_signed: bool) -> Iterator[Check]:
    """Decides once more from the recorded inputs, without any key, and compares."""
    inputs = documents.manifest.inputs
    profile, why = _find(inputs, at_hand)
    if profile is None:
        for name in _NAMES:
            yield (
                failed(name, "the build", why, _NAME_THE_RIGHT) if at_hand.is_named else unseen(name, "the build", why)
            )
        yield check_options_without_build(documents, at_hand.repeated, is_signed=is_signed)
        return
    yield check_options(documents, profile, at_hand.repeated, is_signed=is_signed)
    try:
        signs = [signs for _, signs in documents.signing_keys]
        decision = decide(at_hand.build_dir, profile_from_inputs(inputs, profile, signs))
    except SecureProvisionError as error:
        for name in _NAMES:
            yield refused(name, str(at_hand.build_dir), error)
        return
    except (ValueError, TypeError, AttributeError, LookupError):
        yield failed("plan-from-build", MANIFEST, "the recorded options are no settings of a profile")
        return
    yield _plan(documents, plan_document(decision.plan, decision.chip))
    yield from _images(documents, decision.images)
    yield _facts(documents, decision)


def _find(inputs: Inputs, at_hand: BuildAtHand) -> tuple[Profile | None, str]:
    """The profile, if it and the build are the recorded ones; else why not."""
    try:
        found = inputs_of_build(at_hand.build_dir)
    except SecureProvisionError as error:
        return None, f"the build is not there (-B): {error.cause}"
    other = [name for name in _BUILD_FILES if found[name] != getattr(inputs, name)]
    if other:
        return None, f"{at_hand.build_dir} is another build than the recorded one: {', '.join(other)} differ"
    try:
        profile = load_profile(at_hand.profile) if at_hand.profile else Profile(Path.cwd())
    except SecureProvisionError as error:
        return None, f"the profile cannot be read: {error.cause}"
    if profile.sha256 != inputs.profile:
        return None, "the recorded profile is not there (--profile), or there was none"
    return profile, ""


def _facts(documents: Documents, decision: Decision) -> Check:
    build, manifest = decision.build, documents.manifest
    told: dict[str, tuple[object, object]] = {
        "project": (build.project_name, manifest.project),
        "idf_version": (build.idf_version, manifest.idf_version),
        "flash_size": (build.flash_size, manifest.flash_size),
        "key_blocks": (tuple(block.name for block in decision.chip.key_blocks), manifest.key_blocks),
        "partitions": (partition_rows(decision), manifest.partitions),
        "findings": (
            _about_no_key_file(finding.as_dict() for finding in decision.findings),
            _about_no_key_file(document_data(manifest.findings)),
        ),
        "per_device": (per_device(decision), manifest.per_device),
        "boot": (None if decision.boot is None else decision.boot.label, manifest.boot),
    }
    if not (documents.is_of_first_release and manifest.settings is None):
        told["settings"] = (firmware_settings(build.config), manifest.settings)
    wrong = [member for member, (again, listed) in told.items() if again != listed]
    return judged(
        "facts-from-build", MANIFEST, not wrong, ", ".join(told), f"the build gives another {', another '.join(wrong)}"
    )


def _about_no_key_file(findings: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Key files are not at hand here, and where they lay and who could read them is not asked again."""
    return [finding for finding in findings if finding["code"] not in ABOUT_KEY_FILES | WHEN_MADE]


def _plan(documents: Documents, again: PlanDocument) -> Check:
    """All but what is known only once a bundle is made: its images and the fingerprints of its keys."""
    steps = tuple(replace(s, fingerprint=None) if isinstance(s, KeyStep) else s for s in documents.plan.steps)
    bundled = replace(documents.plan, images=(), steps=steps)
    if documents.is_of_first_release and bundled.requirements is None:
        # it has no places of the eFuses that only requirements name
        named = {row.field for row in bundled.layout}
        layout = tuple(row for row in again.layout if row.field in named)
        again = replace(again, layout=layout, requirements=None)
    names = [field.name for field in fields(PlanDocument)]
    different = [name for name in names if getattr(bundled, name) != getattr(again, name)]
    wrong = f"the build gives another plan: {', '.join(different)} differ"
    return judged("plan-from-build", PLAN, not different, "the build gives this plan again", wrong)


def _images(documents: Documents, planned: tuple[PlannedImage, ...]) -> Iterator[Check]:
    later = documents.encrypts_per_device
    again = [
        {
            "name": image.name,
            "role": image.role.value,
            "partition": image.partition,
            "offset": image.offset,
            "encrypted": image.encrypt and not later,
            "encrypt_per_device": image.encrypt and later,
            "signed": image.sign,
            "source": image.source,
            "recipe": None if image.recipe is None else RECIPE_NAMES[type(image.recipe)],
            "source_sha256": None if image.recipe else hashlib.sha256(image.content).hexdigest(),
        }
        for image in planned
    ]
    bundled = [{name: getattr(image, name) for name in again[0]} for image in documents.images]
    bundled = [{**image, "source_sha256": None} if image["recipe"] else image for image in bundled]
    if bundled == again:
        yield passed("images-from-build", "images", f"the build gives these {len(again)} images again")
        return
    names = [image["name"] for image in bundled if image not in again] or [image["name"] for image in again]
    yield failed("images-from-build", "images", f"the build gives other images than {', '.join(map(str, names))}")
