# SPDX-License-Identifier: Apache-2.0
"""Spoils each document that is read, and reads it. A program of its own, so that its memory can be limited.

python fuzz_documents.py FOLDER CASES [NAME...]: prints what came out and must not, and ends with 1 if there was any.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import random
import re
import shutil
import signal
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from hostile_documents import Spoiler, spoilt_bytes, spoilt_json, spoilt_text

from secure_ext.atomic import Kind, replaced_directory
from secure_ext.build.menu import read_menu
from secure_ext.bundle.earlier import read_earlier
from secure_ext.bundle.key_home import KeyHome
from secure_ext.bundle.read import has_passed_rehearsal, read_bundle, store_rehearsal
from secure_ext.bundle.record import bundles_made
from secure_ext.cli.main import cli
from secure_ext.doctor.select import read_baseline
from secure_ext.documents.read import MANIFEST
from secure_ext.documents.rehearsal import CheckedBy
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.nvs_csv import read_nvs_csv
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.sealing import generate_sealing_pair, load_sealing_key, seal
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.keys.symmetric import load_secret
from secure_ext.prove.rehearsal.rehearse import Rehearsal
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions
from secure_ext.sign.signature_requests import REQUESTS
from secure_ext.station.journal import board_journal

MOST_SECONDS = 10
"""For one case; the slowest takes a tenth of it."""
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PROFILE = """\
schema: 1
flash_encryption:
  mode: release
  key: generate
  key_size: "128"
secure_boot:
  enabled: true
  scheme: rsa3072
  keys: [{key: key.pem, signs: all}]
  revoke_unused: true
nvs:
  scheme: hmac
  key: generate
doctor:
  accept: [SP020]
