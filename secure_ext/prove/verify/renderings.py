# SPDX-License-Identifier: Apache-2.0
"""Are the script, the plain commands and the report what this tool makes of the plan, to the last character?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from secure_ext import __version__
from secure_ext.bundle.commands import render_powershell, render_shell
from secure_ext.bundle.file_names import POWERSHELL, REHEARSAL, SCRIPT, SHELL
from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.released_scripts import is_released_script
from secure_ext.bundle.script import PER_ADDRESS_SCRIPT, PER_DEVICE_SCRIPT, render_script
from secure_ext.checks import Check
from secure_ext.documents.read import read_rehearsal
from secure_ext.errors import SecureProvisionError
from secure_ext.prove.verify.check import COPY_AGAIN, failed, judged, passed, refused, unseen
from secure_ext.prove.verify.documents import Documents
from secure_ext.report.page import REPORT, render_report
from secure_ext.station.plan_document import PlanDocument

_RENDERINGS = (
    ("script-text", SCRIPT, render_script),
    ("shell-text", SHELL, render_shell),
    ("powershell-text", POWERSHELL, render_powershell),
)
_Rendering = tuple[str, str, Callable[[], str]]
_TOOL = "idf-secure-provision "
_THIS_TOOL = _TOOL + __version__
_MADE_BY = re.compile(r"^Made by (idf-secure-provision \S+)\. ", re.MULTILINE)


def check_renderings(files: BundleFiles, documents: Documents, *, is_signed: bool) -> Iterator[Check]:
    """Renders each file again from the plan.

    What another version made cannot be rendered by this one, but for the scripts of `is_released_script`. Code that
    nobody could check fails, unless a signature over it was verified (`is_signed`); the report, which is not code and
    not signed, fails if all else is.
    """
    tool = documents.manifest.tool
    if documents.manifest.per_device is not None:
        stand_in = PER_DEVICE_SCRIPT if documents.per_device_roles else PER_ADDRESS_SCRIPT
        renderings: list[_Rendering] = [("script-text", SCRIPT, lambda: stand_in)]
    else:
        yield from _version(files, tool)
        renderings = [(check, name, _of_plan(render, documents)) for check, name, render in _RENDERINGS]
    for check, name, rendered in (*renderings, ("report-text", REPORT, lambda: _report(files, documents))):
        content = files.read(name)
        if content is None:
            continue  # the inventory says so
        try:
            text = rendered()
        except SecureProvisionError as error:
            yield refused(check, name, error)
            continue
        if content == text.encode():
            yield passed(check, name, "as this tool renders the plan")
        elif tool == _THIS_TOOL:
            yield failed(check, name, _first_difference(content.decode("utf-8", "replace"), text), COPY_AGAIN)
        elif name == SCRIPT and _is_released(content, documents):
            yield passed(check, name, f"as {tool} rendered the plan")
        else:
            yield _of_another_version(check, name, tool, is_signed=is_signed)


def _is_released(script: bytes, documents: Documents) -> bool:
    version = documents.manifest.tool.removeprefix(_TOOL)
    text = script.decode("utf-8", "replace")
    return is_released_script(text, version, documents.plan, documents.manifest.project)


def _of_another_version(check: str, name: str, tool: str, *, is_signed: bool) -> Check:
    with_that = "verify the bundle with that version"
    if name == REPORT and is_signed:
        wrong = f"it is not signed, and made by {tool}: nobody knows what stands in it"
        return failed(check, name, wrong, f"{with_that}; do not go by the report")
    if name == REPORT or is_signed:
        signed = "; the signature is over it" if is_signed else ""
        return unseen(check, name, f"the bundle was made by {tool}; {with_that}{signed}")
    wrong = f"the manifest says it was made by {tool}, which this version cannot make again: nobody has checked it"
    return failed(check, name, wrong, f"do not run it; {with_that}, or its signature with --manifest-key")


def _version(files: BundleFiles, tool: str) -> Iterator[Check]:
    script = files.read(SCRIPT)
    if script is not None:
        made_by = _MADE_BY.search(script.decode("utf-8", errors="replace"))
        found = made_by.group(1) if made_by else "it does not say by what"
        yield judged("script-version", SCRIPT, found == tool, f"made by {tool}", f"the manifest says {tool}: {found}")


def _of_plan(render: Callable[[PlanDocument, str], str], documents: Documents) -> Callable[[], str]:
    return lambda: render(documents.plan, documents.manifest.project)


def _report(files: BundleFiles, documents: Documents) -> str:
    rehearsal = files.read(REHEARSAL) if REHEARSAL in documents.manifest.files else None
    try:
        outcome = None if rehearsal is None else read_rehearsal(rehearsal)
    except ValueError:
        outcome = None  # the check of the rehearsal says so
    return render_report(documents.manifest, documents.plan, outcome)


def _first_difference(found: str, expected: str) -> str:
    lines, wanted = found.splitlines(), expected.splitlines()
    for number, (line, other) in enumerate(zip(lines, wanted, strict=False), 1):
        if line != other:
            return f"line {number} is {line.strip()[:80]!r}, and should be {other.strip()[:80]!r}"
    return f"it has {len(lines)} lines, and should have {len(wanted)}"
