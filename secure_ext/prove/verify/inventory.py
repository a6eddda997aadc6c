# SPDX-License-Identifier: Apache-2.0
"""Is every file there and unchanged, is nothing there that is not listed, and who may read the secrets?"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from secure_ext.bundle.file_names import foreign_files, name_faults, needed_files
from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.key_home import KEYS_IGNORED, ignores_all
from secure_ext.bundle.manifest import ENVELOPE, OUTSIDE_THE_MANIFEST
from secure_ext.bundle.readable import secret_files
from secure_ext.checks import Check
from secure_ext.documents.read import MANIFEST
from secure_ext.prove.verify.check import COPY_AGAIN, failed, judged, passed, unseen
from secure_ext.prove.verify.documents import Documents

_KEYS = "keys/"
_KEY_NAMES = re.compile(
    r"keys/(flash_encryption_key(_half_[12])?\.bin|nvs_hmac_key\.bin|nvs_keys\.bin|extra_key_[0-5]\.(bin|pem)|"
    r"secure_boot_signing_key_[0-2]\.pem|superseded/[A-Za-z0-9_-]+\.[0-9a-f]{32})"
)


def check_inventory(files: BundleFiles, documents: Documents) -> Iterator[Check]:
    """The files against the manifest's list."""
    listed = documents.manifest.files
    names = files.names()
    for name, digest in listed.items():
        content = files.read(name)
        if content is None:
            yield failed("file-missing", name, "it is listed, and not there", COPY_AGAIN)
        else:
            fits = hashlib.sha256(content).hexdigest() == digest
            yield judged("file-hash", name, fits, digest, "it is not the file that the manifest lists", cure=COPY_AGAIN)
    others = [name for name in names if name not in listed and name not in (MANIFEST, ENVELOPE)]
    extra = [name for name in others if not name.startswith(OUTSIDE_THE_MANIFEST)]
    for name in extra:
        yield failed("file-extra", name, "the manifest does not list it", "find out who put it there, and remove it")
    if not extra:
        yield passed("file-extra", "the bundle", f"{len(listed)} files, all listed")
    yield _needed_files(documents)
    yield from _foreign(documents)
    yield from _names({*names, *listed})
    yield from _kinds(files, names)
    yield _key_folder(files, documents)
    if files.folder is not None:
        yield _permissions(files.folder, secret_files(documents.manifest))
    yield from _other_folders(others)


def _needed_files(documents: Documents) -> Check:
    needed = needed_files(documents.manifest, documents.plan)
    missing = sorted(needed - set(documents.manifest.files))
    return judged(
        "file-unlisted", MANIFEST, not missing, f"{len(needed)} files", f"it does not list {', '.join(missing)}"
    )


def _foreign(documents: Documents) -> Iterator[Check]:
    """A file that is listed, with a hash that is right, is no part of a bundle for that."""
    listed = documents.manifest.files
    foreign = foreign_files(listed, documents.manifest, documents.plan)
    for name in foreign:
        yield failed("file-foreign", name, "neither plan nor manifest call for it, and it is listed")
    if not foreign:
        yield passed("file-foreign", MANIFEST, f"{len(listed)} files, each with a use")


def _names(names: set[str]) -> Iterator[Check]:
    faults = list(name_faults(names))
    for name, fault in faults:
        yield failed("file-names", name, fault, "find out who put it there, and remove it")
    if not faults:
        yield passed("file-names", "the bundle", f"{len(names)} names, the same on every system")


def _kinds(files: BundleFiles, names: list[str]) -> Iterator[Check]:
    if files.folder is None:
        return
    wrong = [name for name in names if not stat.S_ISREG((files.folder / name).lstat().st_mode)]
    links = [path for path in files.folder.rglob("*") if path.is_symlink() and path.is_dir()]
    wrong += [path.relative_to(files.folder).as_posix() for path in links]
    for name in sorted(set(wrong)):
        yield failed("file-kind", name, "it is a link or no plain file", "remove it, and " + COPY_AGAIN)
    if not wrong:
        yield passed("file-kind", "the bundle", f"{len(names)} plain files")


def _key_folder(files: BundleFiles, documents: Documents) -> Check:
    ignored = _KEYS + KEYS_IGNORED
    present = [name for name in files.names() if name.startswith(_KEYS) and name != ignored]
    if ignored in files.names() and not ignores_all(files.read(ignored) or b""):
        return failed("key-folder", ignored, "it does not keep the keys out of git", "put one line into it: *")
    unknown = [name for name in present if not _KEY_NAMES.fullmatch(name)]
    later = documents.per_device_roles
    burned = [step for step in documents.plan.keys if step.role not in later]
    needed = {name for step in burned for name in (step.file, step.pem) if name and name.startswith(_KEYS)}
    missing = sorted(needed - set(present))
    if unknown:
        also = f"it also holds {', '.join(unknown)}"
        return failed("key-folder", _KEYS, also, "find out what that is, and remove it")
    if missing:
        where = "an archive holds none" if files.folder is None else "the script needs them when a board is burned"
        return unseen("key-folder", _KEYS, f"not here: {', '.join(missing)}; {where}")
    return passed("key-folder", _KEYS, f"holds {', '.join(present) or 'nothing, and nothing is needed'}")


def _permissions(folder: Path, secret: Sequence[str]) -> Check:
    keys = folder / "keys"
    if os.name != "posix":
        return unseen("key-permissions", _KEYS, "file modes say nothing on this system")
    exposed = [
        path.relative_to(folder).as_posix()
        for path in (keys, *keys.rglob("*"), *(folder / name for name in secret))
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    return judged(
        "key-permissions",
        _KEYS,
        not exposed,
        "open to nobody but the owner",
        f"others may read or change {', '.join(exposed)}",
        cure="chmod 700 the folder keys and 600 the files; treat what they hold as known if others use this machine",
    )


def _other_folders(others: list[str]) -> Iterator[Check]:
    present = [name for name in others if name.startswith(OUTSIDE_THE_MANIFEST) and not name.startswith(_KEYS)]
    for folder in sorted({name.partition("/")[0] for name in present}):
        number = sum(name.startswith(folder + "/") for name in present)
        yield passed("other-folders", folder + "/", f"{number} files, which belong to boards and not to the bundle")
