# SPDX-License-Identifier: Apache-2.0
"""Manifest and plan: are they there, do they keep to their schemas?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

from secure_ext.bundle.file_names import PLAN
from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.manifest import is_as_written
from secure_ext.checks import Check, Outcome
from secure_ext.documents.manifest import Manifest, ManifestImage
from secure_ext.documents.read import MANIFEST, parse_manifest
from secure_ext.errors import CheckError, SecureProvisionError
from secure_ext.plan.demands import SHA384
from secure_ext.plan.read_document import parse_plan
from secure_ext.plan.replay import replay_plan
from secure_ext.policy.signing_entry import Signs
from secure_ext.prove.verify.check import COPY_AGAIN, failed, judged, passed
from secure_ext.station.efuse_features import CRYPT_COUNTS, SECURE_BOOT_SWITCHES
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import FieldStep, KeyStep, PlanDocument, WriteStep
from secure_ext.station.typed_document import DocumentFault

_STAGES = ("flash", "burn", "seal")
_T = TypeVar("_T")
_CODES = {MANIFEST: "SE730", PLAN: "SE875"}
"""The codes of the errors that every other command ends with."""


@frozen
class Documents:
    """Manifest and plan, both valid by their schemas."""

    manifest: Manifest
    plan: PlanDocument

    @property
    def is_of_first_release(self) -> bool:
        """Whether the manifest says that 0.1.0 made it, whose plans and manifests lack what later ones have."""
        return bool(self.manifest.tool == "idf-secure-provision 0.1.0")

    @property
    def images(self) -> tuple[ManifestImage, ...]:
        """The images of the manifest."""
        return self.manifest.images

    @property
    def signing_keys(self) -> list[tuple[KeyStep, Signs]]:
        """The steps that burn the digest of a signing key, and what that key signs; all in plans that do not say."""
        return [(step, Signs(step.signs or Signs.ALL.value)) for step in self.plan.keys if step.is_digest]

    def signers_of(self, image: ManifestImage) -> list[KeyStep]:
        """Of these steps those of the keys that have to sign an image of the manifest."""
        is_bootloader = image.role == "bootloader"
        return [step for step, signs in self.signing_keys if signs.covers(is_bootloader=is_bootloader)]

    @property
    def per_device_roles(self) -> tuple[str, ...]:
        """The roles of the keys that each board gets for itself."""
        return () if self.manifest.per_device is None else self.manifest.per_device.keys

    @property
    def encrypts_per_device(self) -> bool:
        """Whether the images are encrypted only when a board is flashed, with its own key."""
        return any(role.startswith("flash_encryption_key") for role in self.per_device_roles)

    @property
    def encrypts(self) -> bool:
        """Whether the plan turns flash encryption on."""
        return any(name in CRYPT_COUNTS for name in self.plan.enabling_fields)

    @property
    def encrypts_for_release(self) -> bool:
        """Whether flash encryption can never be turned off again: every bit of its counter is burned."""
        return any(step.value > 1 for step in self.plan.fields if step.field in CRYPT_COUNTS)

    @property
    def verifies_sha384(self) -> bool:
        """Whether the plan makes the chip verify signatures over SHA-384, and no others."""
        return any(step.field == SHA384 for step in self.plan.fields)

    @property
    def signs(self) -> bool:
        """Whether the plan turns secure boot on."""
        return any(name in SECURE_BOOT_SWITCHES for name in self.plan.enabling_fields)


def read_documents(files: BundleFiles, checks: list[Check]) -> Documents | None:
    """Both documents, or None if one of them is not valid; what was checked is added to `checks`."""
    manifest = _read(files, MANIFEST, parse_manifest, checks)
    plan = _read(files, PLAN, parse_plan, checks)
    if manifest is None or plan is None:
        return None
    same = is_as_written(files.read(MANIFEST) or b"")
    checks.append(judged("manifest-form", MANIFEST, same, "as written", "it was edited", cure=COPY_AGAIN))
    return Documents(manifest, plan)


def _read(files: BundleFiles, name: str, parse: Callable[[bytes], _T], checks: list[Check]) -> _T | None:
    stem = name.removesuffix(".json")
    text = files.read(name)
    if text is None:
        checks.append(failed(f"{stem}-readable", name, "it is missing", COPY_AGAIN))
        return None
    document, fault = None, None
    try:
        document = parse(text)
    except DocumentFault as error:
        fault = error
    except ValueError as error:
        why = f"{_CODES[name]}: it is not a JSON document: {error}"
        checks.append(failed(f"{stem}-readable", name, why, COPY_AGAIN))
        return None
    checks.append(passed(f"{stem}-readable", name, "a JSON document"))
    if fault is not None:
        checks.append(failed(f"{stem}-schema", name, f"{_CODES[name]}: {fault}"))
        return None
    checks.append(passed(f"{stem}-schema", name, f"valid by {stem}.schema.json"))
    return document


def check_steps(documents: Documents) -> Iterator[Check]:
    """The order that every plan has."""
    steps = documents.plan.steps
    identities = [step.id for step in steps]
    stages = [_STAGES.index(step.stage) for step in steps]
    writes = sum(isinstance(step, WriteStep) for step in steps)
    enabling = set(documents.plan.enabling_fields)
    burned = {step.field for step in documents.plan.fields}
    last_key = max((i for i, step in enumerate(steps) if isinstance(step, KeyStep)), default=-1)
    switches = (i for i, step in enumerate(steps) if isinstance(step, FieldStep) and step.field in enabling)
    first_enabled = min(switches, default=len(steps))
    problems = (
        (len(set(identities)) < len(identities), "a step is there twice"),
        (any(before > after for before, after in pairwise(stages)), "the stages are not in their order"),
        (writes != 1, "the images are not written exactly once"),
        (not enabling <= burned, "an eFuse that turns a feature on is not burned"),
        (last_key > first_enabled, "a feature is turned on before its key is burned"),
    )
    wrong = [text for is_wrong, text in problems if is_wrong]
    yield judged("plan-steps", PLAN, not wrong, f"{len(steps)} steps", "; ".join(wrong))
    yield _order(documents.plan)


def _order(plan: PlanDocument) -> Check:
    try:
        replay_plan(plan)
    except CheckError as error:
        return failed("plan-order", PLAN, error.cause, error.cure)
    except SecureProvisionError as error:
        return Check("plan-order", PLAN, Outcome.NOT_VERIFIABLE, f"{error.code}: {error.cause}")
    return passed("plan-order", PLAN, "no step stands where it would damage a chip")
