"""Whatever is wrong with the input: a coded error with cause and cure, the right exit code, and nothing left behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from secure_ext.images.secure_boot import sign
from secure_ext.keys.fingerprint import fingerprint
from secure_ext.keys.signing import load_signing_key
from secure_ext.project.partition_table import FLAG_ENCRYPTED, TYPE_APP, TYPE_DATA, Partition, build_partition_table
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions, partitions_of

Snapshot = Callable[..., dict[str, tuple[int, bytes]]]
SECURE = SampleOptions(flash_encryption="release", secure_boot=True)
TABLE = "partition_table/partition-table.bin"
BOOTLOADER = "bootloader/bootloader.bin"
APP = "sample.bin"


@dataclass
class World:
    """A build to spoil, a place for files, and the arguments of the command."""

    folder: Path
    keys: dict[str, Path]
    build: Path
    signing_keys: tuple[Path, ...] = ()
    command: str = "bundle"
    more: tuple[object, ...] = ()
    output: Path | None = None

    def path(self, name: str) -> Path:
        return self.build / name

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def profile(self, text: str) -> None:
        self.more = ("--profile", self.file("profile.yaml", b"schema: 1\n" + text.encode()))

    def edit(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        content = json.loads(self.path(name).read_text(encoding="utf-8"))
        change(content)
        self.path(name).write_text(json.dumps(content), encoding="utf-8")

    def cut(self, name: str, length: int) -> None:
        self.path(name).write_bytes(self.path(name).read_bytes()[:length])

    def rebuild(self, options: SampleOptions, chip: str = "esp32c3") -> None:
        self.build = make_sample_build(self.folder / "other", chip, options=options)

    def arguments(self) -> list[object]:
        keys = [word for key in self.signing_keys for word in ("--signing-key", key)]
        output: list[object] = ["-o", self.output or self.folder / "out"] if self.command == "bundle" else []
        return [self.command, "-B", self.build, *keys, *self.more, *output]


@dataclass(frozen=True)
class Case:
    name: str
    code: str
    exit_code: int
    spoil: Callable[[World], None]


CASES: list[Case] = []
UNREADABLE = Path("/proc/self/mem")
"""A file whose reading fails, for root too."""


def unreadable() -> Path:
    if not UNREADABLE.exists():
        pytest.skip("there is no file here that even root cannot read")
    return UNREADABLE


def case(code: str, exit_code: int) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Registers a way to spoil the input, and how it must be answered."""

    def register(spoil: Callable[[World], None]) -> Callable[[World], None]:
        CASES.append(Case(spoil.__name__, code, exit_code, spoil))
        return spoil

    return register


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


@case("SE529", 1)
def app_signed_by_a_foreign_key(world: World) -> None:
    signed = sign(world.path(APP).read_bytes(), [load_signing_key(world.keys["rsa_3"])], place="app")
    world.path(APP).write_bytes(signed)


@case("SE525", 1)
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
    world.rebuild(replace(SECURE, table_offset=0x8000))
    bootloader = world.path(BOOTLOADER)
    bootloader.write_bytes(bootloader.read_bytes().ljust(0x8000, b"\xff"))


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
    flash_key(world, bytes(range(128, 192)))


@case("SE622", 3)
def flash_encryption_key_of_zeros(world: World) -> None:
    flash_key(world, bytes(32))


@case("SE623", 3)
def flash_encryption_key_of_one_byte(world: World) -> None:
    flash_key(world, b"\xa5" * 32)


@case("SE624", 3)
def flash_encryption_key_of_two_equal_halves(world: World) -> None:
    flash_key(world, bytes(range(128, 144)) * 2)


@case("SE625", 3)
def flash_encryption_key_as_text(world: World) -> None:
    flash_key(world, b"00112233445566778899aabbccddeeff")


@case("SE711", 2)
def one_key_for_two_uses(world: World) -> None:
    world.file("key.bin", bytes(range(100, 132)))
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
def key_per_device(world: World) -> None:
    world.profile("flash_encryption: {key: per-device}\n")


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


@case("SE311", 2)
def build_with_key_manager(world: World) -> None:
    world.edit("config/sdkconfig.json", lambda values: values.update(SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR=True))


@case("SE310", 2)
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


def pem(key: Any, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    content: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption or serialization.NoEncryption()
    )
    return content


def public_half(world: World, name: str) -> Path:
    key = serialization.load_pem_private_key(world.keys[name].read_bytes(), None)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return world.file("public.pem", public)


def check_coded_error(stdout: str, stderr: str, code: str) -> None:
    assert "Traceback" not in stdout + stderr
    shown = re.search(r"^error (SE\d{3}): (.+)$", stderr, re.MULTILINE)
    assert shown, stderr
    assert shown.group(1) == code, stderr
    assert len(shown.group(2)) > 15
    assert re.search(r"^  what to do: .{10,}$", stderr, re.MULTILINE)
    assert stdout == ""


