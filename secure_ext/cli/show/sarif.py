# SPDX-License-Identifier: Apache-2.0
"""The doctor's findings in SARIF 2.1.0, the format in which code hosts take the results of checks.

The properties are those of OASIS's "Static Analysis Results Interchange Format" that GitHub and GitLab read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from secure_ext import __version__
from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.locate import Location
from secure_ext.doctor.rule import Finding, Rule, Severity

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SECURITY_SEVERITY = {Severity.ERROR: "8.0", Severity.WARNING: "5.0", Severity.INFO: "2.0"}
_ISSUE = re.compile(r"ESP-IDF (?:issues?|pull request) (\d+)")
_MANUAL = "https://docs.espressif.com/projects/esp-idf/en/stable/esp32/security/index.html"
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_document(
    findings: Sequence[Finding],
    *,
    locate: Callable[[Finding], Location],
    root: Path,
    is_known: Callable[[Finding], bool] | None,
    exit_code: int,
) -> dict[str, Any]:
    """One run of the doctor.

    Args:
        findings: in the order in which they are shown.
        locate: where each is.
        root: directory that the locations are given relative to.
        is_known: whether a baseline has a finding; None without a baseline.
        exit_code: that of the command.
    """
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "secure-provision doctor",
                        "semanticVersion": __version__,
                        "rules": [_rule(rule) for rule in ALL_RULES],
                    }
                },
                "automationDetails": {"id": "secure-provision/doctor/"},
                "invocations": [{"executionSuccessful": True, "exitCode": exit_code}],
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, locate(finding), root, is_known) for finding in findings],
            }
        ],
    }


def repository_root(folder: Path) -> Path:
    """The working tree that `folder` is in, to which code hosts want paths to be relative; else the folder itself."""
    folder = folder.resolve()
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)


def _rule(rule: Rule) -> dict[str, Any]:
    issue = _ISSUE.search(rule.source)
    help_text = f"{rule.explanation}\n\nWhat to do: {rule.cure}.\n\nSource: {rule.source}"
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", rule.title)),
        "shortDescription": {"text": f"{rule.title[0].upper()}{rule.title[1:]}."},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": help_text, "markdown": help_text},
        "helpUri": f"https://github.com/espressif/esp-idf/issues/{issue[1]}" if issue else _MANUAL,
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": ["security"],
            "precision": "high",
            "security-severity": _SECURITY_SEVERITY[rule.severity],
        },
    }


def _result(
    finding: Finding, location: Location, root: Path, is_known: Callable[[Finding], bool] | None
) -> dict[str, Any]:
    known = is_known is not None and is_known(finding)
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": next(index for index, rule in enumerate(ALL_RULES) if rule.code == finding.code),
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.place}: {finding.cause}. What to do: {finding.cure}."},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _relative(location.path, root), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": location.line},
                }
            }
        ],
        "partialFingerprints": {"secureProvision/v1": finding.fingerprint},
    }
    if is_known is not None:
        result["baselineState"] = "unchanged" if known else "new"
    if finding.accepted:
        result["suppressions"] = [{"kind": "external", "justification": "accepted in the profile"}]
    elif known:
        result["suppressions"] = [{"kind": "external", "justification": "known: it is in the baseline"}]
    return result


def _relative(path: Path, root: Path) -> str:
    try:
        return quote(Path(os.path.relpath(path.resolve(), root)).as_posix())
    except ValueError:  # another drive
        return quote(path.name)
