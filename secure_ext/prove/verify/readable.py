# SPDX-License-Identifier: Apache-2.0
"""Does the manifest say of each image what whoever has the file can read in it?"""

from __future__ import annotations

from collections.abc import Sequence

from secure_ext.bundle.readable import ReadableFile, as_rows, readable_text
from secure_ext.checks import Check
from secure_ext.documents.read import MANIFEST
from secure_ext.prove.verify.check import failed, judged, passed
from secure_ext.prove.verify.documents import Documents

_NAME = "readable-contents"


def check_readable(documents: Documents, shown: Sequence[ReadableFile]) -> Check:
    """What the files show, decided once more, against what the manifest says; manifests of 0.1.0 say nothing."""
    listed = documents.manifest.readable
    if listed is None and documents.is_of_first_release:
        return passed(_NAME, MANIFEST, f"as seen here: {readable_text(shown)}")
    if listed is None:
        return failed(_NAME, MANIFEST, "it does not say what can be read in the images")
    rows = as_rows(shown)
    wrong = ", ".join(row.file for row in rows if row not in listed) or "files that are not there"
    return judged(_NAME, MANIFEST, listed == rows, readable_text(shown), f"it says otherwise of {wrong}")
