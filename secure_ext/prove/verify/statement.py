# SPDX-License-Identifier: Apache-2.0
"""Is there a signed statement about this very bundle, and is it signed by the key that was given?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secure_ext.bundle.attest import is_about, key_id, read_envelope
from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.manifest import ENVELOPE
from secure_ext.bundle.read import FinishedBundle
from secure_ext.checks import Check
from secure_ext.keys.signing import load_verification_key
from secure_ext.prove.verify.check import failed, judged, unseen
from secure_ext.prove.verify.documents import Documents

_NAMES = ("signed-statement", "statement-signature")


def check_statement(files: BundleFiles, documents: Documents, key_file: Path | None) -> Iterator[Check]:
    """Without a key its signature cannot be seen; with one, a bundle that is not signed fails.

    Raises the InputErrors SE601 to SE611 for a file that is no key.
    """
    key = None if key_file is None else load_verification_key(key_file)
    text = files.read(ENVELOPE)
    if text is None:
        why = "the bundle is not signed (`secure-provision bundle --sign-manifest`)"
        for name in _NAMES:
            yield unseen(name, ENVELOPE, why) if key is None else failed(name, ENVELOPE, "it is missing: " + why)
        return
    try:
        envelope = read_envelope(text)
    except ValueError as error:
        yield failed("signed-statement", ENVELOPE, str(error))
        return
    fine = is_about(envelope, FinishedBundle(files.place, documents.manifest, documents.plan))
    wrong = "it is about another bundle, or about this one before a change"
    yield judged("signed-statement", ENVELOPE, fine, "about every file and the manifest, but the rehearsal", wrong)
    if key is None:
        yield unseen("statement-signature", ENVELOPE, "nobody knows by whom it is signed without --manifest-key")
        return
    wrong = f"there is no valid signature of the key {key_id(key)}"
    yield judged("statement-signature", ENVELOPE, envelope.is_signed_by(key), f"signed by {key_id(key)}", wrong)