@pytest.fixture
def world(tmp_path: Path, new_build: Callable[..., Path], signing_keys: dict[str, Path]) -> World:
    return World(tmp_path, signing_keys, new_build(), (signing_keys["rsa_0"],))


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
def test_bad_input(bad: Case, world: World, run_cli: Callable[..., Result], snapshot: Snapshot) -> None:
    bad.spoil(world)
    before = snapshot(world.folder)
    result = run_cli(*world.arguments())
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    check_coded_error(result.stdout, result.stderr, bad.code)
    assert result.exit_code == bad.exit_code
    assert snapshot(world.folder) == before


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 45
    assert len({bad.name for bad in CASES}) == len(CASES)


@pytest.mark.parametrize("command", ["doctor", "plan"])
def test_other_commands_answer_alike(command: str, world: World, run_cli: Callable[..., Result]) -> None:
    world.command = command
    truncated_app(world)
    result = run_cli(*world.arguments())
    check_coded_error(result.stdout, result.stderr, "SE140")
    assert result.exit_code == 3


def test_error_as_json(world: World, run_cli: Callable[..., Result]) -> None:
    truncated_app(world)
    world.more = ("--format", "json")
    result = run_cli(*world.arguments())
    document = json.loads(result.stdout)
    assert document["exit_code"] == result.exit_code == 3
    assert document["error"]["code"] == "SE140"
    assert all(document["error"][name] for name in ("cause", "cure", "place"))
    assert "error SE140" in result.stderr


def test_doctor_ends_with_1_for_a_sick_build(world: World, run_cli: Callable[..., Result], snapshot: Snapshot) -> None:
    app_of_another_chip(world)
    world.command = "doctor"
    before = snapshot(world.folder)
    result = run_cli(*world.arguments())
    assert result.exit_code == 1
    assert "SP010" in result.stdout and "what to do: " in result.stdout
    assert snapshot(world.folder) == before


