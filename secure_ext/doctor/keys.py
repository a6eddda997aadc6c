# SPDX-License-Identifier: Apache-2.0
"""Rules about the key files the policy names; whether a key suits is judged when it is loaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from secure_ext.doctor.published_keys import is_published
from secure_ext.doctor.repository import Kept, kept_by_git
from secure_ext.doctor.rule import Match, Rule, Severity, Subject
from secure_ext.policy.policy import KeySource, NvsScheme
from secure_ext.reading import KEY_FILE_LIMIT, read_file


def _sources(subject: Subject) -> Iterator[tuple[str, KeySource]]:
    policy = subject.policy
    if policy.flash_encryption.enabled:
        yield "flash_encryption.key", policy.flash_encryption.key
    if policy.nvs.scheme is not NvsScheme.OFF:
        yield "nvs.key", policy.nvs.key
    for source in policy.secure_boot.keys:
        yield "secure_boot.keys", source
    for extra in policy.extra_keys:
        yield f"extra_keys.{extra.name}", extra.key


def _secret_files(subject: Subject) -> Iterator[tuple[str, Path, bytes]]:
    """Place, path and content of each file with a secret; what cannot be read is reported when it is loaded.

    While a bundle is made these are the keys that were generated before, which nobody knew of until then.
    """
    if subject.making is None:
        named = [(f"{name}: {key.path.name}", key.path) for name, key in _sources(subject) if key.path is not None]
    else:
        named = [(f"kept key: {name}", path) for name, path in subject.making.kept_keys]
    for place, path in named:
        try:
            content = read_file(path, KEY_FILE_LIMIT)
        except (OSError, ValueError):
            continue
        if not content.startswith(b"-----BEGIN PUBLIC KEY"):
            yield place, path, content


def _exposed(subject: Subject) -> Iterator[Match]:
    for place, path, _ in _secret_files(subject):
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Match(place, "other users of this machine can read the key file", f"chmod 600 {path.name}")


def _shared_key(subject: Subject) -> Iterator[Match]:
    policy = subject.policy.flash_encryption
    if policy.release and not policy.key.per_device:
        yield Match("flash_encryption.key", "every board made from this bundle gets the same flash encryption key")


def _tracked(subject: Subject) -> Iterator[Match]:
    for place, path, _ in _secret_files(subject):
        if kept_by_git(path) is Kept.TRACKED:
            yield Match(
                place,
                "the key file is tracked by git: everyone who has the repository, or ever had it, has the key",
                f"make a new key, take this one out (git rm --cached {path.name}), and keep keys elsewhere",
            )


def _could_be_committed(subject: Subject) -> Iterator[Match]:
    for place, path, _ in _secret_files(subject):
        if kept_by_git(path) is Kept.NOT_IGNORED:
            yield Match(
                place,
                "the key file lies in a git repository that does not ignore it: `git add .` would take it in",
                f"add /{path.name} to the .gitignore beside it, or move the key out of the repository",
            )


def _in_build_dir(subject: Subject) -> Iterator[Match]:
    build_dir = subject.build.build_dir.resolve()
    for place, path, _ in _secret_files(subject):
        if build_dir in path.resolve().parents:
            yield Match(place, "the key file lies in the build directory, which `idf.py fullclean` deletes")


def _published(subject: Subject) -> Iterator[Match]:
    for place, _, content in _secret_files(subject):
        if is_published(content):
            yield Match(
                place, "this private key is published with ESP-IDF or esptool, for their tests: anyone can sign with it"
            )


def _made_with_bundle(subject: Subject) -> Iterator[Match]:
    for source in subject.policy.secure_boot.keys:
        if source.describe() == "generated":
            yield Match(
                "secure_boot.keys",
                "a signing key is generated for this bundle, and nobody has a copy of it",
            )
            return


def _free_block_before_a_key(subject: Subject) -> Iterator[Match]:
    """On a chip whose blocks can hold any key."""
    blocks = subject.chip.key_blocks
    if subject.chip.has_fixed_key_blocks or subject.chip.has_one_key_block or not subject.policy.locks_down:
        return
    planned = {key.block.name: key for key in subject.plan.keys}
    for number, block in enumerate(blocks):
        behind = [planned[after.name] for after in blocks[number:] if after.name in planned]
        first = next((key for key in behind if key.purpose.startswith(("XTS_", "SECURE_BOOT_DIGEST"))), None)
        if block.name not in planned and first is not None:
            yield Match(
                "reserved_key_blocks",
                f"{block.name} stays open before {first.block.name}, which holds {first.purpose}: the first block with "
                "that purpose counts, and code on the board could make it this one",
            )


ABOUT_KEY_FILES = frozenset({"SP080", "SP082", "SP083", "SP084", "SP085", "SP086", "SP151", "SP152", "SP153"})
"""Codes of the rules that look at key files, or at how a signing key is made or given."""

OF_KEPT_KEYS = frozenset({"SP080", "SP082", "SP083", "SP085"})
"""Codes of the rules that are asked again about generated keys that are used again, when a bundle is made of them."""

RULES = (
    Rule(
        "SP080",
        Severity.WARNING,
        "key file is readable by others",
        _exposed,
        explanation="The permissions of the key file let other users of the machine read it. On a build server that "
        "may be every other job. A flash encryption key opens the boards made with it, a signing key signs firmware "
        "for all of them.",
        source="ESP-IDF manual, Secure Boot V2, Secure Boot Best Practices",
        cure="chmod 600 the file",
    ),
    Rule(
        "SP081",
        Severity.INFO,
        "one flash encryption key for all boards of a bundle",
        _shared_key,
        explanation="The bundle has one flash encryption key. Written to a thousand boards, it is as safe as the "
        "weakest of them: who gets it out of one can read them all, and exchange their flash contents.",
        source="ESP-IDF manual, Flash Encryption, Release Mode (a unique key per device)",
        cure="set flash_encryption.key: per-device in the profile, so that one lost key does not open them all",
    ),
    Rule(
        "SP082",
        Severity.ERROR,
        "key file is tracked by git",
        _tracked,
        explanation="A key in a repository goes wherever the repository goes: to every clone, to the server and its "
        "backups, to everyone who may read it now or later. Deleting the file does not take it out of the history. "
        "For a signing key that means that strangers can sign firmware for every board ever made.",
        source="ESP-IDF manual, Secure Boot V2, Secure Boot Best Practices (keep the private key confidential)",
        cure="make a new key, take this one out of the repository, and keep keys elsewhere",
        why="the board runs; how far the key has spread is for its owner to judge",
    ),
    Rule(
        "SP083",
        Severity.WARNING,
        "key file can slip into git",
        _could_be_committed,
        explanation="The key file lies in a working tree, not tracked so far, and no .gitignore covers it. That is "
        "how keys get into repositories: by adding everything.",
        source="ESP-IDF manual, Secure Boot V2, Secure Boot Best Practices",
        cure="add the file to .gitignore, or move it out of the repository",
    ),
    Rule(
        "SP084",
        Severity.WARNING,
        "key file lies in the build directory",
        _in_build_dir,
        explanation="A build directory is made to be thrown away: `idf.py fullclean` deletes it, and so does every "
        "fresh checkout on a build server. With the only copy of a signing key goes every future update.",
        source="ESP-IDF tools/idf_py_actions/core_ext.py (fullclean)",
        cure="move the key out of the build directory, and back it up",
    ),
    Rule(
        "SP085",
        Severity.ERROR,
        "key is a published test key",
        _published,
        explanation="ESP-IDF and esptool carry private keys in their source trees, so that their tests can sign. "
        "They look like any other secure_boot_signing_key.pem, and are easily copied with an example. Secure boot "
        "with such a key verifies what anyone in the world can sign.",
        source="ESP-IDF tools/test_apps/security/secure_boot, components/esp_tee/test_apps; esptool, "
        "test/secure_images",
        cure="make a key of your own: secure-provision keys generate rsa3072 signing_key.pem",
        why="the board runs; a published key is right for boards that are made to be tested",
    ),
    Rule(
        "SP086",
        Severity.WARNING,
        "signing key is generated with the bundle",
        _made_with_bundle,
        explanation="With `generate` the signing key is made along with the bundle, and kept in the home of generated "
        "keys (secure_keys in the project) for this output directory alone. Without it no update can ever be signed "
        "for the boards, and a bundle made for another directory or on another machine signs with another key.",
        source="ESP-IDF manual, Secure Boot V2, Secure Boot Best Practices; ESP-IDF issue 12851",
        cure="make a key once, secure-provision keys generate rsa3072 signing_key.pem, back it up, and name it in "
        "secure_boot.keys",
    ),
    Rule(
        "SP166",
        Severity.WARNING,
        "a free key block before a key",
        _free_block_before_a_key,
        explanation="ESP-IDF takes the first key block that has a purpose. A free block before the planned one can be "
        "given the same purpose, and another key, by whatever code gets to burn eFuses: then that key counts, and the "
        "board starts other firmware, or none.",
        source="ESP-IDF components/efuse/src/efuse_controller/keys/with_key_purposes/esp_efuse_api_key.c "
        "(esp_efuse_find_purpose)",
        cure="reserve the highest blocks, and let key_blocks name the lowest",
    ),
)
