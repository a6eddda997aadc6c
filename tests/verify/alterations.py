# SPDX-License-Identifier: Apache-2.0
"""Ways to spoil a bundle, each with the name of the check that must see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from manifest_alterations import IN_THE_MANIFEST
from verify_bundles import Made

from secure_ext.formats.image import parse_image
from secure_ext.formats.secure_boot import SECTOR, public_key_digest, sign
from secure_ext.keys.signing import load_signing_key, load_verification_key
from secure_ext.station.fingerprint import fingerprint


@dataclass(frozen=True)
class Alteration:
    """What is done to which of the two bundles, and which check sees it."""

    name: str
    seen_by: str
    spoil: Callable[[Made], None]
    bundle: str = "encrypted"


ALTERATIONS: list[Alteration] = []


def set_at(document: Any, path: str, value: object) -> None:
    """A member by its path; a dot in a name is written as a backslash and a dot."""
    *parents, last = path.replace("\\.", "\0").split(".")
    for name in parents:
        document = document[int(name) if isinstance(document, list) else name.replace("\0", ".")]
    document[int(last) if isinstance(document, list) else last.replace("\0", ".")] = value


def _field(path: str, value: object) -> Callable[[Made], None]:
    def spoil(made: Made) -> None:
        manifest = made.load()
        set_at(manifest, path, value)
        made.store(manifest)

    return spoil


ALTERATIONS += [Alteration(f"{p}={v!r}"[:60], seen_by, _field(p, v)) for p, v, seen_by in IN_THE_MANIFEST]


def alteration(seen_by: str, bundle: str = "encrypted") -> Callable[[Callable[[Made], None]], Callable[[Made], None]]:
    def add(spoil: Callable[[Made], None]) -> Callable[[Made], None]:
        ALTERATIONS.append(Alteration(spoil.__name__, seen_by, spoil, bundle))
        return spoil

    return add


def _flip(name: str, at: int = -1) -> Callable[[Made], None]:
    def spoil(made: Made) -> None:
        content = bytearray((made.folder / name).read_bytes())
        content[at] ^= 1
        (made.folder / name).write_bytes(content)

    return spoil


def _remove(name: str) -> Callable[[Made], None]:
    return lambda made: (made.folder / name).unlink()


LISTED = (
    *("plan.json", "provision.py", "commands.sh", "commands.ps1", "report.html", "rehearsal.json"),
    *(f"images/{name}.bin" for name in ("bootloader", "partition-table", "otadata", "sample")),
    "digests/secure_boot_digest_0.bin",
)
ALTERATIONS += [
    Alteration(f"a bit of {name}", "plan-readable" if name == "plan.json" else "file-hash", _flip(name))
    for name in LISTED
]
ALTERATIONS += [
    Alteration(f"no {name}", "plan-readable" if name == "plan.json" else "file-missing", _remove(name))
    for name in LISTED
]
ALTERATIONS += [
    Alteration("a bit of a key", "key-fingerprint", _flip("keys/flash_encryption_key.bin")),
    Alteration("a bit of the HMAC key", "key-fingerprint", _flip("keys/nvs_hmac_key.bin")),
    Alteration("no manifest", "manifest-readable", _remove("manifest.json")),
    Alteration("a bit of the manifest", "manifest-readable", _flip("manifest.json", 0)),
]


# ---- files


@alteration("file-extra")
def a_file_more(made: Made) -> None:
    (made.folder / "images" / "more.bin").write_bytes(b"more")


@alteration("file-extra")
def a_hidden_file(made: Made) -> None:
    (made.folder / ".hidden").write_bytes(b"")


@alteration("key-folder")
def a_file_more_among_the_keys(made: Made) -> None:
    (made.folder / "keys" / "run.sh").write_bytes(b"#!/bin/sh\n")


@alteration("key-permissions")
def keys_that_others_can_read(made: Made) -> None:
    (made.folder / "keys" / "nvs_hmac_key.bin").chmod(0o644)


@alteration("key-permissions")
def a_key_folder_that_others_can_read(made: Made) -> None:
    (made.folder / "keys").chmod(0o755)


@alteration("file-kind")
def a_link_in_place_of_a_file(made: Made) -> None:
    path = made.folder / "commands.sh"
    path.rename(made.folder.with_suffix(".sh"))
    path.symlink_to(made.folder.with_suffix(".sh"))


@alteration("file-unlisted")
def a_file_less_and_not_listed(made: Made) -> None:
    (made.folder / "commands.sh").unlink()
    made.relist()


@alteration("file-foreign")
def a_program_beside_the_script(made: Made) -> None:
    (made.folder / "argparse.py").write_text("print('foreign')\n")
    made.relist()


@alteration("file-names")
def a_name_that_is_another_on_windows(made: Made) -> None:
    (made.folder / "provision.py.").write_text("print('foreign')\n")
    made.relist()


@alteration("manifest-readable")
def a_member_of_the_manifest_twice(made: Made) -> None:
    path = made.folder / "manifest.json"
    path.write_text(path.read_text().replace('{\n  "schema": 1,', '{\n  "schema": 1,\n  "schema": 1,'))


@alteration("manifest-form")
def a_space_behind_the_manifest(made: Made) -> None:
    with (made.folder / "manifest.json").open("a") as file:
        file.write(" ")


# ---- a forger who also mends the hashes


@alteration("script-text")
def a_line_of_the_script(made: Made) -> None:
    path = made.folder / "provision.py"
    path.write_text(path.read_text().replace("actual != expected", "False", 1))
    made.relist()


@alteration("script-text")
def a_value_in_the_scripts_plan(made: Made) -> None:
    path = made.folder / "provision.py"
    path.write_text(path.read_text().replace("'irreversible': True", "'irreversible': False", 1))
    made.relist()


@alteration("shell-text")
def a_plain_command(made: Made) -> None:
    path = made.folder / "commands.sh"
    path.write_text(path.read_text().replace("burn-key", "burn-key --force-write-always", 1))
    made.relist()


@alteration("powershell-text")
def a_plain_command_for_windows(made: Made) -> None:
    path = made.folder / "commands.ps1"
    path.write_text(path.read_text() + "curl example.org\n")
    made.relist()


def _plan(made: Made, change: Callable[[list[dict[str, Any]]], object]) -> None:
    plan = made.load("plan.json")
    change(plan["steps"])
    made.store(plan, "plan.json")
    made.reseal()


@alteration("plan-from-build")
def a_step_less(made: Made) -> None:
    _plan(made, lambda steps: steps.pop())


@alteration("plan-requirements")
def nothing_asked_of_a_board(made: Made) -> None:
    plan = made.load("plan.json")
    del plan["requirements"]
    made.store(plan, "plan.json")
    made.reseal()


@alteration("plan-steps")
def steps_in_another_order(made: Made) -> None:
    _plan(made, lambda steps: steps.append(steps.pop(2)))


@alteration("plan-steps")
def a_step_twice(made: Made) -> None:
    _plan(made, lambda steps: steps.append(steps[-1]))


@alteration("plan-steps")
def images_that_are_not_written(made: Made) -> None:
    _plan(made, lambda steps: steps.pop([step["kind"] for step in steps].index("write_images")))


@alteration("plan-schema")
def a_kind_of_step_that_does_not_exist(made: Made) -> None:
    _plan(made, lambda steps: steps[0].update(kind="reset"))


@alteration("plan-from-build")
def an_efuse_burned_otherwise(made: Made) -> None:
    _plan(made, lambda steps: next(s for s in steps if s["kind"] == "burn_field").update(value=2))


@alteration("manifest-key")
def a_key_in_another_block(made: Made) -> None:
    _plan(made, lambda steps: next(s for s in steps if s["kind"] == "burn_key").update(block="BLOCK_KEY4"))


def _swap(made: Made, one: str, other: str) -> None:
    first, second = made.folder / "images" / one, made.folder / "images" / other
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


@alteration("file-hash")
def images_swapped(made: Made) -> None:
    _swap(made, "sample.bin", "bootloader.bin")


@alteration("image-content")
def images_swapped_and_hashes_mended(made: Made) -> None:
    _swap(made, "sample.bin", "bootloader.bin")
    made.reseal()


@alteration("image-content")
def a_bit_of_ciphertext(made: Made) -> None:
    _flip("images/sample.bin", 0x40)(made)
    made.reseal()


@alteration("image-ciphertext")
def plaintext_in_place_of_ciphertext(made: Made) -> None:
    content = (made.build / "sample.bin").read_bytes()
    (made.folder / "images" / "sample.bin").write_bytes(content)
    made.reseal()


@alteration("image-decrypts")
def a_cut_off_image(made: Made) -> None:
    path = made.folder / "images" / "otadata.bin"
    path.write_bytes(path.read_bytes()[:-1])
    made.reseal()


@alteration("image-overlap")
def an_image_that_reaches_into_the_next(made: Made) -> None:
    path = made.folder / "images" / "bootloader.bin"
    path.write_bytes(path.read_bytes() + bytes(0x10000))
    made.reseal()


@alteration("rehearsal")
def a_rehearsal_of_another_bundle(made: Made) -> None:
    made.store({**made.load("rehearsal.json"), "bundle": "0" * 64}, "rehearsal.json")
    made.relist()


@alteration("rehearsal")
def a_rehearsal_that_failed(made: Made) -> None:
    made.store({**made.load("rehearsal.json"), "passed": False}, "rehearsal.json")
    made.relist()


@alteration("rehearsal")
def a_rehearsal_that_cannot_be_read(made: Made) -> None:
    (made.folder / "rehearsal.json").write_text(json.dumps([]))
    made.relist()


# ---- seen with what is given to verify


@alteration("signing-keys")
def another_signing_key(made: Made) -> None:
    digest = public_key_digest(load_verification_key(made.keys["rsa_1"]))
    (made.folder / "digests" / "secure_boot_digest_0.bin").write_bytes(digest)
    manifest, plan = made.load(), made.load("plan.json")
    for key in (*manifest["keys"], *plan["steps"]):
        if key.get("role") == "secure_boot_digest_0":
            key["fingerprint"] = fingerprint(digest)
    made.store(manifest)
    made.store(plan, "plan.json")
    made.reseal()


# ---- images that everybody can read: signatures

APP = "images/sample.bin"


def _resign(made: Made, content: bytes, *keys: str) -> None:
    signed = sign(content, [load_signing_key(made.keys[key]) for key in keys], place="")
    (made.folder / APP).write_bytes(signed)
    made.reseal()


def _body(made: Made) -> bytes:
    return (made.folder / APP).read_bytes()[:-SECTOR]


@alteration("image-source", "readable")
def an_older_image_with_a_right_signature(made: Made) -> None:
    _resign(made, (made.build / "bootloader" / "bootloader.bin").read_bytes(), "rsa_0", "rsa_1")


@alteration("image-signatures", "readable")
def an_older_signature(made: Made) -> None:
    other = sign(bytes(SECTOR), [load_signing_key(made.keys[key]) for key in ("rsa_0", "rsa_1")], place="")
    (made.folder / APP).write_bytes(_body(made) + other[-SECTOR:])
    made.reseal()


@alteration("image-signatures", "readable")
def a_signature_less(made: Made) -> None:
    _resign(made, _body(made), "rsa_0")


@alteration("image-signatures", "readable")
def a_foreign_signature_more(made: Made) -> None:
    _resign(made, _body(made), "rsa_0", "rsa_1", "rsa_2")


@alteration("image-signatures", "readable")
def a_foreign_signature_instead(made: Made) -> None:
    _resign(made, _body(made), "rsa_0", "rsa_2")


@alteration("image-signatures", "readable")
def no_signature(made: Made) -> None:
    (made.folder / APP).write_bytes(_body(made))
    made.reseal()


@alteration("image-signatures", "readable")
def a_bit_of_the_signature(made: Made) -> None:
    length = len((made.folder / APP).read_bytes())
    _flip(APP, length - SECTOR + 900)(made)
    made.reseal()


@alteration("image-content", "readable")
def a_bit_of_the_code(made: Made) -> None:
    header = parse_image(_body(made), place="")
    _flip(APP, header.image_length // 2)(made)
    made.reseal()


@alteration("image-content", "readable")
def an_image_for_another_chip(made: Made) -> None:
    content = bytearray((made.folder / APP).read_bytes())
    content[12] = 5
    (made.folder / APP).write_bytes(content)
    made.reseal()


@alteration("image-content", "readable")
def a_row_of_the_partition_table(made: Made) -> None:
    _flip("images/partition-table.bin", 4)(made)
    made.reseal()


@alteration("key-fingerprint", "readable")
def a_bit_of_a_digest(made: Made) -> None:
    _flip("digests/secure_boot_digest_1.bin")(made)
    made.relist()
