# SPDX-License-Identifier: Apache-2.0
"""Renders ``commands.sh`` and ``commands.ps1``: the steps of a blank board as plain commands, to read or paste."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

from secure_ext.station.burn_calls import new_chip_calls
from secure_ext.station.one_line import one_line
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.revision import revision_text

_SHELL_QUESTION = (
    "printf 'Are all eFuses above as planned? Type SEAL to close the chip: '",
    "read -r answer",
    '[ "$answer" = SEAL ]',
)
_POWERSHELL_QUESTION = (
    "$answer = Read-Host 'Are all eFuses above as planned? Type SEAL to close the chip'",
    "if ($answer -cne 'SEAL') { exit 1 }",
)
"""Asked before sealing, because espefuse ends without an error when it is told not to burn."""


def render_shell(document: PlanDocument, project: str) -> str:
    """``commands.sh`` for a plan document."""
    head = ["#!/bin/sh", *_head(document, project), "set -eu", 'cd "$(dirname "$0")"', ': "${PORT:?set PORT first}"']
    return "\n".join([*head, *_body(document, shlex.quote, '"$PORT"', _SHELL_QUESTION)]) + "\n"


def render_powershell(document: PlanDocument, project: str) -> str:
    """``commands.ps1`` for a plan document."""
    head = [
        *_head(document, project),
        "$ErrorActionPreference = 'Stop'",
        "$PSNativeCommandUseErrorActionPreference = $true",
        "Set-Location $PSScriptRoot",
        "if (-not $env:PORT) { throw 'set $env:PORT first' }",
    ]
    return "\n".join([*head, *_body(document, _powershell_quote, "$env:PORT", _POWERSHELL_QUESTION)]) + "\n"


def _powershell_quote(word: str) -> str:
    """PowerShell takes four characters for a single quote; in such a string it is written twice."""
    return (
        word
        if re.fullmatch(r"[\w/.-]+", word, re.ASCII)
        else "'" + re.sub("['\u2018-\u201b]", r"\g<0>\g<0>", word) + "'"
    )


def _head(document: PlanDocument, project: str) -> list[str]:
    name = re.sub(r"[^\w .-]", "_", project) or "this project"
    return [
        f"# The steps of provision.py for {name} ({one_line(document.chip)}) as plain commands, for a",
        "# NEW board and esptool 5. esptool 4 writes the command names with underscores (burn_key) and .py behind the",
        "# programs. provision.py does the same and also checks the board before, between and after: prefer it.",
        "# Set PORT to the serial port. Steps 'burn' and 'seal' CANNOT BE UNDONE. espefuse asks before it burns.",
    ]


def _body(document: PlanDocument, quote: Callable[[str], str], port: str, question: tuple[str, ...]) -> Iterator[str]:
    base = f"--chip {quote(document.chip)} --port {port}"
    for stage, calls in _stages(document):
        yield ""
        yield f"# ---- {stage} " + "-" * 60
        for step in document.steps:
            if step.stage == stage:
                yield one_line(f"# {step.title}: {step.why}")
                if step.min_revision > document.min_revision:
                    revision = step.min_revision
                    yield f"#   (left out below: only for chips from {revision_text(revision)} on)"
        if stage == "seal":
            yield f"espefuse {base} summary"
            yield from question
        for program, words in calls:
            options = " --after no-reset" if program == "esptool" else ""
            yield f"{program} {base}{options} " + " ".join(quote(word) for word in words)


def _stages(document: PlanDocument) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    flash: list[tuple[str, list[str]]] = []
    for step in document.steps:
        if step.kind == "erase_flash" and not step.offset:
            flash.append(("esptool", ["erase-flash"]))
        elif step.kind == "erase_flash":
            flash.append(("esptool", ["erase-region", hex(step.offset), "ALL"]))
        elif step.kind == "write_images":
            keep = [word for setting in ("mode", "freq", "size") for word in (f"--flash-{setting}", "keep")]
            files = [word for image in document.images for word in (hex(image.offset), image.file)]
            flash.append(("esptool", ["write-flash", *keep, *files]))
    yield "flash", flash
    for stage in ("burn", "seal"):
        steps = [step for step in document.steps if step.stage == stage and step.min_revision <= document.min_revision]
        calls = new_chip_calls(steps)
        if calls:
            yield stage, [("espefuse", call) for call in calls]
