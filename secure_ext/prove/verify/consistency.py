# SPDX-License-Identifier: Apache-2.0
"""Do manifest, plan and files say the same? Each fact that stands in two places is compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

from secure_ext.bundle.files import BundleFiles
from secure_ext.checks import Check
from secure_ext.documents.manifest import ManifestImage
from secure_ext.documents.read import MANIFEST
from secure_ext.prove.verify.check import COPY_AGAIN, failed, judged, passed
from secure_ext.prove.verify.documents import Documents

_IN_PLAN = ("file", "offset", "size", "sha256")
_PROOFS_BY_RECIPE = {
    "nvs-csv": "holds the values of the CSV",
    "nvs-keys": "holds the NVS keys",
    "identity": "keeps the place of the boards' identities",
}
_KEY_MEMBERS = ("role", "fingerprint", "block", "purpose")


def check_consistency(files: BundleFiles, documents: Documents) -> Iterator[Check]:
    """Everything but what is inside the images."""
    manifest, plan = documents.manifest, documents.plan
    chips = f"{manifest.chip} in the manifest, {plan.chip} in the plan"
    yield judged("manifest-chip", MANIFEST, manifest.chip == plan.chip, manifest.chip, chips)
    yield from _rows("manifest-image", documents.images, plan.images, _IN_PLAN, "file")
    yield from _rows("manifest-key", manifest.keys, plan.keys, _KEY_MEMBERS, "role")
    yield _order(documents)
    for image in documents.images:
        yield _size(files, image)
        yield _flags(documents, image)
        yield _proofs(documents, image)
    names = {image.name for image in documents.images}
    for proof in manifest.checks:
        if proof.image not in names:
            yield failed("manifest-checks", proof.image, "a proof is listed for an image that is not there")
    for before, after in pairwise(documents.images):
        if before.offset + before.size > after.offset:
            yield failed("image-overlap", before.name, f"it reaches into {after.name}")
        else:
            yield passed("image-overlap", before.name, f"ends before {after.name} at 0x{after.offset:x}")


def _rows(
    name: str, listed: Sequence[object], planned: Sequence[object], members: tuple[str, ...], title: str
) -> Iterator[Check]:
    """Two lists of the same things, one by one; an empty purpose is none."""
    if len(listed) != len(planned):
        yield failed(name, MANIFEST, f"{len(listed)} in the manifest, {len(planned)} in the plan")
    for ours, theirs in zip(listed, planned, strict=False):
        pairs = {member: (getattr(ours, member), getattr(theirs, member) or None) for member in members}
        different = {member: pair for member, pair in pairs.items() if (pair[0] or None) != pair[1]}
        wrong = ", ".join(f"{member} is {own!r}, in the plan {other!r}" for member, (own, other) in different.items())
        yield judged(name, getattr(ours, title), not different, "as in the plan", wrong)


def _order(documents: Documents) -> Check:
    images = documents.images
    offsets = [image.offset for image in images]
    names = {image.name for image in images}
    own_files = all(image.file == f"images/{image.name}.bin" for image in images)
    fine = offsets == sorted(set(offsets)) and len(names) == len(images) and own_files
    wrong = "two images share an address or a name, are out of order, or are not in the file of their name"
    return judged("manifest-order", MANIFEST, fine, f"{len(images)} images", wrong)


def _size(files: BundleFiles, image: ManifestImage) -> Check:
    content = files.read(image.file)
    if content is None:
        return failed("image-size", image.name, f"{image.file} is missing", COPY_AGAIN)
    digest = hashlib.sha256(content).hexdigest()
    fine = (len(content), digest) == (image.size, image.sha256)
    wrong = f"{image.file} has {len(content)} bytes and hash {digest}"
    return judged("image-size", image.name, fine, f"{image.size} bytes", wrong, cure=COPY_AGAIN)


def _flags(documents: Documents, image: ManifestImage) -> Check:
    """By role; which data is encrypted is checked with the partition table."""
    wrong = []
    if image.signed != (documents.signs and image.role in ("app", "bootloader")):
        wrong.append("is" if image.signed else "is not")
    signing = f"it {wrong[0]} marked as signed" if wrong else ""
    encrypted = image.encrypt_per_device if documents.encrypts_per_device else image.encrypted
    must_be = documents.encrypts if image.role != "data" else documents.encrypts and encrypted
    crypt = "" if encrypted == must_be else f"it is{'' if encrypted else ' not'} marked as encrypted"
    if image.encrypted if documents.encrypts_per_device else image.encrypt_per_device:
        crypt = "it is marked as encrypted at another time than the others"
    problems = " and ".join(text for text in (signing, crypt) if text)
    titles = {"signed": "signed", "encrypted": "encrypted", "encrypt_per_device": "encrypted for each board"}
    words = [title for member, title in titles.items() if getattr(image, member)]
    return judged(
        "image-flags",
        image.name,
        not problems,
        " and ".join(words) or "plain",
        problems,
    )


def _proofs(documents: Documents, image: ManifestImage) -> Check:
    """What `secure_ext.bundle.produce.prove` writes down for an image."""
    number = len(documents.signers_of(image))
    made = _PROOFS_BY_RECIPE.get(image.recipe or "")
    expected = {} if made else {"holds the built image": image.source_sha256 or ""}
    if image.encrypted:
        expected["decrypts to the source"] = f"at flash offset 0x{image.offset:x}"
    if image.signed:
        expected["signatures verify"] = f"{number} of {number} keys"
    found = [proof for proof in documents.manifest.checks if proof.image == image.name]
    listed = {proof.name: proof.evidence for proof in found}
    if made and made in listed:
        expected[made] = listed[made]  # how many values, and under which keys, only the image itself can tell
    elif made:
        expected[made] = "(missing)"
    fine = listed == expected and len(found) == len(expected)
    wrong = f"the proofs are {listed}, and should be {expected}"
    return judged("manifest-checks", image.name, fine, f"{len(expected)} proofs", wrong)
