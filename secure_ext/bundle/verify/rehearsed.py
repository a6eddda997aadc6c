"""Did this very bundle pass a rehearsal?"""

from __future__ import annotations

from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.read import REHEARSAL, FinishedBundle
from secure_ext.bundle.verify.check import failed, judged, unseen
from secure_ext.bundle.verify.documents import Documents
from secure_ext.checks import Check
from secure_ext.reading import parse_json

_REHEARSE = "run `secure-provision rehearse` on this bundle"


def check_rehearsal(files: BundleFiles, documents: Documents) -> Check:
    """By the outcome in the bundle, which names the bundle it is about."""
    content = files.read(REHEARSAL)
    if content is None:
        return unseen("rehearsal", REHEARSAL, f"there is none: {_REHEARSE}")
    try:
        outcome = parse_json(content)
        ended_well, about = outcome["passed"], outcome["bundle"]
    except (ValueError, TypeError, KeyError):
        return failed("rehearsal", REHEARSAL, "it cannot be read", _REHEARSE)
    identity = FinishedBundle(files.place, documents.manifest, documents.plan).identity
    fine = ended_well is True and about == identity and REHEARSAL in documents.manifest["files"]
    wrong = "it did not pass" if ended_well is not True else "it is about another bundle, or one before a change"
    return judged("rehearsal", REHEARSAL, fine, f"passed on {outcome.get('date')}", wrong, cure=_REHEARSE)
