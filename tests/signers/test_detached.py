# SPDX-License-Identifier: Apache-2.0
"""Signatures made elsewhere: what is handed out, what comes back, and every way in which an answer can be wrong."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signer_world import public_halves  # noqa: F401 (a fixture)

from secure_ext.errors import SecureProvisionError
from secure_ext.formats.secure_boot import public_key_digest, read_signature_blocks, sign
from secure_ext.keys.signing import load_signing_key, load_verification_key
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions
from secure_ext.sign.detached import DetachedSigner

UNENCRYPTED = SampleOptions(secure_boot=True)


@dataclass
class Service:
    """A build whose signatures come from elsewhere, and the signing service that makes them."""

    folder: Path
    build: Path
    public: tuple[Path, ...]
    private: tuple[Path, ...]
    run_cli: Callable[..., Result]

    @property
    def requests(self) -> Path:
        return self.folder / "to-sign"

    def run(self, *more: object, keys: tuple[Path, ...] | None = None) -> Result:
        given = [word for key in keys or self.public for word in ("--signing-key", key)]
        return self.run_cli("bundle", "-B", self.build, *given, *more)

    def ask(self) -> list[dict[str, Any]]:
        result = self.run("--to-be-signed", self.requests)
        assert result.exit_code == 0, result.stderr
        entries: list[dict[str, Any]] = json.loads((self.requests / "requests.json").read_bytes())["requests"]
        return entries

    def answer(self) -> None:
        for entry in self.ask():
            key = load_signing_key(self.private[entry["key"] - 1])
            signature = key.sign((self.requests / entry["request"]).read_bytes())
            (self.requests / entry["answer"]).write_bytes(signature)

    def finish(self) -> Result:
        return self.run("--signatures", self.requests, "-o", self.folder / "out")


@pytest.fixture
def service(
    new_build: Callable[..., Path],
    tmp_path: Path,
    public_keys: dict[str, Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
) -> Service:
    names = ("rsa_0", "rsa_1")
    public, private = (tuple(keys[name] for name in names) for keys in (public_keys, signing_keys))
    return Service(tmp_path, new_build(options=UNENCRYPTED), public, private, run_cli)


@pytest.fixture(scope="module")
def answered(
    public_keys: dict[str, Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with a build and its requests, all of them answered; it must not be changed."""
    folder = tmp_path_factory.mktemp("answered")
    build = make_sample_build(folder / "project", "esp32c3", options=UNENCRYPTED)
    names = ("rsa_0", "rsa_1")
    public, private = (tuple(keys[name] for name in names) for keys in (public_keys, signing_keys))
    Service(folder, build, public, private, run_cli).answer()
    return folder


def test_what_is_handed_out(service: Service, public_keys: dict[str, Path]) -> None:
    entries = service.ask()
    assert [(entry["image"], entry["key"]) for entry in entries] == [
        ("bootloader", 1),
        ("bootloader", 2),
        ("sample", 1),
        ("sample", 2),
    ]
    for entry in entries:
        content = (service.requests / entry["content"]).read_bytes()
        source = (service.build / entry["source"]).read_bytes()
        assert content.startswith(source) and set(content[len(source) :]) <= {0xFF} and len(content) % 0x1000 == 0
        assert entry["content_size"] == len(content)
        assert entry["content_sha256"] == entry["digest"] == hashlib.sha256(content).hexdigest()
        assert (service.requests / entry["request"]).read_bytes().hex() == entry["digest"]
        assert (entry["scheme"], entry["mgf"], entry["salt_length"]) == ("rsa3072", "mgf1-sha256", 32)
        key = load_signing_key(service.private[entry["key"] - 1]).verification_key
        assert entry["public_key_digest"] == public_key_digest(key).hex()
        assert entry["answer"] == entry["request"].replace(".digest", ".sig")
    names = {path.name for path in service.requests.iterdir()}
    files = {entry[kind] for entry in entries for kind in ("content", "request")}
    assert names == files | {"requests.json", "README.txt"}
    assert not (service.build / "secure").exists() and not (service.folder / "out").exists()


def test_the_requests_are_the_same_again(service: Service, snapshot: Callable[[Path], object]) -> None:
    service.ask()
    before = snapshot(service.requests)
    shutil.rmtree(service.requests)
    service.ask()
    assert snapshot(service.requests) == before


