# SPDX-License-Identifier: Apache-2.0
"""Which findings are shown: codes chosen or left out by their beginning, and those a baseline knows."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.rule import Finding, Rule
from secure_ext.errors import InputError, UsageError
from secure_ext.reading import read_json

_SCHEMA = 1
_PREFIX = re.compile(r"SP\d{0,3}")


def rule_of(code: str) -> Rule:
    """The rule with this code.

    Raises UsageError SE740 when there is none.
    """
    for rule in ALL_RULES:
        if rule.code == code.upper():
            return rule
    raise UsageError(
        "SE740",
        f"{code} is not a code of the doctor",
        cure=f"its codes are {ALL_RULES[0].code} to {ALL_RULES[-1].code}; docs/doctor.md lists them",
        place=code,
    )


def chosen(findings: Sequence[Finding], select: Sequence[str], ignore: Sequence[str]) -> tuple[Finding, ...]:
    """The findings that `select` takes and `ignore` leaves; an error that can never be accepted always stays.

    Both hold codes or beginnings of codes (``SP06`` is SP060 to SP069), also several with commas between them; an
    empty `select` takes all.

    Raises UsageError SE741 for a text that is the beginning of no code.
    """
    selected, ignored = _prefixes(select), _prefixes(ignore)
    return tuple(
        finding
        for finding in findings
        if finding.always_shown
        or ((not selected or finding.code.startswith(selected)) and not finding.code.startswith(ignored or ("-",)))
    )


def _prefixes(texts: Iterable[str]) -> tuple[str, ...]:
    prefixes = tuple(part.strip().upper() for text in texts for part in text.split(","))
    for prefix in prefixes:
        if not _PREFIX.fullmatch(prefix) or not any(rule.code.startswith(prefix) for rule in ALL_RULES):
            raise UsageError(
                "SE741",
                f"{prefix!r} is the beginning of no code",
                cure="give codes or their beginnings, such as SP065 or SP06",
                place=prefix,
            )
    return prefixes


def read_baseline(path: Path) -> frozenset[str]:
    """The fingerprints of the findings in a baseline.

    Raises InputError SE742 when the file cannot be read or is not a baseline.
    """
    try:
        content = read_json(path)
        if content["schema"] != _SCHEMA:
            raise ValueError(f"its schema is {content['schema']!r}, not {_SCHEMA}")
        return frozenset(str(entry["fingerprint"]) for entry in content["findings"])
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, TypeError, KeyError) as error:
        reason = f"it is not a baseline ({type(error).__name__}: {error})"
    raise InputError(
        "SE742",
        f"the baseline cannot be used: {reason}",
        cure="make one: secure-provision doctor --write-baseline FILE",
        place=str(path),
    )


def write_baseline(path: Path, findings: Sequence[Finding]) -> int:
    """Writes the findings that a baseline may hide, whole or not at all; returns their number.

    Raises InputError SE743 when the file cannot be written.
    """
    entries = [
        {"code": finding.code, "place": finding.place, "fingerprint": finding.fingerprint}
        for finding in findings
        if not finding.always_shown
    ]
    text = json.dumps({"schema": _SCHEMA, "findings": entries}, indent=2) + "\n"
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(
            "SE743",
            f"the baseline cannot be written: {error.strerror or error}",
            cure="check the permissions and the free space, or give another file",
            place=str(path),
        ) from None
    return len(entries)


def is_known(finding: Finding, baseline: frozenset[str]) -> bool:
    """Whether the baseline has the finding; never for an error that cannot be accepted."""
    return finding.fingerprint in baseline and not finding.always_shown