def test_bundle_names_the_error_of_the_doctor(world: World, run_cli: Callable[..., Result]) -> None:
    app_of_another_chip(world)
    result = run_cli(*world.arguments())
    assert "SP010" in result.stderr and "sample.bin" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["bundle", "--flash-encryption", "maybe"],
        ["bundle", "--unknown"],
        ["unknown"],
        ["keys", "generate", "rsa2048", "key.pem"],
        ["profile"],
        ["plan", "--format", "xml"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], run_cli: Callable[..., Result]) -> None:
    result = run_cli(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr or "error" in result.stderr.lower()


def test_a_failed_bundle_leaves_the_earlier_one_alone(
    world: World, run_cli: Callable[..., Result], snapshot: Snapshot
) -> None:
    assert run_cli(*world.arguments()).exit_code == 0
    before = snapshot(world.folder / "out")
    world.signing_keys = (world.keys["ecdsa256"],)
    assert run_cli(*world.arguments()).exit_code == 2
    assert snapshot(world.folder / "out") == before
    assert sorted(path.name for path in world.folder.iterdir()) == ["out", "project"]


# ---- other commands


@pytest.mark.parametrize(
    ("code", "exit_code", "arguments"),
    [
        ("SE630", 3, ("keys", "generate", "hmac", "there.bin")),
        ("SE630", 3, ("keys", "generate", "ecdsa256", "there.bin")),
        ("SE631", 3, ("keys", "generate", "hmac", "there.bin/key.bin")),
        ("SE601", 3, ("keys", "digest", "none.pem")),
        ("SE602", 3, ("keys", "digest", "there.bin")),
        ("SE301", 3, ("profile", "none.yaml")),
        ("SE301", 3, ("profile", ".")),
        ("SE305", 2, ("profile", "--init", "there.bin")),
        ("SE305", 2, ("profile", "--init", "there.bin/profile.yaml")),
        ("SE703", 3, ("demo", "-o", ".")),
        ("SE204", 3, ("demo", "--chip", "esp8266", "-o", "new")),
    ],
)
def test_other_commands(
    *,
    code: str,
    exit_code: int,
    arguments: tuple[str, ...],
    tmp_path: Path,
    run_cli: Callable[..., Result],
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "there.bin").write_bytes(b"something else")
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    result = run_cli(*arguments)
    check_coded_error("", result.stderr, code)
    assert result.exit_code == exit_code
    assert snapshot(tmp_path) == before


def test_digest_cannot_be_written(
    tmp_path: Path, signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    result = run_cli("keys", "digest", signing_keys["ecdsa256"], "-o", tmp_path)
    check_coded_error("", result.stderr, "SE702")
    assert result.exit_code == 3  # as everywhere for SE702


def test_digest_does_not_replace_the_key(
    tmp_path: Path, signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(signing_keys["ecdsa256"].read_bytes())
    result = run_cli("keys", "digest", key, "-o", key)
    assert key.read_bytes() == signing_keys["ecdsa256"].read_bytes()
    assert result.exit_code != 0


# ---- disk, clock, interrupts, two at once


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("name", ["sample.bin", "secure_boot_digest_0.bin"])
def test_disk_full(
    *,
    number: int,
    name: str,
    world: World,
    run_cli: Callable[..., Result],
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_bytes = Path.write_bytes

    def fail(path: Path, data: bytes) -> int:
        if path.name == name and ".partial" in str(path):
            raise OSError(number, os.strerror(number))
        return write_bytes(path, data)

    before = snapshot(world.folder)
    monkeypatch.setattr(Path, "write_bytes", fail)
    result = run_cli(*world.arguments())
    check_coded_error(result.stdout, result.stderr, "SE702")
    assert result.exit_code == 3
    assert os.strerror(number) in result.stderr
    assert snapshot(world.folder) == before


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from secure_ext.cli import main
main(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is one of POSIX")
@pytest.mark.parametrize(("limit", "code"), [(10, "SE631"), (5000, "SE702"), (100_000, "SE702")])
def test_files_cannot_grow(limit: int, code: str, world: World, snapshot: Snapshot) -> None:
    before = snapshot(world.folder)
    words = [sys.executable, "-B", "-c", LIMITED, str(limit), *(str(word) for word in world.arguments())]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    check_coded_error(done.stdout, done.stderr, code)
    assert done.returncode == 3
    assert snapshot(world.folder) == before


def test_a_clock_that_makes_no_sense(
    world: World, run_cli: Callable[..., Result], snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 30)
    before = snapshot(world.folder)
    result = run_cli(*world.arguments())
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    if result.exit_code:
        assert snapshot(world.folder) == before


SLOW = """
import sys, time
from pathlib import Path
import secure_ext.bundle.write as write
produce = write.produce
def slow(*arguments):
    Path(sys.argv[1]).touch()
    time.sleep(30)
    return produce(*arguments)
write.produce = slow
from secure_ext.cli import main
main(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 1), (signal.SIGTERM, 128 + signal.SIGTERM)])
@pytest.mark.parametrize("again", [False, True])
def test_interrupted(
    *,
    number: signal.Signals,
    exit_code: int,
    again: bool,
    world: World,
    run_cli: Callable[..., Result],
    snapshot: Snapshot,
) -> None:
    if again:
        assert run_cli(*world.arguments()).exit_code == 0
    before = snapshot(world.folder)
    mark = world.folder / "begun"
    words = [sys.executable, "-c", SLOW, str(mark), *(str(word) for word in world.arguments())]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        for _ in range(300):
            if mark.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        # it is in the middle: its keys are written, the bundle is not
        assert [path for path in world.folder.rglob("flash_encryption_key.bin") if ".partial" in str(path)]
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)
    mark.unlink()
    assert process.returncode == exit_code
    assert "Traceback" not in stdout + stderr
    assert snapshot(world.folder) == before


def check_whole(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    present = {
        path.relative_to(bundle).as_posix()
        for path in bundle.rglob("*")
        if path.is_file() and path.parent.name not in ("keys", "journal")
    }
    assert present == {*manifest["files"], "manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest
    for key in manifest["keys"]:
        folder = "digests" if key["role"].startswith("secure_boot_digest") else "keys"
        assert fingerprint((bundle / folder / f"{key['role']}.bin").read_bytes()) == key["fingerprint"]


@pytest.mark.parametrize("again", [False, True])
def test_two_bundles_at_once(again: bool, world: World, run_cli: Callable[..., Result]) -> None:
    if again:
        assert run_cli(*world.arguments()).exit_code == 0
    words = [sys.executable, "-m", "secure_ext", *(str(word) for word in world.arguments())]
    processes = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") for _ in range(2)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr
        assert process.returncode in (0, 3), stderr
    assert any(process.returncode == 0 for process in processes)
    check_whole(world.folder / "out")
    assert sorted(path.name for path in world.folder.iterdir()) == ["out", "project"]


# ---- the same through a real process


@pytest.mark.parametrize("bad", [truncated_app, missing_signing_key, nothing_to_do], ids=lambda bad: bad.__name__)
def test_as_a_program(
    bad: Callable[[World], None],
    world: World,
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    snapshot: Snapshot,
) -> None:
    expected = next(registered for registered in CASES if registered.spoil is bad)
    bad(world)
    before = snapshot(world.folder)
    done = run_script(*world.arguments())
    check_coded_error(done.stdout, done.stderr, expected.code)
    assert done.returncode == expected.exit_code
    assert snapshot(world.folder) == before
