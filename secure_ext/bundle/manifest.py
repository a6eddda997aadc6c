"""The manifest: what is in a bundle, from what it was made, and what was proved. It holds no secret."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
from pathlib import Path
from typing import Any

from secure_ext import __version__
from secure_ext.bundle.produce import Check, ProducedImage
from secure_ext.keys.fingerprint import fingerprint
from secure_ext.plan.decide import Decision
from secure_ext.plan.document import key_length
from secure_ext.plan.steps import KeyRole

SCHEMA = 1


def image_file(produced: ProducedImage) -> str:
    """The path of an image inside the bundle."""
    return f"images/{produced.planned.name}.bin"


SEAL_TO = "seal_to.pem"
"""The file, in a bundle with keys per device, of the public key that sealed copies are encrypted to."""


def manifest(
    decision: Decision, images: list[ProducedImage], burned: dict[KeyRole, bytes], checks: list[Check], folder: Path
) -> dict[str, Any]:
    """The manifest of the bundle in `folder`, whose other files are all written."""
    build = decision.build
    later = decision.policy.flash_encryption.key.per_device
    return {
        "schema": SCHEMA,
        "tool": f"idf-secure-provision {__version__}",
        "chip": build.chip,
        "idf_version": build.idf_version,
        "project": build.project_name,
        "created": _created(),
        "images": [_image(produced, encrypt_later=later) for produced in images],
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in public_files(folder)},
        "keys": [
            {
                "role": key.role.value,
                "fingerprint": fingerprint(burned[key.role][: key_length(key)]) if key.role in burned else None,
                "block": key.block.name,
                "purpose": key.purpose or None,
            }
            for key in decision.plan.keys
        ],
        "checks": [{"name": check.name, "image": check.image, "evidence": check.evidence} for check in checks],
        "per_device": _per_device(decision, burned),
    }


def _per_device(decision: Decision, burned: dict[KeyRole, bytes]) -> dict[str, Any] | None:
    policy = decision.policy
    if not policy.has_per_device_keys:
        return None
    return {
        "keys": [key.role.value for key in decision.plan.keys if key.role not in burned],
        "keep": policy.per_device.keep.value,
        "seal_to": SEAL_TO if policy.per_device.seal_to else None,
    }


def public_files(folder: Path) -> list[str]:
    """Every file of a bundle but the manifest and what is secret or belongs to one board, with forward slashes."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    private = ("keys/", "journal/", "sealed/")
    return sorted(name for name in names if not name.startswith(private) and name != "manifest.json")


def _image(produced: ProducedImage, *, encrypt_later: bool) -> dict[str, Any]:
    planned = produced.planned
    return {
        "name": planned.name,
        "role": planned.role.value,
        "partition": planned.partition,
        "file": image_file(produced),
        "offset": planned.offset,
        "size": len(produced.content),
        "sha256": produced.sha256,
        "encrypted": planned.encrypt and not encrypt_later,
        "encrypt_per_device": planned.encrypt and encrypt_later,
        "signed": planned.sign,
        "source": planned.source,
        "source_sha256": hashlib.sha256(planned.content).hexdigest(),
    }


def _created() -> str:
    """The time in UTC; SOURCE_DATE_EPOCH (seconds), as reproducible builds set it, overrides the clock."""
    now = dt.datetime.now(tz=dt.timezone.utc)
    with contextlib.suppress(ValueError, OverflowError, OSError):  # not set, or no time
        now = dt.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "")), tz=dt.timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
