"""Manifest and plan: are they there, do they keep to their schemas?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from secure_ext.bundle.file_names import PLAN
from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.manifest import MANIFEST
from secure_ext.bundle.verify.check import COPY_AGAIN, failed, judged, passed
from secure_ext.bundle.verify.schema import load_schema, schema_errors
from secure_ext.checks import Check, Outcome
from secure_ext.errors import CheckError, SecureProvisionError
from secure_ext.plan.demands import SHA384
from secure_ext.plan.replay import replay_plan
from secure_ext.policy.signing_entry import Signs

_SCHEMAS = {
    "manifest": (MANIFEST, "secure_ext.bundle", "manifest.schema.json"),
    "plan": (PLAN, "secure_ext.plan", "plan.schema.json"),
}
_STAGES = ("flash", "burn", "seal")
_MOST_ERRORS = 5


@dataclass(frozen=True)
class Documents:
    """Manifest and plan, both valid by their schemas."""

    manifest: dict[str, Any]
    plan: dict[str, Any]

    @property
    def is_of_first_release(self) -> bool:
        """Whether the manifest says that 0.1.0 made it, whose plans and manifests lack what later ones have."""
        return bool(self.manifest["tool"] == "idf-secure-provision 0.1.0")

    @property
    def images(self) -> list[dict[str, Any]]:
        """The images of the manifest."""
        return list(self.manifest["images"])

    @property
    def key_steps(self) -> list[dict[str, Any]]:
        """The steps of the plan that burn a key."""
        return [step for step in self.plan["steps"] if step["kind"] == "burn_key"]

    @property
    def signing_keys(self) -> list[tuple[dict[str, Any], Signs]]:
        """The steps that burn the digest of a signing key, and what that key signs; all in plans that do not say."""
        steps = [step for step in self.key_steps if step["role"].startswith("secure_boot_digest")]
        return [(step, Signs(step.get("signs", Signs.ALL.value))) for step in steps]

    def signers_of(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        """Of these steps those of the keys that have to sign an image of the manifest."""
        is_bootloader = image["role"] == "bootloader"
        return [step for step, signs in self.signing_keys if signs.covers(is_bootloader=is_bootloader)]

    @property
    def per_device_roles(self) -> list[str]:
        """The roles of the keys that each board gets for itself."""
        return list((self.manifest["per_device"] or {"keys": []})["keys"])

    @property
    def encrypts_per_device(self) -> bool:
        """Whether the images are encrypted only when a board is flashed, with its own key."""
        return any(role.startswith("flash_encryption_key") for role in self.per_device_roles)

    @property
    def encrypts(self) -> bool:
        """Whether the plan turns flash encryption on."""
        return any(name.endswith("CRYPT_CNT") for name in self.plan["enabling_fields"])

    @property
    def encrypts_for_release(self) -> bool:
        """Whether flash encryption can never be turned off again: every bit of its counter is burned."""
        values = [
            step["value"]
            for step in self.plan["steps"]
            if str(step.get("field")).endswith("CRYPT_CNT") and "value" in step
        ]
        return any(value > 1 for value in values)

    @property
    def verifies_sha384(self) -> bool:
        """Whether the plan makes the chip verify signatures over SHA-384, and no others."""
        return any(step["kind"] == "burn_field" and step["field"] == SHA384 for step in self.plan["steps"])

    @property
    def signs(self) -> bool:
        """Whether the plan turns secure boot on."""
        return any(name in ("ABS_DONE_1", "SECURE_BOOT_EN") for name in self.plan["enabling_fields"])


def read_documents(files: BundleFiles, checks: list[Check]) -> Documents | None:
    """Both documents, or None if one of them is not valid; what was checked is added to `checks`."""
    found: dict[str, dict[str, Any]] = {}
    for kind, (name, package, schema_name) in _SCHEMAS.items():
        text = files.read(name)
        try:
            document = json.loads((text or b"").decode("utf-8"), parse_float=_no_fraction)
            json.dumps(document, ensure_ascii=False).encode()  # raises for half characters
        except (ValueError, RecursionError) as error:
            document = error
        if not isinstance(document, dict):
            why = "it is missing" if text is None else "it is not a JSON object"
            checks.append(failed(f"{kind}-readable", name, why, COPY_AGAIN))
            continue
        checks.append(passed(f"{kind}-readable", name, "a JSON object"))
        errors = list(islice(schema_errors(document, load_schema(package, schema_name)), _MOST_ERRORS))
        checks += [failed(f"{kind}-schema", name, error) for error in errors]
        if errors:
            continue
        checks.append(passed(f"{kind}-schema", name, f"valid by {schema_name}"))
        found[kind] = document
        if kind == "manifest":
            same = (json.dumps(document, indent=2) + "\n").encode() == text
            checks.append(judged("manifest-form", name, same, "as written", "it was edited", cure=COPY_AGAIN))
    return Documents(found["manifest"], found["plan"]) if len(found) == len(_SCHEMAS) else None


def _no_fraction(text: str) -> float:
    """Offsets and sizes are whole numbers, and so is everything else in these documents."""
    raise ValueError(f"{text} is no whole number")


def check_steps(documents: Documents) -> Iterator[Check]:
    """The order that every plan has."""
    steps = documents.plan["steps"]
    identities = [step["id"] for step in steps]
    stages = [_STAGES.index(step["stage"]) for step in steps]
    writes = [step["kind"] for step in steps].count("write_images")
    enabling = set(documents.plan["enabling_fields"])
    burned = {step["field"] for step in steps if step["kind"] == "burn_field"}
    last_key = max((i for i, step in enumerate(steps) if step["kind"] == "burn_key"), default=-1)
    first_enabled = min((i for i, step in enumerate(steps) if step.get("field") in enabling), default=len(steps))
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


def _order(plan: dict[str, Any]) -> Check:
    try:
        replay_plan(plan)
    except CheckError as error:
        return failed("plan-order", PLAN, error.cause, error.cure)
    except SecureProvisionError as error:
        return Check("plan-order", PLAN, Outcome.NOT_VERIFIABLE, f"{error.code}: {error.cause}")
    return passed("plan-order", PLAN, "no step stands where it would damage a chip")
