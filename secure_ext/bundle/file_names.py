# SPDX-License-Identifier: Apache-2.0
"""The files of a bundle: exactly those that its plan and its manifest call for, under names that every system takes.

What lies beside a program may be run with it, and a name that is two files on one system is one on another. So nobody
may add a file, listed or not; only the folders of `OUTSIDE_THE_MANIFEST` hold what is not decided here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from secure_ext.bundle.mac_list_file import MAC_LIST, list_of
from secure_ext.bundle.manifest import (
    ENVELOPE,
    IDENTITY_CA,
    IDENTITY_PLAIN,
    OUTSIDE_THE_MANIFEST,
    SEAL_TO,
    image_path,
)
from secure_ext.documents.manifest import Manifest
from secure_ext.documents.read import MANIFEST
from secure_ext.errors import InputError
from secure_ext.formats.windows_names import is_device
from secure_ext.plan.document import key_file
from secure_ext.plan.recipe import IDENTITY
from secure_ext.plan.steps import KeyRole
from secure_ext.report.page import REPORT
from secure_ext.station.plan_document import PlanDocument

PLAN, SCRIPT, SHELL, POWERSHELL = "plan.json", "provision.py", "commands.sh", "commands.ps1"
REHEARSAL = "rehearsal.json"
_UNFINISHED = re.compile(r"\.(?P<name>[^/]+)\.[0-9]+\.new")
"""What `secure_ext.station.durable` leaves beside a file when the power goes."""

_FORBIDDEN = re.compile(r'[^ -~]|[<>:"|?*\\]')


def needed_files(manifest: Manifest, plan: PlanDocument) -> set[str]:
    """The files that the manifest of a bundle lists, whatever has happened to it since."""
    needed = {PLAN, SCRIPT, REPORT, *(image_path(image.name) for image in manifest.images)}
    roles = [KeyRole(key.role) for key in plan.keys]
    needed |= {key_file(role) for role in roles if not role.is_secret}
    needed |= {data.file for data in plan.data} | ({MAC_LIST} if list_of(plan) is not None else set())
    if manifest.per_device is None:
        has_identity = any(image.recipe == IDENTITY for image in manifest.images)
        return needed | ({IDENTITY_PLAIN} if has_identity else set()) | {SHELL, POWERSHELL}
    needed |= {IDENTITY_CA} if manifest.per_device.identity is not None else set()
    return needed | {SEAL_TO} if manifest.per_device.seal_to is not None else needed


def foreign_files(names: Iterable[str], manifest: Manifest, plan: PlanDocument) -> list[str]:
    """Of these names those that no bundle with such a plan and manifest has, sorted."""
    known = {*needed_files(manifest, plan), REHEARSAL, MANIFEST, ENVELOPE}
    return sorted(
        name for name in names if name_fault(name) or not (name in known or name.startswith(OUTSIDE_THE_MANIFEST))
    )


def refuse_foreign_files(place: Path, names: Iterable[str], manifest: Manifest, plan: PlanDocument) -> None:
    """Raises InputError SE715 if one of the `foreign_files` is among the names."""
    foreign = foreign_files(names, manifest, plan)
    if foreign:
        raise InputError(
            "SE715",
            f"there is a file that no bundle has: {foreign[0]!r}",
            cure="find out who put it there, and remove it; if the manifest lists it, make the bundle again",
            place=str(place),
        )


def is_unfinished(name: str) -> bool:
    """Whether a file is what an interrupted write left of one of a bundle's own files; nothing reads it."""
    found = _UNFINISHED.fullmatch(name)
    return found is not None and found["name"] in (MANIFEST, REHEARSAL, REPORT)


def name_fault(name: str) -> str:
    """Why a relative path is not the same single file on every system; empty if it is.

    Source: Microsoft, "Naming Files, Paths, and Namespaces" (reserved characters, names, trailing dots and spaces).
    """
    if _FORBIDDEN.search(name):
        return "it has a character that is not allowed in a file name everywhere"
    for part in name.split("/"):
        if part.strip(".") == "":
            return "it leaves its folder, or has an empty part"
        if part.endswith((".", " ")):
            return "a part ends in a dot or a space, which Windows leaves out"
        if is_device(part):
            return "Windows takes it for a device"
    return ""


def name_faults(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The names that are not safe, each with the reason; two that differ in case alone are one file on Windows."""
    names = sorted(set(names))
    number = Counter(name.lower() for name in names)
    for name in names:
        fault = name_fault(name) or ("another name differs in case alone" if number[name.lower()] > 1 else "")
        if fault:
            yield name, fault