def test_a_bundle_with_answers_is_like_one_signed_here(service: Service) -> None:
    service.answer()
    assert service.finish().exit_code == 0
    here = service.folder / "here"
    assert service.run("-o", here, keys=service.private).exit_code == 0
    for name in ("bootloader", "sample"):
        detached, direct = (
            (folder / "images" / f"{name}.bin").read_bytes() for folder in (service.folder / "out", here)
        )
        assert detached[:-0x1000] == direct[:-0x1000]
        told = [
            [(block.scheme, block.image_digest, block.key_digest) for block in read_signature_blocks(image, name)]
            for image in (detached, direct)
        ]
        assert told[0] == told[1] and len(told[0]) == 2
    manifests = [json.loads((folder / "manifest.json").read_bytes()) for folder in (service.folder / "out", here)]
    assert manifests[0]["keys"] == manifests[1]["keys"]
    assert manifests[0]["files"].keys() == manifests[1]["files"].keys()
    assert [i["size"] for i in manifests[0]["images"]] == [i["size"] for i in manifests[1]["images"]]


@pytest.mark.parametrize("scheme", ["rsa3072", "ecdsa256", pytest.param("ecdsa384", marks=pytest.mark.long)])
def test_openssl_answers_with_the_commands_of_the_readme(
    scheme: str, service: Service, public_keys: dict[str, Path], signing_keys: dict[str, Path]
) -> None:
    chip = {"rsa3072": "esp32c3", "ecdsa256": "esp32c61", "ecdsa384": "esp32c5"}[scheme]
    name = "rsa_0" if scheme == "rsa3072" else scheme
    options = SampleOptions(secure_boot=True, scheme=scheme, min_revision=None)  # type: ignore[arg-type]
    service.build = make_sample_build(service.folder / "other", chip, options=options)
    service.public, service.private = (public_keys[name],), (signing_keys[name],)
    service.ask()
    shutil.copy(signing_keys[name], service.requests / "key1.pem")
    readme = (service.requests / "README.txt").read_text(encoding="utf-8")
    commands = [line.strip() for line in readme.splitlines() if line.strip().startswith("openssl ")]
    assert len(commands) == 2
    for command in commands:
        subprocess.run(shlex.split(command), cwd=service.requests, check=True, capture_output=True)
    done = service.finish()
    assert done.exit_code == 0, done.stderr


def test_ecdsa_answer_as_two_numbers_in_a_row(
    service: Service, public_keys: dict[str, Path], signing_keys: dict[str, Path]
) -> None:
    service.build = make_sample_build(service.folder / "other", "esp32c61", options=UNENCRYPTED)
    service.public, service.private = (public_keys["ecdsa256"],), (signing_keys["ecdsa256"],)
    service.answer()
    for path in service.requests.glob("*.sig"):
        path.write_bytes(b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(path.read_bytes())))
    done = service.finish()
    assert done.exit_code == 0, done.stderr


def swap_images(service: Service) -> None:
    one, other = (service.requests / f"{name}.key1.sig" for name in ("bootloader", "sample"))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def swap_keys(service: Service) -> None:
    shutil.copy(service.requests / "bootloader.key2.sig", service.requests / "bootloader.key1.sig")


def other_image_by_other_key(service: Service) -> None:
    shutil.copy(service.requests / "sample.key2.sig", service.requests / "bootloader.key1.sig")


def cut_off(service: Service) -> None:
    path = service.requests / "bootloader.key1.sig"
    path.write_bytes(path.read_bytes()[:-1])


def as_hex(service: Service) -> None:
    path = service.requests / "bootloader.key1.sig"
    path.write_text(path.read_bytes().hex(), encoding="utf-8")


def flip_a_bit(service: Service) -> None:
    path = service.requests / "bootloader.key1.sig"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))


def lose_two(service: Service) -> None:
    for name in ("bootloader.key2.sig", "sample.key1.sig"):
        (service.requests / name).unlink()


def build_again(service: Service) -> None:
    options = SampleOptions(secure_boot=True, app_size=90_000)
    newer = make_sample_build(service.folder / "newer", "esp32c3", options=options)
    shutil.copy(newer / "sample.bin", service.build / "sample.bin")


