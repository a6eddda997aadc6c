"""Did this very bundle pass a rehearsal?"""

from __future__ import annotations

import json
from typing import Any

from secure_ext.bundle.file_names import REHEARSAL
from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.read import FinishedBundle
from secure_ext.bundle.verify.check import failed, judged, unseen
from secure_ext.bundle.verify.documents import Documents
from secure_ext.checks import Check
from secure_ext.reading import parse_json

_MEMBERS = {
    *("schema", "tool", "esptool", "bundle", "chip", "date", "passed", "means", "boot_log", "power_cuts"),
}
_OF_ANOTHER = "it is about another bundle, or one before a change"
_REHEARSE = "run `secure-provision rehearse` on this bundle"


def check_rehearsal(files: BundleFiles, documents: Documents, *, is_signed: bool) -> Check:
    """By the outcome in the bundle, which names the bundle it is about, and holds nothing else than a rehearsal writes.

    It comes after the signature and is in none: with one (`is_signed`) that is said.
    """
    content = files.read(REHEARSAL)
    if content is None:
        return unseen("rehearsal", REHEARSAL, f"there is none: {_REHEARSE}")
    try:
        outcome = parse_json(content)
        ended_well, about = outcome["passed"], outcome["bundle"]
        is_whole = _is_whole(content, outcome)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return failed("rehearsal", REHEARSAL, "it cannot be read", _REHEARSE)
    identity = FinishedBundle(files.place, documents.manifest, documents.plan).identity
    wrong = (
        (ended_well is not True, "it did not pass"),
        (about != identity or REHEARSAL not in documents.manifest["files"], _OF_ANOTHER),
        (not is_whole or outcome["chip"] != documents.plan["chip"], "it is not what a rehearsal writes"),
    )
    problems = [text for is_wrong, text in wrong if is_wrong]
    told = f"passed on {outcome.get('date')}" + (": so it says, and that is not signed" if is_signed else "")
    return judged("rehearsal", REHEARSAL, not problems, told, "; ".join(problems), cure=_REHEARSE)


def _is_whole(content: bytes, outcome: dict[str, Any]) -> bool:
    """Whether it is as `secure_ext.rehearsal.rehearse` writes it, and at one with itself."""
    means = outcome["means"]
    as_written = (json.dumps(outcome, indent=2) + "\n").encode() == content
    known = set(outcome) == _MEMBERS and all(set(item) == {"name", "passed", "evidence"} for item in means)
    return as_written and known and bool(means) and outcome["passed"] is all(item["passed"] is True for item in means)
