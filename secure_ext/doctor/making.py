# SPDX-License-Identifier: Apache-2.0
"""Rules about the making of a bundle: what becomes of the keys that are generated for it."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.repository import Kept, kept_by_git
from secure_ext.doctor.rule import Match, Rule, Severity, Subject

_OPTIONS = {
    "flash_encryption_key": ("flash_encryption.key", "--flash-encryption-key FILE"),
    "nvs_hmac_key": ("nvs.key", "--nvs-key FILE"),
    "nvs_keys": ("nvs.key", "--nvs-key FILE"),
    "extra_key": ("extra_keys", "the key's file in extra_keys of the profile"),
    "secure_boot_signing_key": ("secure_boot.keys", "--signing-key FILE"),
}
"""For the beginning of a key file's name the setting and the option that name the key."""


def _option(name: str) -> tuple[str, str]:
    return next(named for beginning, named in _OPTIONS.items() if name.startswith(beginning))


def _new_and_unwatched(subject: Subject) -> Iterator[Match]:
    making = subject.making
    if making is None or not (making.build_server or making.archived or making.read_by_a_program):
        return
    why = (
        "on a build server (CI is set), whose folders go with the job"
        if making.build_server
        else "for a bundle that is archived without its keys"
        if making.archived
        else "and only a program reads what is shown here"
    )
    for name in making.new_keys:
        setting, option = _option(name)
        yield Match(
            setting,
            f"no key was named, so {name} was generated, {why}",
            f"make the key once with secure-provision keys generate, keep it safe, and name it: {option}; or keep the "
            "home of generated keys on a disk that stays, with --key-home DIR",
        )


def _archived_and_lost(subject: Subject) -> Iterator[Match]:
    making = subject.making
    if making is None or not (making.build_server and making.archived) or making.home_is_named or not making.new_keys:
        return
    options = dict.fromkeys(_option(name)[1] for name in making.new_keys)
    yield Match(
        "--archive",
        f"the archive holds no keys, and the new ones ({', '.join(making.new_keys)}) go with this job: no board can "
        "ever be provisioned from it",
        f"name the keys: {', '.join(options)}; or keep the home of generated keys on a disk that stays, with "
        "--key-home DIR",
    )


def _bundled_keys_in_git(subject: Subject) -> Iterator[Match]:
    for path in subject.making.bundled_keys if subject.making else ():
        kept = kept_by_git(path, but_for=path.with_name(".gitignore"))
        if kept in (Kept.TRACKED, Kept.NOT_IGNORED):
            yield Match(
                f"{path.parent.parent.name}/{path.parent.name}",
                "the bundle lies in a git repository that "
                + (
                    "has its keys"
                    if kept is Kept.TRACKED
                    else "does not ignore it: only the .gitignore in its folder keys keeps "
                    "them out, and what is about boards (journal, sealed) is taken in"
                ),
            )
            return


WHEN_MADE = frozenset({"SP160", "SP161", "SP162"})
"""Codes of what only the run that makes a bundle can see."""

RULES = (
    Rule(
        "SP160",
        Severity.WARNING,
        "new key where nobody keeps it",
        _new_and_unwatched,
        explanation="A key that no file is named for is generated, and kept in the home of generated keys on the "
        "machine that made it. A build server deletes its folders after the job, and an archive holds no keys: boards "
        "that get the key can never be given another firmware over the cable, and the archived bundle can never be "
        "used. With ESP-IDF 6 flash encryption brings an NVS HMAC key along, which is easily forgotten.",
        source="docs/keys.md; ESP-IDF components/nvs_sec_provider/Kconfig (NVS_SEC_KEY_PROTECTION_SCHEME)",
        cure="make the key once, keep it safe, and name its file",
    ),
    Rule(
        "SP161",
        Severity.ERROR,
        "archive of a bundle whose keys are lost with the job",
        _archived_and_lost,
        explanation="A build server makes a bundle with new keys and archives it without them; then the job ends, and "
        "its folders are deleted. Nobody has the keys of what was archived, and the images in it are encrypted with "
        "them. Accept it where the archive is thrown away anyway, as in a test of the build.",
        source="docs/build-servers.md",
        cure="name every key, from the secrets of the build server",
        why="no board is touched; an archive that only tests the build may be thrown away with its keys",
    ),
    Rule(
        "SP162",
        Severity.WARNING,
        "keys of the bundle can slip into git",
        _bundled_keys_in_git,
        explanation="The bundle is written into a working tree whose .gitignore does not cover its folder keys. That "
        "is how keys get into repositories: by adding everything. The bundle brings a .gitignore in that folder, as "
        "the home of generated keys does; it goes when somebody copies the keys elsewhere or deletes it, and does not "
        "cover the journal and the sealed copies of keys beside it.",
        source="ESP-IDF manual, Secure Boot V2, Secure Boot Best Practices (keep the private key confidential)",
        cure="add the directory of the bundle to .gitignore, or give one outside of the repository with -o",
    ),
)