def garble_the_description(service: Service) -> None:
    (service.requests / "requests.json").write_text('{"requests": [1]}', encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "code", "exit_code", "says"),
    [
        (swap_images, "SE662", 1, "this is the signature of image sample, not of bootloader"),
        (other_image_by_other_key, "SE662", 1, "image sample by key 2, not of bootloader"),
        (swap_keys, "SE663", 1, "of image bootloader was made by key 2"),
        (build_again, "SE664", 1, "for an older build of image sample: the digest in requests.json differs"),
        (flip_a_bit, "SE665", 1, "not valid for image bootloader"),
        (cut_off, "SE661", 3, "383 bytes"),
        (as_hex, "SE661", 3, "768 bytes"),
        (lose_two, "SE660", 3, "2 of 4 signatures are missing: bootloader.key2.sig, sample.key1.sig"),
        (garble_the_description, "SE668", 3, "cannot be read"),
    ],
)
def test_a_wrong_answer_is_refused_by_name(
    *, spoil: Callable[[Service], None], code: str, exit_code: int, says: str, service: Service, answered: Path
) -> None:
    shutil.copytree(answered / "to-sign", service.requests)
    spoil(service)
    result = service.finish()
    assert f"error {code}: " in result.stderr, result.stderr
    assert says in result.stderr
    assert result.exit_code == exit_code
    assert not (service.folder / "out").exists()


def test_answers_alone_are_enough(service: Service) -> None:
    """Without requests.json the signatures are checked all the same; only an older build is not known as one."""
    service.answer()
    (service.requests / "requests.json").unlink()
    assert service.finish().exit_code == 0
    shutil.rmtree(service.folder / "out")
    build_again(service)
    assert "error SE665: " in service.finish().stderr


def test_a_key_that_has_signed_already_is_not_asked_again(service: Service) -> None:
    app = service.build / "sample.bin"
    app.write_bytes(sign(app.read_bytes(), [load_signing_key(service.private[0])], place="app"))
    entries = service.ask()
    assert [(entry["image"], entry["key"]) for entry in entries] == [
        ("bootloader", 1),
        ("bootloader", 2),
        ("sample", 2),
    ]
    for entry in entries:
        key = load_signing_key(service.private[entry["key"] - 1])
        (service.requests / entry["answer"]).write_bytes(key.sign(bytes.fromhex(entry["digest"])))
    assert service.finish().exit_code == 0
    blocks = read_signature_blocks((service.folder / "out" / "images" / "sample.bin").read_bytes(), "sample")
    expected = [public_key_digest(load_signing_key(path).verification_key) for path in service.private]
    assert [block.key_digest for block in blocks] == expected


@pytest.mark.parametrize(
    ("code", "exit_code", "options"),
    [
        ("SE669", 2, ("--to-be-signed", "new", "--signatures", "new")),
        ("SE669", 2, ("--to-be-signed", "new", "-o", "out")),
        ("SE667", 3, ("--to-be-signed", "project")),
        ("SE660", 3, ("--signatures", "nowhere", "-o", "out")),
        ("SE702", 3, ("--to-be-signed", "project/build/sample.bin/new")),
        ("SE712", 2, ("-o", "out")),
    ],
)
def test_usage(
    code: str, exit_code: int, options: tuple[str, ...], service: Service, snapshot: Callable[[Path], object]
) -> None:
    before = snapshot(service.folder)
    words = [word if word.startswith("-") else service.folder / word for word in options]
    result = service.run(*words)
    assert f"error {code}: " in result.stderr, result.stderr
    assert result.exit_code == exit_code
    assert snapshot(service.folder) == before


@pytest.mark.parametrize("option", ["--to-be-signed", "--signatures"])
def test_nothing_is_to_be_signed_elsewhere(option: str, service: Service) -> None:
    result = service.run(option, service.folder / "new", keys=service.private)
    assert "error SE666: " in result.stderr and result.exit_code == 2
    assert not (service.folder / "new").exists()


@pytest.mark.parametrize("command", ["plan", "doctor"])
def test_plan_and_doctor_work_with_public_keys(command: str, service: Service) -> None:
    given = [word for key in service.public for word in ("--signing-key", key)]
    result = service.run_cli(command, "-B", service.build, *given)
    assert result.exit_code == 0, result.stderr


def test_requests_as_json(service: Service) -> None:
    result = service.run("--to-be-signed", service.requests, "--format", "json")
    document = json.loads(result.stdout)
    assert document["to_be_signed"] == str(service.requests)
    assert document["requests"] == json.loads((service.requests / "requests.json").read_bytes())["requests"]


@given(
    answer=st.binary(max_size=100) | st.binary(min_size=384, max_size=384), name=st.sampled_from(["rsa_0", "ecdsa256"])
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_ends_in_anything_but_a_coded_error(
    answer: bytes, name: str, public_keys: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "answer.sig").write_bytes(answer)
    key = load_verification_key(public_keys[name])
    with pytest.raises(SecureProvisionError) as caught:
        DetachedSigner(key, tmp_path / "answer.sig", "bootloader").sign(bytes(32))
    assert caught.value.code in ("SE661", "SE665")
