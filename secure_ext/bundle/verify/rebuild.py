"""Do the recorded inputs, if they are at hand, give this very plan again?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_ext.bundle.file_names import PLAN
from secure_ext.bundle.inputs import inputs_of_build, profile_from_inputs
from secure_ext.bundle.manifest import MANIFEST, partition_rows, per_device
from secure_ext.bundle.settings import firmware_settings
from secure_ext.bundle.verify.check import failed, judged, passed, refused, unseen
from secure_ext.bundle.verify.documents import Documents
from secure_ext.checks import Check
from secure_ext.errors import SecureProvisionError
from secure_ext.plan.decide import Decision, decide
from secure_ext.plan.doctor.keys import ABOUT_KEY_FILES
from secure_ext.plan.doctor.making import WHEN_MADE
from secure_ext.plan.document import plan_document
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.recipe import RECIPE_NAMES
from secure_ext.policy.profile import Profile, load_profile

_BUILD_FILES = ("sdkconfig", "flasher_args", "partition_table")
_NAMES = ("plan-from-build", "images-from-build", "facts-from-build")


@dataclass(frozen=True)
class BuildAtHand:
    """Where the inputs may be: a build directory, and a profile if the bundle was made with one."""

    build_dir: Path
    profile: Path | None


def check_rebuild(documents: Documents, at_hand: BuildAtHand) -> Iterator[Check]:
    """Decides once more from the recorded inputs, without any key, and compares."""
    inputs = documents.manifest["inputs"]
    try:
        found = inputs_of_build(at_hand.build_dir)
    except SecureProvisionError as error:
        yield from _unseen(f"the build is not at hand (-B): {error.cause}")
        return
    other = [name for name in _BUILD_FILES if found[name] != inputs[name]]
    if other:
        yield from _unseen(f"{at_hand.build_dir} is another build than the recorded one: {', '.join(other)} differ")
        return
    try:
        profile = load_profile(at_hand.profile) if at_hand.profile else Profile(Path.cwd())
        if profile.sha256 != inputs["profile"]:
            yield from _unseen("the recorded profile is not at hand (--profile), or there was none")
            return
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


def _facts(documents: Documents, decision: Decision) -> Check:
    build = decision.build
    told = {
        "project": build.project_name,
        "idf_version": build.idf_version,
        "settings": firmware_settings(build.config),
        "flash_size": build.flash_size,
        "key_blocks": [block.name for block in decision.chip.key_blocks],
        "partitions": partition_rows(decision),
        "findings": _about_no_key_file([finding.as_dict() for finding in decision.findings]),
        "per_device": per_device(decision),
    }
    listed = {**documents.manifest, "findings": _about_no_key_file(documents.manifest["findings"])}
    wrong = [member for member, value in told.items() if member in listed and listed[member] != value]
    return judged(
        "facts-from-build", MANIFEST, not wrong, ", ".join(told), f"the build gives another {', another '.join(wrong)}"
    )


def _about_no_key_file(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Key files are not at hand here, and where they lay and who could read them is not asked again."""
    return [finding for finding in findings if finding["code"] not in ABOUT_KEY_FILES | WHEN_MADE]


def _unseen(why: str) -> Iterator[Check]:
    for name in _NAMES:
        yield unseen(name, "the build", why)


def _plan(documents: Documents, again: dict[str, Any]) -> Check:
    """All but what is known only once a bundle is made: its images and the fingerprints of its keys."""
    bundled = {**documents.plan, "images": [], "steps": [_without_key(step) for step in documents.plan["steps"]]}
    if "requirements" not in bundled:
        again = _as_before_requirements(again, bundled)
    different = [key for key in again if bundled[key] != again[key]]
    wrong = f"the build gives another plan: {', '.join(different)} differ"
    return judged("plan-from-build", PLAN, not different, "the build gives this plan again", wrong)


def _as_before_requirements(again: dict[str, Any], bundled: dict[str, Any]) -> dict[str, Any]:
    """A plan of an earlier version has no requirements, and no places of the eFuses that only they name."""
    named = {row["field"] for row in bundled["layout"]}
    layout = [row for row in again["layout"] if row["field"] in named]
    return {key: value for key, value in {**again, "layout": layout}.items() if key != "requirements"}


def _without_key(step: dict[str, Any]) -> dict[str, Any]:
    return {**step, "fingerprint": None} if "fingerprint" in step else step


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
    bundled = [{name: image[name] for name in again[0]} for image in documents.images]
    bundled = [{**image, "source_sha256": None} if image["recipe"] else image for image in bundled]
    if bundled == again:
        yield passed("images-from-build", "images", f"the build gives these {len(again)} images again")
        return
    names = [image["name"] for image in bundled if image not in again] or [image["name"] for image in again]
    yield failed("images-from-build", "images", f"the build gives other images than {', '.join(names)}")