"""
_CSV = """\
key,type,encoding,value
# a comment
wifi,namespace,,
ssid,data,string,"a, b"
channel,data,u8,6
offset,data,i32,-5
secret,data,hex2bin,00ff10
blob,data,base64,AAEC
file,file,binary,blob.bin
"""


class TooSlow(BaseException):
    """A case took longer than MOST_SECONDS."""


class Wrong(Exception):
    """What a command printed or how it ended."""


@dataclass(frozen=True)
class Document:
    """A document to spoil, and what reads it afterwards."""

    name: str
    path: Path
    spoil: Spoiler
    read: Callable[[], object]


def command(*words: object) -> None:
    """Raises what the command lets through, and Wrong for what a terminal would obey."""
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if found := _CONTROL.search(result.output):
        raise Wrong(f"{words[0]} prints {found[0]!r}: {result.output[max(0, found.start() - 60) : found.end() + 20]!r}")


class World:
    """Every kind of document, good ones, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bundle, self.archive = folder, folder / "bundle", folder / "bundle.zip"
        self.pem, self.public = folder / "key.pem", folder / "public.pem"
        options = SampleOptions(flash_encryption="release", secure_boot=True)
        self.build = make_sample_build(folder / "project", "esp32c3", options=options)
        write_secret_file(self.pem, generate_signing_key(SignatureScheme.RSA3072))
        self.public.write_bytes(_public_half(self.pem))
        making = ("bundle", "-B", self.build, "--signing-key", self.pem, "-o")
        command(*making, self.bundle, "--sign-manifest", self.pem)
        self.opened = read_bundle(self.bundle)
        means = CheckedBy("the script on a virtual chip", passed=True, evidence=("DONE.",))
        store_rehearsal(self.opened, Rehearsal(self.opened.identity, "esp32c3", (means,)).outcome)
        command(*making, folder / "other", "--archive", self.archive)
        self.manifest = (self.bundle / MANIFEST).read_bytes()
        self.summary = folder / "summary.json"
        self.summary.write_text(json.dumps(_summary(), indent=1))

    def documents(self) -> Iterator[Document]:
        """All of them."""
        yield from self._of_the_bundle()
        yield from self._of_the_build()
        yield from self._of_keys()
        yield from self._of_signing_elsewhere()
        yield from self._others()

    def _of_the_bundle(self) -> Iterator[Document]:
        bundle = self.bundle
        yield Document(MANIFEST, bundle / MANIFEST, spoilt_json, self._read_manifest)
        for name, read in (("plan.json", self._read_plan), ("rehearsal.json", self._read_rehearsal)):
            yield Document(name, bundle / name, spoilt_json, functools.partial(self._with_hash, name, read))
        verify = functools.partial(command, "verify", bundle, "--manifest-key", self.public)
        yield Document("envelope", bundle / "manifest.dsse.json", spoilt_json, verify)
        yield Document("archive", self.archive, spoilt_archive, lambda: command("verify", self.archive))
        journal = bundle / "journal" / "0200000000ab.json"
        board_journal(self.opened.plan, journal).note_burning()
        yield Document("journal", journal, spoilt_json, lambda: self._read_journal(journal))

    def _with_hash(self, name: str, read: Callable[[], object]) -> None:
        """The forger makes the hash right, so that the document itself is looked at."""
        manifest = json.loads(self.manifest)
        manifest["files"][name] = hashlib.sha256((self.bundle / name).read_bytes()).hexdigest()
        (self.bundle / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        try:
            read()
        finally:
            (self.bundle / MANIFEST).write_bytes(self.manifest)

    def _read_manifest(self) -> None:
        command("verify", self.bundle)
        command("keys", "destroy", self.bundle)
        command("plan", "--diff", self.bundle, self.folder / "other")
        read_earlier(self.bundle)
        with replaced_directory(self.bundle, Kind.UPDATE_PACKAGE):
            raise SecureProvisionError("SE000", "nothing is replaced here", cure="")

    def _read_plan(self) -> None:
        plan = self.bundle / "plan.json"
        command("verify", self.bundle)
        command("plan", "--diff", plan, self.folder / "other")
        command("keys", "plan-rotation", "--fleet", self.bundle, "--signing-key", self.pem)
        command("audit", "--plan", plan, "--summary", self.summary)
        read_bundle(self.bundle)

    def _read_rehearsal(self) -> None:
        command("verify", self.bundle)
        has_passed_rehearsal(read_bundle(self.bundle))

    def _read_journal(self, journal: Path) -> None:
        entry = board_journal(self.opened.plan, journal)
        _ = entry.images_written, entry.never_read_back
        command("keys", "destroy", self.bundle)

    def _of_the_build(self) -> Iterator[Document]:
        build = self.build
        for name in ("config/sdkconfig.json", "flasher_args.json", "project_description.json"):
            yield Document(name, build / name, spoilt_json, self._read_build)
        args = json.loads((build / "flasher_args.json").read_bytes())
        for name in ("app", "partition-table"):
            yield Document(name, build / args[name]["file"], spoilt_bytes, self._read_build)
        yield Document("bootloader", build / "bootloader" / "bootloader.bin", spoilt_bytes, self._read_build)
        yield Document("sdkconfig", self.folder / "project" / "sdkconfig", spoilt_text, self._read_build)
        profile = self.folder / "profile.yaml"
        profile.write_text(_PROFILE)
        yield Document("profile", profile, spoilt_text, lambda: command("plan", "-B", build, "--profile", profile))
        record = build / "secure_provision_bundles.json"
        yield Document("record of bundles", record, spoilt_json, lambda: bundles_made(build))

    def _read_build(self) -> None:
        command("doctor", "-B", self.build, "--signing-key", self.pem, "--ignore", "SP0")
        command("plan", "-B", self.build, "--signing-key", self.pem)
        read_menu(self.build)

    def _of_keys(self) -> Iterator[Document]:
        raw = self.folder / "flash_key.bin"
        raw.write_bytes(bytes.fromhex("9f3c51d2a07be486") * 2 + bytes.fromhex("1457c3e8b09a6d2f") * 2)
        yield Document("signing key", self.pem, spoilt_text, lambda: command("keys", "digest", self.pem))
        yield Document("raw key", raw, spoilt_bytes, lambda: load_secret(raw, "a key", (32,)))
        private, public = (self.folder / name for name in ("seal.pem", "seal.pub"))
        for path, content in zip((private, public), generate_sealing_pair(), strict=True):
            write_secret_file(path, content)
        sealed, keys = self.folder / "board.sealed", {"nvs_hmac_key": bytes(32)}
        sealed.write_text(seal(keys, {"chip": "esp32c3", "mac": "0200000000ab"}, load_sealing_key(public)))
        yield Document("sealed copy", sealed, spoilt_json, lambda: self._unseal(sealed, private))
        home = next(path for path in (self.folder / "project" / "secure_keys").iterdir() if "bundle" in path.name)
        yield Document("home.json", home / "home.json", spoilt_json, KeyHome(home, "", "", "").require_right)

    def _unseal(self, sealed: Path, private: Path) -> None:
        shutil.rmtree(self.folder / "unsealed", ignore_errors=True)
        command("keys", "unseal", sealed, "--key", private, "-o", self.folder / "unsealed")

    def _of_signing_elsewhere(self) -> Iterator[Document]:
        folder = self.folder / "requests"
        making = ("bundle", "-B", self.build, "--signing-key", self.public)
        command(*making, "--to-be-signed", folder)
        answers = [folder / entry["answer"] for entry in json.loads((folder / REQUESTS).read_bytes())["requests"]]
        for answer in answers:
            answer.write_bytes(bytes(384))
        take = functools.partial(command, *making, "-o", self.folder / "third", "--signatures", folder)
        yield Document(REQUESTS, folder / REQUESTS, spoilt_json, take)
        yield Document("answer", answers[0], spoilt_bytes, take)

    def _others(self) -> Iterator[Document]:
        csv, baseline = self.folder / "nvs.csv", self.folder / "baseline.json"
        csv.write_text(_CSV)
        (self.folder / "blob.bin").write_bytes(b"\1\2\3")
        yield Document("NVS CSV", csv, spoilt_text, lambda: read_nvs_csv(csv))
        command("doctor", "-B", self.build, "--signing-key", self.pem, "--write-baseline", baseline)
        yield Document("baseline", baseline, spoilt_json, lambda: read_baseline(baseline))
        audit = functools.partial(command, "audit", "--policy", "release", "--summary", self.summary)
        yield Document("eFuse summary", self.summary, spoilt_json, audit)


def _public_half(pem: Path) -> bytes:
    private = serialization.load_pem_private_key(pem.read_bytes(), None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, form)


def _summary() -> dict[str, dict[str, object]]:
    from secure_ext.chips.efuse_table import load_efuse_table

    return {
        field.name: {
            **{"name": field.name, "readable": True, "writeable": True, "value": 0, "category": "config"},
            **{"block": field.block, "word": field.start // 32, "pos": field.start % 32, "bit_len": field.bits},
            "raw_value": None,
        }
        for field in load_efuse_table("esp32c3", 0).fields.values()
    }


def spoilt_archive(content: bytes, dice: random.Random) -> bytes:
    """Damaged bytes; or a whole zip file whose members are bombs, or damaged in themselves."""
    how = dice.random()
    if how < 0.6:
        return spoilt_bytes(content, dice)
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = dice.choice(sorted(members))
    members[name] = spoilt_bytes(members[name], dice)
    if how < 0.7:
        members[dice.choice(("bomb", MANIFEST))] = bytes(1 << 24)
    packing = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as new:
        for member, data in members.items():
            new.writestr(dice.choice((member, member, member, f"../{member}", "x" * 300, f"{member}\n")), data)
    data = buffer.getvalue()
    # says that the bomb is small
    return data.replace((1 << 24).to_bytes(4, "little"), (5).to_bytes(4, "little")) if how < 0.65 else data


def _ring(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def attack(document: Document, cases: int) -> Iterator[str]:
    """What came out of reading a document that must not come out; the document is whole again afterwards."""
    good, dice = document.path.read_bytes(), random.Random(document.name)
    for case in range(cases):
        content = document.spoil(good, dice)
        document.path.write_bytes(content)
        signal.alarm(MOST_SECONDS)
        try:
            with contextlib.suppress(SecureProvisionError):
                document.read()
        except (Exception, TooSlow):
            yield f"{document.name}, case {case}, of {content[:300]!r}:\n{traceback.format_exc()[-1800:]}"
        finally:
            signal.alarm(0)
    document.path.write_bytes(good)


def main(folder: str, cases: str, *names: str) -> int:
    """Spoils those documents of which `names` are, or all, `cases` times each."""
    signal.signal(signal.SIGALRM, _ring)
    wrong = 0
    for document in World(Path(folder)).documents():
        if names and document.name not in names:
            continue
        begun = time.monotonic()
        for finding in attack(document, int(cases)):
            wrong += 1
            sys.stdout.write(finding + "\n" if wrong <= 20 else "")
        sys.stderr.write(f"# {document.name}: {time.monotonic() - begun:.1f} s\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
