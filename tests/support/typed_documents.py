# SPDX-License-Identifier: Apache-2.0
"""Documents for tests: the typed ones that suit a test, and their JSON to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from secure_ext.documents.manifest import Manifest
from secure_ext.documents.rehearsal import RehearsalOutcome
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import document_data, read_document

_T = TypeVar("_T")


def data_of(document: object) -> dict[str, Any]:
    """The JSON of a document, to be changed."""
    data = document_data(document)
    assert isinstance(data, dict)
    return data


def load(path: Path) -> dict[str, Any]:
    """The JSON of a document in a file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def changed(document: _T, **members: object) -> _T:
    """The document with other members, given as JSON, as its reader reads it."""
    return read_document(type(document), {**data_of(document), **members})


def plan_with(chip: str = "esp32c3", **members: object) -> PlanDocument:
    """A plan of a chip that writes its images, with members of its own."""
    step = {**step_data("flash"), "id": "write-images", "kind": "write_images"}
    empty: dict[str, object] = {
        **{"schema": 1, "chip": chip, "min_revision": 0, "max_revision": None, "virtual_revision_bits": []},
        **{"least_esptool": [4, 8], "layout": [], "enabling_fields": [], "must_be_clear": [], "images": []},
        "steps": [step],
    }
    return read_document(PlanDocument, {**empty, **members})


def step_data(stage: str) -> dict[str, Any]:
    """What every step of a stage has."""
    words = {"title": "a title", "why": "a reason", "source": "a source", "id": "a-step"}
    return {**words, "stage": stage, "irreversible": stage != "flash", "min_revision": 0}


def field_data(field: str, value: int = 1, **members: object) -> dict[str, Any]:
    """A step that burns a field."""
    return {**step_data("burn"), "kind": "burn_field", "field": field, "value": value, **members}


def key_data(**members: object) -> dict[str, Any]:
    """A step that burns a flash encryption key into the first block of an esp32c3."""
    return {
        **step_data("burn"),
        **{"kind": "burn_key", "role": "flash_encryption_key", "file": "keys/flash_encryption_key.bin"},
        **{"fingerprint": None, "length": 32, "reversed": True, "block": "BLOCK_KEY0", "block_number": 4},
        **{"burn_name": "BLOCK_KEY0", "part": "whole", "purpose": "XTS_AES_128_KEY", "purpose_field": "KEY_PURPOSE_0"},
        **{"wr_dis_bits": [23, 8], "rd_dis_bits": [0], "readable_bits": []},
        **members,
    }


def place_data(field: str) -> dict[str, Any]:
    """Where a field is, for what looks at nothing but its name."""
    return {"field": field, "block": 0, "start": 0, "bits": 1, "min_revision": 0}


def outcome_for(bundle: str, *, passed: bool = True, **members: object) -> RehearsalOutcome:
    """The outcome of a rehearsal of the bundle with that identity."""
    return read_document(
        RehearsalOutcome,
        {
            **{"schema": 1, "tool": "idf-secure-provision 0.2.0", "esptool": "5.6.0", "bundle": bundle},
            **{"chip": "esp32c3", "date": "2026-01-02T03:04:05Z", "passed": passed},
            "means": [{"name": "the script", "passed": passed, "evidence": ["DONE."]}],
            **{"boot_log": ["secure boot is on"], "power_cuts": None},
            **members,
        },
    )


def manifest_with(**members: object) -> Manifest:
    """A manifest of a bundle with three images, with members of its own."""
    digest = "0" * 64
    row = {"type": "data", "subtype": "nvs", "offset": 0x9000, "size": 0x1000, "flags": 0, "encrypted": False}
    image = {
        **{"name": "app", "role": "app", "partition": None, "file": "images/app.bin", "offset": 0x10000, "size": 10},
        **{"sha256": digest, "encrypted": True, "encrypt_per_device": False, "signed": True},
        **{"source": "app.bin", "source_sha256": digest, "recipe": None},
    }
    tools = {"python": "3.12", "esptool": "5.6.0", "cryptography": "45.0"}
    inputs = {"sdkconfig": digest, "flasher_args": digest, "partition_table": digest, "profile": None}
    usual: dict[str, object] = {
        **{"schema": 1, "tool": "idf-secure-provision 0.2.0", "chip": "esp32c3", "idf_version": None},
        **{"project": "sample", "created": "2026-01-02T03:04:05Z", "flash_size": None, "key_blocks": ["BLOCK_KEY0"]},
        "partitions": [
            {**row, "label": "nvs"},
            {**row, "label": "phy_init", "subtype": "phy"},
            {**row, "label": "ota_0", "type": "app", "subtype": "ota_0", "encrypted": True},
        ],
        **{"images": [image] * 3, "files": {}, "keys": [], "inputs": {**inputs, "options": {}, "tools": tools}},
        **{"checks": [], "findings": [], "per_device": None},
    }
    return read_document(Manifest, {**usual, **members})
