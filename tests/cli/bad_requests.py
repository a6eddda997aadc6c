# SPDX-License-Identifier: Apache-2.0
"""Ways to spoil what the user gives: keys, profile, what cannot be done, the output."""

from __future__ import annotations

import hashlib

from bad_world import SECURE, World, case, pem, unreadable
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from secure_ext.sample.options import SampleOptions

# ---- keys


@case("SE601", 3)
def missing_signing_key(world: World) -> None:
    world.signing_keys = (world.folder / "none.pem",)


@case("SE318", 3)
def no_signing_key_at_all(world: World) -> None:
    world.signing_keys = ()


@case("SE602", 3)
def signing_key_is_no_pem(world: World) -> None:
    world.signing_keys = (world.file("key.der", bytes(range(200))),)


@case("SE606", 3)
def signing_key_is_cut_off(world: World) -> None:
    world.signing_keys = (world.file("cut.pem", world.keys["rsa_0"].read_bytes()[:700]),)


@case("SE606", 3)
def signing_key_is_garbled(world: World) -> None:
    lines = world.keys["rsa_0"].read_bytes().splitlines()
    lines[5:20] = [b"A" * 64] * 15
    world.signing_keys = (world.file("garbled.pem", b"\n".join(lines)),)


@case("SE603", 3)
def signing_key_with_a_password(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    world.signing_keys = (world.file("locked.pem", pem(key, serialization.BestAvailableEncryption(b"secret"))),)


@case("SE607", 3)
def signing_key_of_2048_bits(world: World) -> None:
    world.signing_keys = (world.file("short.pem", pem(rsa.generate_private_key(65537, 2048))),)


@case("SE609", 3)
def signing_key_on_p192(world: World) -> None:
    world.signing_keys = (world.file("p192.pem", pem(ec.generate_private_key(ec.SECP192R1()))),)


@case("SE609", 3)
def signing_key_on_secp256k1(world: World) -> None:
    world.signing_keys = (world.file("k1.pem", pem(ec.generate_private_key(ec.SECP256K1()))),)


@case("SE610", 3)
def signing_key_of_another_kind(world: World) -> None:
    world.signing_keys = (world.file("ed.pem", pem(ed25519.Ed25519PrivateKey.generate())),)


@case("SE611", 3)
def two_keys_in_one_file(world: World) -> None:
    both = world.keys["rsa_0"].read_bytes() + world.keys["rsa_1"].read_bytes()
    world.signing_keys = (world.file("both.pem", both),)


@case("SE710", 2)
def signing_key_of_another_scheme(world: World) -> None:
    world.signing_keys = (world.keys["ecdsa256"],)


@case("SE711", 2)
def same_signing_key_twice(world: World) -> None:
    copy = world.file("copy.pem", world.keys["rsa_0"].read_bytes())
    world.signing_keys = (world.keys["rsa_0"], copy)


@case("SE319", 2)
def four_signing_keys(world: World) -> None:
    world.signing_keys = tuple(world.keys[f"rsa_{number}"] for number in range(4))


@case("SE319", 2)
def two_signing_keys_on_esp32(world: World) -> None:
    world.rebuild(SECURE, "esp32")
    world.signing_keys = (world.keys["rsa_0"], world.keys["rsa_1"])


@case("SE601", 3)
def signing_key_that_cannot_be_read(world: World) -> None:
    world.signing_keys = (unreadable(),)


def flash_key(world: World, content: bytes) -> None:
    world.more = ("--flash-encryption-key", world.file("flash.bin", content))


@case("SE620", 3)
def missing_flash_encryption_key(world: World) -> None:
    world.more = ("--flash-encryption-key", world.folder / "none.bin")


@case("SE620", 3)
def flash_encryption_key_is_a_directory(world: World) -> None:
    world.more = ("--flash-encryption-key", world.folder)


@case("SE620", 3)
def flash_encryption_key_that_cannot_be_read(world: World) -> None:
    world.more = ("--flash-encryption-key", unreadable())


@case("SE621", 3)
def flash_encryption_key_of_the_wrong_length(world: World) -> None:
    flash_key(world, bytes(range(31)))


@case("SE621", 3)
def xts_256_key_for_xts_128(world: World) -> None:
    flash_key(world, hashlib.sha512(b"a key").digest())


@case("SE622", 3)
def flash_encryption_key_of_zeros(world: World) -> None:
    flash_key(world, bytes(32))


@case("SE623", 3)
def flash_encryption_key_of_one_byte(world: World) -> None:
    flash_key(world, b"\xa5" * 32)


@case("SE624", 3)
def flash_encryption_key_of_two_equal_halves(world: World) -> None:
    flash_key(world, hashlib.md5(b"a key", usedforsecurity=False).digest() * 2)


@case("SE626", 3)
def flash_encryption_key_that_counts(world: World) -> None:
    flash_key(world, bytes(range(32)))


@case("SE625", 3)
def flash_encryption_key_as_text(world: World) -> None:
    flash_key(world, b"00112233445566778899aabbccddeeff")


@case("SE711", 2)
def one_key_for_two_uses(world: World) -> None:
    world.file("key.bin", hashlib.sha256(b"a key").digest())
    world.profile("flash_encryption: {key: key.bin}\nnvs: {key: key.bin}\n")


# ---- the profile


@case("SE301", 3)
def missing_profile(world: World) -> None:
    world.more = ("--profile", world.folder / "none.yaml")


@case("SE302", 2)
def profile_is_no_yaml(world: World) -> None:
    world.profile("nvs: [")


@case("SE303", 2)
def profile_with_an_unknown_key(world: World) -> None:
    world.profile("flash_encryption: {modus: release}\n")


@case("SE304", 2)
def profile_with_a_wrong_value(world: World) -> None:
    world.profile("lockdown: {jtag: maybe}\n")


@case("SE312", 2)
def signing_key_per_device(world: World) -> None:
    world.signing_keys = ()
    world.profile("secure_boot: {keys: [per-device]}\n")


@case("SE680", 2)
def sealed_copies_without_a_key(world: World) -> None:
    world.profile("per_device: {keep: sealed}\n")


@case("SE681", 3)
def sealed_copies_to_a_private_key(world: World) -> None:
    name = world.file("private.pem", world.keys["rsa_0"].read_bytes()).name
    world.profile(f"per_device: {{keep: sealed, seal_to: {name}}}\nflash_encryption: {{key: per-device}}\n")


@case("SE313", 2)
def key_in_a_token(world: World) -> None:
    world.profile("nvs: {key: 'pkcs11:object=nvs'}\n")


@case("SE410", 2)
def image_for_an_unknown_partition(world: World) -> None:
    world.file("fs.bin", b"data")
    world.profile("images: {stroage: fs.bin}\n")


@case("SE411", 2)
def second_image_for_a_partition(world: World) -> None:
    world.profile("images: {ota_0: fs.bin}\n")


@case("SE108", 3)
def image_of_the_profile_is_missing(world: World) -> None:
    world.profile("images: {storage: none.bin}\n")


@case("SE404", 1)
def blank_partition_that_does_not_exist(world: World) -> None:
    world.profile("blank_partitions: {stroage: encrypted}\n")


@case("SE304", 2)
def key_name_with_a_zero_byte(world: World) -> None:
    world.profile('flash_encryption: {key: "a\\0b"}\n')


@case("SE402", 2)
def nvs_key_in_a_block_that_does_not_exist(world: World) -> None:
    world.rebuild(SECURE, "esp32s31")
    world.profile("nvs: {scheme: hmac, key_id: 5}\n")


# ---- what cannot be done


@case("SE311", 3)
def build_with_key_manager(world: World) -> None:
    world.edit("config/sdkconfig.json", lambda values: values.update(SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR=True))


@case("SE310", 3)
def build_with_secure_boot_v1(world: World) -> None:
    world.edit("config/sdkconfig.json", lambda values: values.update(SECURE_BOOT_V1_ENABLED=True))


@case("SE403", 1)
def nothing_to_do(world: World) -> None:
    world.rebuild(SampleOptions())
    world.signing_keys = ()


@case("SE315", 2)
def c2_full_key_with_secure_boot(world: World) -> None:
    world.rebuild(SECURE, "esp32c2")
    world.signing_keys = (world.keys["ecdsa256"],)
    world.profile("flash_encryption: {key_size: 128}\n")


@case("SE314", 2)
def xts_256_on_c3(world: World) -> None:
    world.profile("flash_encryption: {key_size: 256}\n")


@case("SE317", 2)
def ecdsa_on_c3(world: World) -> None:
    world.profile("secure_boot: {scheme: ecdsa256}\n")


@case("SE320", 2)
def nvs_hmac_on_esp32(world: World) -> None:
    world.rebuild(SECURE, "esp32")
    world.profile("nvs: {scheme: hmac}\n")


@case("SE321", 2)
def secure_download_mode_on_esp32(world: World) -> None:
    world.rebuild(SECURE, "esp32")
    world.profile("lockdown: {download_mode: secure}\n")


@case("SE316", 2)
def pseudo_rounds_on_c3(world: World) -> None:
    world.profile("flash_encryption: {pseudo_round: 2}\n")


# ---- the output


@case("SE701", 3)
def output_is_a_foreign_directory(world: World) -> None:
    world.output = world.folder / "photos"
    world.output.mkdir()
    (world.output / "holiday.jpg").write_bytes(b"jpg")


@case("SE701", 3)
def output_is_the_build_directory(world: World) -> None:
    world.output = world.build


@case("SE701", 3)
def output_is_a_file(world: World) -> None:
    world.output = world.file("out.txt", b"text")


@case("SE701", 3)
def output_is_a_dangling_link(world: World) -> None:
    world.output = world.folder / "link"
    world.output.symlink_to(world.folder / "nowhere")


@case("SE702", 3)
def output_below_a_file(world: World) -> None:
    world.output = world.file("out.txt", b"text") / "bundle"


@case("SE702", 3)
def output_where_nobody_can_write(world: World) -> None:
    world.output = unreadable().parents[1] / "bundle"


@case("SE702", 3)
def output_name_too_long(world: World) -> None:
    world.output = world.folder / ("x" * 300)
