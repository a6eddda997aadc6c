# SPDX-License-Identifier: Apache-2.0
"""The manifest and the plan keep to their schemas and tell the truth, also of a bundle that is made again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.typed_documents import data_of, load

from secure_ext.bundle.write import Bundle, write_bundle
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.doctor.decide import decide
from secure_ext.errors import SecureProvisionError
from secure_ext.plan.document import SCHEMA as PLAN_VERSION
from secure_ext.plan.document import plan_document
from secure_ext.plan.steps import KeyRole
from secure_ext.policy.profile import Profile, Value
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.plan_document import ImageEntry

Snapshot = Callable[..., dict[str, tuple[int, bytes]]]


def schema(package: str, name: str) -> dict[str, Any]:
    content = json.loads((resources.files(package) / name).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


MANIFEST = schema("secure_ext.documents", "manifest.schema.json")
PLAN = schema("secure_ext.documents", "plan.schema.json")
LATER_MEMBERS = {
    *(
        "requirements",
        "identity",
        "signs",
        "settings",
        "readable",
        "build_dir",
        "key_home",
        "carried",
        "boot",
        "mac_list",
        "pem",
        "places",
    ),
}
"""Not in the documents of earlier versions, which are still read."""
VALID_MANIFEST = jsonschema.Draft202012Validator(MANIFEST)
VALID_PLAN = jsonschema.Draft202012Validator(PLAN)


def parts_of(described: Any) -> Iterator[dict[str, Any]]:
    """Every part of a schema that describes an object."""
    if isinstance(described, dict):
        if "properties" in described:
            yield described
        for value in described.values():
            yield from parts_of(value)
    elif isinstance(described, list):
        for value in described:
            yield from parts_of(value)


@pytest.mark.parametrize("described", [MANIFEST, PLAN], ids=["manifest", "plan"])
def test_schemas_are_strict_and_explained(described: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(described)
    assert described["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    objects = list(parts_of(described))
    assert len(objects) >= 4
    for part in objects:
        assert part["additionalProperties"] is False
        assert part["required"] == [name for name in part["properties"] if name not in LATER_MEMBERS]
        assert part["description"]
        assert all(value.get("description") for value in part["properties"].values())
    assert described["properties"]["chip"]["enum"] == list(CHIP_NAMES)


def test_schema_of_the_plan_knows_every_role() -> None:
    for described in (PLAN["$defs"]["key_step"], MANIFEST["$defs"]["manifest_key"]):
        assert described["properties"]["role"]["enum"] == [role.value for role in KeyRole]
    assert PLAN["properties"]["schema"]["const"] == PLAN_VERSION


def test_bundle_keeps_to_the_schemas(bundle: Bundle) -> None:
    VALID_MANIFEST.validate(load(bundle.folder / "manifest.json"))
    VALID_PLAN.validate(load(bundle.folder / "plan.json"))
    assert load(bundle.folder / "manifest.json") == data_of(bundle.manifest)
    assert load(bundle.folder / "plan.json") == data_of(bundle.plan)


@pytest.mark.parametrize("chip", ["esp32", "esp32c2", "esp32c3"])
def test_plan_without_a_bundle_keeps_to_the_schema(
    chip: str, sample_project: Callable[[str], Path], signing_key_for: Callable[[str], Path]
) -> None:
    profile = Profile(Path(), {"secure_boot.keys": (str(signing_key_for(chip)),)})
    decision = decide(sample_project(chip) / "build", profile)
    VALID_PLAN.validate(data_of(plan_document(decision.plan, decision.chip)))


def test_schemas_refuse_what_is_wrong(bundle: Bundle) -> None:
    def spoilt(typed: object, *path: str | int, value: object) -> dict[str, Any]:
        document = data_of(typed)
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return document

    for document in (
        spoilt(bundle.manifest, "more", value=1),
        spoilt(bundle.manifest, "schema", value=2),
        spoilt(bundle.manifest, "chip", value="esp8266"),
        spoilt(bundle.manifest, "files", "keys/flash_encryption_key.bin", value="0" * 64),
        spoilt(bundle.manifest, "files", "../outside", value="0" * 64),
        spoilt(bundle.manifest, "files", "back\\slash", value="0" * 64),
        spoilt(bundle.manifest, "images", 0, "sha256", value="A" * 64),
        spoilt(bundle.manifest, "images", 0, "offset", value="0x1000"),
        spoilt(bundle.manifest, "keys", 0, "value", value="00"),
    ):
        assert not VALID_MANIFEST.is_valid(document)
    for document in (
        spoilt(bundle.plan, "more", value=1),
        spoilt(bundle.plan, "steps", 0, "kind", value="reset"),
        spoilt(bundle.plan, "steps", 0, "stage", value="burn"),
        spoilt(bundle.plan, "steps", 2, "irreversible", value=False),
        spoilt(bundle.plan, "steps", 2, "key", value="00"),
    ):
        assert not VALID_PLAN.is_valid(document)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_hashes_are_right(bundle: Bundle) -> None:
    listed = bundle.manifest.files
    assert set(listed) == {
        name for name in files_of(bundle.folder) if name != "manifest.json" and not name.startswith("keys/")
    }
    assert list(listed) == sorted(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((bundle.folder / name).read_bytes()).hexdigest() == digest


def test_keys_are_not_listed_and_are_who_they_say(bundle: Bundle) -> None:
    assert not [name for name in bundle.manifest.files if name.startswith(("keys", "journal"))]
    roles = [key.role for key in bundle.manifest.keys]
    assert "flash_encryption_key" in roles and "secure_boot_digest_0" in roles
    steps = {step.role: step for step in bundle.plan.keys}
    assert list(steps) == roles
    for key in bundle.manifest.keys:
        step = steps[key.role]
        assert (step.block, step.purpose or None) == (key.block, key.purpose)
        content = (bundle.folder / step.file).read_bytes()
        assert fingerprint(content[: step.length]) == key.fingerprint == step.fingerprint


def test_images_are_what_they_say(bundle: Bundle, sample_project: Callable[[str], Path]) -> None:
    build_dir = sample_project(bundle.manifest.chip) / "build"
    images = bundle.manifest.images
    assert [image.offset for image in images] == sorted(image.offset for image in images)
    for image in images:
        content = (bundle.folder / image.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (image.size, image.sha256)
        source = (build_dir / image.source).read_bytes()
        assert hashlib.sha256(source).hexdigest() == image.source_sha256
        assert image.encrypted
        assert image.signed == (image.role in ("app", "bootloader"))
    assert bundle.plan.images == tuple(ImageEntry(i.file, i.offset, i.size, i.sha256) for i in images)


def test_every_proof_is_recorded(bundle: Bundle) -> None:
    proofs = {(check.name, check.image) for check in bundle.manifest.checks}
    for image in bundle.manifest.images:
        assert ("decrypts to the source", image.name) in proofs
        assert ("holds the built image", image.name) in proofs
        assert (("signatures verify", image.name) in proofs) == image.signed


def test_source_date_epoch(
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    profile = Profile(Path(), {"secure_boot.keys": (str(signing_keys["rsa_0"]),)})
    made = write_bundle(decide(sample_project("esp32c3") / "build", profile), tmp_path / "out", lambda _: None)
    assert made.manifest.created == "2023-11-14T22:13:20Z"


# ---- made again in the same place


@pytest.fixture
def make(sample_project: Callable[[str], Path], signing_keys: dict[str, Path], tmp_path: Path) -> Callable[..., Bundle]:
    def run(output: str = "out", **values: Value) -> Bundle:
        settings: dict[str, Value] = {"secure_boot.keys": (str(signing_keys["rsa_0"]), "generate")}
        settings |= {key.replace("__", "."): value for key, value in values.items()}
        decision = decide(sample_project("esp32c3") / "build", Profile(tmp_path, settings))
        return write_bundle(decision, tmp_path / output, lambda _: None)

    return run


def key_files(bundle: Bundle) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (bundle.folder / "keys").iterdir() if path.is_file()}


def test_made_again_keeps_generated_keys_and_journal(make: Callable[..., Bundle], tmp_path: Path) -> None:
    first = make()
    journal = tmp_path / "out" / "journal" / "aabbccddeeff.json"
    journal.parent.mkdir()
    journal.write_text("{}", encoding="utf-8")
    (tmp_path / "out" / "notes.txt").write_text("a note that is no part of a bundle", encoding="utf-8")
    keys = key_files(first)
    again = make()
    assert key_files(again) == keys
    assert set(keys) == {"flash_encryption_key.bin", "nvs_hmac_key.bin", "secure_boot_signing_key_1.pem", ".gitignore"}
    assert again.manifest.keys == first.manifest.keys
    assert again.plan.steps == first.plan.steps
    assert journal.read_text(encoding="utf-8") == "{}"
    assert "journal/aabbccddeeff.json" not in again.manifest.files
    assert files_of(tmp_path / "out") == {
        *again.manifest.files,
        "manifest.json",
        "journal/aabbccddeeff.json",
        *(f"keys/{name}" for name in keys),
    }


def test_made_elsewhere_gets_keys_of_its_own(make: Callable[..., Bundle]) -> None:
    assert not set(key_files(make()).values()) & set(key_files(make(output="other")).values())


def test_made_again_where_it_was_moved_away_it_has_the_same_keys(make: Callable[..., Bundle], tmp_path: Path) -> None:
    keys = key_files(make())
    (tmp_path / "out").rename(tmp_path / "first")
    assert key_files(make()) == keys


def test_a_given_key_replaces_a_generated_one(make: Callable[..., Bundle], tmp_path: Path) -> None:
    make()
    given = hashlib.sha256(b"a given key").digest()
    (tmp_path / "flash.bin").write_bytes(given)
    assert key_files(make(flash_encryption__key="flash.bin"))["flash_encryption_key.bin"] == given


def test_the_only_copy_of_a_key_is_never_deleted(
    make: Callable[..., Bundle], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    """Boards may have been burned with a generated key: making the bundle again without it must not lose it."""
    keys = key_files(make())
    less: dict[str, Value] = {
        "secure_boot__keys": (str(signing_keys["rsa_0"]),),
        "nvs__scheme": "off",
        "doctor__accept": ("SP027",),
    }
    with contextlib.suppress(SecureProvisionError):  # to refuse is as good as to keep
        make(**less)
    left = {path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(keys.values()) <= left
