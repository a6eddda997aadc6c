# SPDX-License-Identifier: Apache-2.0
"""Did this very bundle pass a rehearsal?"""

from __future__ import annotations

from secure_ext.bundle.file_names import REHEARSAL
from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.manifest import is_as_written
from secure_ext.bundle.read import FinishedBundle
from secure_ext.checks import Check
from secure_ext.documents.read import read_rehearsal
from secure_ext.prove.verify.check import failed, judged, unseen
from secure_ext.prove.verify.documents import Documents

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
        outcome = read_rehearsal(content)
    except ValueError as error:
        return failed("rehearsal", REHEARSAL, f"SE744: it is damaged: {error}", _REHEARSE)
    is_whole = is_as_written(content) and outcome.passed is all(item.passed for item in outcome.means)
    identity = FinishedBundle(files.place, documents.manifest, documents.plan).identity
    wrong = (
        (not outcome.passed, "it did not pass"),
        (outcome.bundle != identity or REHEARSAL not in documents.manifest.files, _OF_ANOTHER),
        (not is_whole or outcome.chip != documents.plan.chip, "it is not what a rehearsal writes"),
    )
    problems = [text for is_wrong, text in wrong if is_wrong]
    told = f"passed on {outcome.date}" + (": so it says, and that is not signed" if is_signed else "")
    return judged("rehearsal", REHEARSAL, not problems, told, "; ".join(problems), cure=_REHEARSE)
