# SPDX-License-Identifier: Apache-2.0
"""Ways to spoil what ESP-IDF built: its description files, images and partition table."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from bad_world import APP, BOOTLOADER, SECURE, TABLE, World, case, public_half, unreadable

from secure_ext.formats.partition_table import FLAG_ENCRYPTED, TYPE_APP, TYPE_DATA, Partition, build_partition_table
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.sample.options import partitions_of

# ---- the files that describe the build


@case("SE101", 3)
def no_build_directory(world: World) -> None:
    world.build = world.folder / "nowhere"


@case("SE101", 3)
def build_directory_is_a_file(world: World) -> None:
    world.build = world.file("build.txt", b"text")


@case("SE102", 3)
def no_project_description(world: World) -> None:
    world.path("project_description.json").unlink()


@case("SE103", 3)
def truncated_project_description(world: World) -> None:
    world.cut("project_description.json", 100)


@case("SE103", 3)
def project_description_of_random_bytes(world: World) -> None:
    world.path("project_description.json").write_bytes(bytes(range(256)))


@case("SE103", 3)
def project_description_is_a_list(world: World) -> None:
    world.path("project_description.json").write_text("[]", encoding="utf-8")


@case("SE103", 3)
def project_description_of_brackets(world: World) -> None:
    world.path("project_description.json").write_text("[" * 100_000, encoding="utf-8")


@case("SE102", 3)
def no_flasher_args(world: World) -> None:
    world.path("flasher_args.json").unlink()


@case("SE103", 3)
def empty_flasher_args(world: World) -> None:
    world.path("flasher_args.json").write_bytes(b"")


@case("SE111", 3)
def flasher_args_without_files(world: World) -> None:
    world.edit("flasher_args.json", lambda args: args.pop("flash_files"))


@case("SE111", 3)
def flasher_args_with_a_word_for_an_address(world: World) -> None:
    world.edit("flasher_args.json", lambda args: args["app"].update(offset="behind the table"))


@case("SE109", 3)
def two_files_for_one_address(world: World) -> None:
    world.edit("flasher_args.json", lambda args: args.update(extra={"offset": "0x20000", "file": "extra.bin"}))


@case("SE107", 3)
def flasher_args_with_a_file_that_is_not_there(world: World) -> None:
    world.path(APP).unlink()


@case("SE106", 3)
def flasher_args_without_an_app(world: World) -> None:
    def change(args: dict[str, Any]) -> None:
        del args["flash_files"]["0x20000"], args["app"]

    world.edit("flasher_args.json", change)


@case("SE102", 3)
def no_sdkconfig_json(world: World) -> None:
    world.path("config/sdkconfig.json").unlink()


@case("SE103", 3)
def truncated_sdkconfig_json(world: World) -> None:
    world.cut("config/sdkconfig.json", 500)


@case("SE112", 3)
def sdkconfig_of_another_chip(world: World) -> None:
    world.edit("config/sdkconfig.json", lambda values: values.update(IDF_TARGET="esp32s3"))


@case("SE104", 3)
def esp_idf_4_4(world: World) -> None:
    def change(description: dict[str, Any]) -> None:
        del description["bootloader_elf"]
        description["git_revision"] = "v4.4.6"

    world.edit("project_description.json", change)


@case("SE105", 3)
def unknown_target(world: World) -> None:
    world.edit("project_description.json", lambda description: description.update(target="esp8266"))


@case("SE108", 3)
def unreadable_file(world: World) -> None:
    path = world.path("config/sdkconfig.json")
    path.unlink()
    path.symlink_to(unreadable())


# ---- images


@case("SE140", 3)
def truncated_app(world: World) -> None:
    world.cut(APP, 70_000)


@case("SE140", 3)
def empty_app(world: World) -> None:
    world.path(APP).write_bytes(b"")


@case("SE140", 3)
def truncated_bootloader(world: World) -> None:
    world.cut(BOOTLOADER, 10)


@case("SE143", 3)
def app_is_encrypted_already(world: World) -> None:
    size = len(world.path(APP).read_bytes())
    world.path(APP).write_bytes(
        b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(size // 32))
    )


@case("SE143", 3)
def bootloader_is_encrypted_already(world: World) -> None:
    blocks = (hashlib.sha256(b"boot" + bytes([i % 256, i // 256])).digest() for i in range(640))
    world.path(BOOTLOADER).write_bytes(b"".join(blocks))


@case("SE144", 3)
def app_is_an_elf_file(world: World) -> None:
    world.path(APP).write_bytes(b"\x7fELF" + bytes(5000))


@case("SE144", 3)
def bootloader_is_an_elf_file(world: World) -> None:
    world.path(BOOTLOADER).write_bytes(b"\x7fELF" + bytes(5000))


@case("SE142", 3)
def bootloader_is_erased_flash(world: World) -> None:
    world.path(BOOTLOADER).write_bytes(b"\xff" * 0x5000)


@case("SE145", 3)
def app_is_the_partition_table(world: World) -> None:
    world.path(APP).write_bytes(world.path(TABLE).read_bytes())


@case("SE147", 3)
def a_flipped_bit_in_the_app(world: World) -> None:
    content = bytearray(world.path(APP).read_bytes())
    content[5000] ^= 0x10
    world.path(APP).write_bytes(content)


@case("SE148", 3)
def a_changed_hash_of_the_app(world: World) -> None:
    content = bytearray(world.path(APP).read_bytes())
    content[-1] ^= 1
    world.path(APP).write_bytes(content)


@case("SE404", 1)
def app_of_another_chip(world: World) -> None:
    content = bytearray(world.path(APP).read_bytes())
    content[12] = 13
    content[-32:] = hashlib.sha256(content[:-32]).digest()
    world.path(APP).write_bytes(content)


@case("SE146", 3)
def app_of_an_unknown_chip(world: World) -> None:
    content = bytearray(world.path(APP).read_bytes())
    content[12] = 0x77
    world.path(APP).write_bytes(content)


@case("SE404", 1)
def app_signed_by_a_foreign_key(world: World) -> None:
    signed = sign(world.path(APP).read_bytes(), [load_signing_key(world.keys["rsa_3"])], place="app")
    world.path(APP).write_bytes(signed)


@case("SE529", 1)
def app_signed_by_a_foreign_key_and_ours_is_made_later(world: World) -> None:
    """What the doctor cannot know: a generated key has not been looked at when it examines."""
    app_signed_by_a_foreign_key(world)
    world.signing_keys = ()
    world.profile("secure_boot: {keys: [generate]}\n")


@case("SE404", 1)
def app_with_a_damaged_signature(world: World) -> None:
    signed = bytearray(sign(world.path(APP).read_bytes(), [load_signing_key(world.keys["rsa_0"])], place="app"))
    signed[-0x1000 + 900] ^= 1
    world.path(APP).write_bytes(signed)


@case("SE712", 2)
def only_public_key_for_an_unsigned_app(world: World) -> None:
    world.signing_keys = (public_half(world, "rsa_0"),)


# ---- partition table and room


@case("SE120", 3)
def truncated_table(world: World) -> None:
    world.cut(TABLE, 100)


@case("SE125", 3)
def table_as_csv(world: World) -> None:
    world.path(TABLE).write_bytes((world.build.parent / "partitions.csv").read_bytes())


@case("SE123", 3)
def table_with_a_broken_md5(world: World) -> None:
    content = bytearray(world.path(TABLE).read_bytes())
    content[8] ^= 1
    world.path(TABLE).write_bytes(content)


@case("SE122", 3)
def table_is_encrypted_already(world: World) -> None:
    world.path(TABLE).write_bytes(b"".join(hashlib.sha256(bytes([i])).digest() for i in range(96)))


@case("SE127", 3)
def empty_table(world: World) -> None:
    world.path(TABLE).write_bytes(build_partition_table(()))


@case("SE404", 1)
def bootloader_too_large_once_signed(world: World) -> None:
    world.rebuild(replace(SECURE, table_offset=0x5000, partitions=partitions_of(SECURE)))


@case("SE404", 1)
def app_larger_than_its_partition(world: World) -> None:
    world.rebuild(replace(SECURE, partitions=(Partition("factory", TYPE_APP, 0, 0x20000, 0x20000),)))


@case("SE404", 1)
def overlapping_partitions(world: World) -> None:
    more = Partition("other", TYPE_DATA, 0x40, 0x221000, 0x1000, FLAG_ENCRYPTED)
    world.rebuild(replace(SECURE, partitions=(*partitions_of(SECURE), more)))


@case("SE404", 1)
def flash_too_small(world: World) -> None:
    world.rebuild(replace(SECURE, flash_size="1MB"))
