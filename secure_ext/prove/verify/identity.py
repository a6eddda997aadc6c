# SPDX-License-Identifier: Apache-2.0
"""Will each board get the identity that the manifest names: from this CA, with a key that the plan burns?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.manifest import IDENTITY_CA
from secure_ext.checks import Check
from secure_ext.documents.manifest import BoardIdentity
from secure_ext.formats.in_the_clear import is_erased
from secure_ext.keys.certificates import chain_fault, name_of, read_chain
from secure_ext.plan.identity_place import IDENTITY_LABEL
from secure_ext.plan.recipe import IDENTITY
from secure_ext.policy.identity import subject_fault
from secure_ext.policy.identity_key import key_purpose
from secure_ext.prove.verify.check import judged
from secure_ext.prove.verify.documents import Documents

_NAME = "board-identity"


def check_identity(files: BundleFiles, documents: Documents, readable: dict[str, bytes]) -> Iterator[Check]:
    """The CA's certificates, the key's step, the place in flash; nothing if boards get no identity."""
    per_device = documents.manifest.per_device
    identity = None if per_device is None else per_device.identity
    places = [image for image in documents.images if image.recipe == IDENTITY]
    if per_device is None or identity is None:
        if per_device is not None and places:
            yield judged(_NAME, places[0].name, False, "", "it is kept for identities that no board gets")
        return
    yield _authority(files.read(IDENTITY_CA), identity)
    purposes = {step.role: step.purpose for step in documents.plan.keys}
    is_own = identity.role in per_device.keys and purposes.get(identity.role) == key_purpose(identity.key)
    wrong = f"the plan burns no key for {identity.key} that each board gets for itself"
    yield judged(_NAME, identity.role, is_own, f"each board's own, for {identity.key}", wrong)
    named = [image for image in places if image.partition == IDENTITY_LABEL]
    is_empty = len(named) == len(places) == 1 and is_erased(readable.get(named[0].name, b"\xff"))
    wrong = f"there is not one image for {IDENTITY_LABEL}, or something is in it already"
    yield judged(_NAME, IDENTITY_LABEL, is_empty, "kept for the identity of each board", wrong)


def _authority(content: bytes | None, identity: BoardIdentity) -> Check:
    try:
        chain = read_chain(content or b"")
        fault = chain_fault(chain) or subject_fault(identity.subject)
    except ValueError:
        chain, fault = (), "it holds no certificates"
    if not fault and hashlib.sha256(content or b"").hexdigest() != identity.ca:
        fault = "it is another CA than the one of the manifest"
    issuer = name_of(chain[0]) if chain else ""
    return judged(_NAME, IDENTITY_CA, not fault, f"{issuer} issues {identity.subject}", fault)
