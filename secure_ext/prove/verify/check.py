# SPDX-License-Identifier: Apache-2.0
"""The names of all checks of a bundle, and short ways to write down how one ended."""

from __future__ import annotations

from secure_ext.checks import Check, Outcome
from secure_ext.errors import SecureProvisionError

CHECKS = {
    "manifest-readable": "the manifest is there and is a JSON object",
    "manifest-schema": "the manifest keeps to its JSON Schema",
    "manifest-form": "the manifest's text is the one this tool writes: nothing twice, nothing in between",
    "plan-readable": "the plan is there and is a JSON object",
    "plan-schema": "the plan keeps to its JSON Schema",
    "plan-steps": "every step once, the stages in their order, images written before anything is burned",
    "plan-order": "no step stands where it would damage a chip, and each says of the chip what espefuse's tables say",
    "file-hash": "a file has the hash that the manifest lists",
    "file-missing": "a file that the manifest lists is there",
    "file-extra": "a file that is there is listed",
    "file-unlisted": "the manifest lists every file that a bundle needs",
    "file-foreign": "the manifest lists no file but those that plan, keys and manifest call for",
    "file-names": "a name is one and the same file on every system: nothing that Windows takes for another",
    "file-kind": "every file is a file, and no link to something else",
    "key-folder": "the folder keys holds the plan's keys and nothing unknown",
    "key-permissions": "keys, and images with secrets in the clear, are readable by their owner alone (not on Windows)",
    "other-folders": "what lies in the folders journal and sealed",
    "manifest-chip": "manifest and plan are for one chip",
    "manifest-image": "an image is in the plan as it is in the manifest: file, offset, size, hash",
    "manifest-order": "the images are in the order of flash addresses, each under its own name",
    "manifest-key": "a key is in the plan as it is in the manifest: role, fingerprint, block, purpose",
    "manifest-checks": "the proofs that were made fit each image: what is encrypted, signed, built from what",
    "image-size": "an image's file has the listed size and hash",
    "image-flags": "an image is signed and encrypted as its role and the plan's eFuses demand",
    "image-overlap": "no image reaches into the next one",
    "key-fingerprint": "a key's or digest's file is the one whose fingerprint is in the plan",
    "board-identity": "each board gets an identity: from a CA that may issue it, for a burned key of its own",
    "data-file": "a file with data for the block of user data holds what the plan says",
    "image-ciphertext": "an encrypted image is not plaintext",
    "image-decrypts": "an encrypted image decrypts, with the chip's key and at its address",
    "image-content": "what the chip will read is a whole image for this chip, or a partition table",
    "image-source": "what the chip will read is what was built",
    "image-nvs": "the firmware can read an NVS image, with the NVS keys that it will have",
    "image-signatures": "the keys that the plan says have signed the image, and none whose digest is not burned",
    "boot-slot": "the OTA data start the app that the manifest names for a new board",
    "partition-place": "an image begins at its partition and fits into it",
    "partition-encryption": "an image is encrypted if and only if the firmware decrypts its partition",
    "script-text": "provision.py is what this tool makes of the plan: table and runner, character by character",
    "script-version": "the script was made by the version that the manifest names",
    "shell-text": "commands.sh is what this tool makes of the plan",
    "powershell-text": "commands.ps1 is what this tool makes of the plan",
    "report-text": "report.html is what this tool makes of manifest, plan and rehearsal",
    "partition-rows": "the manifest lists the partitions as the partition table has them",
    "plan-requirements": "the plan asks of a board what its own images and partitions need",
    "plan-from-build": "the recorded build, profile and options give this very plan again",
    "facts-from-build": "the recorded build gives this flash size, these key blocks, partitions and findings again",
    "images-from-build": "the recorded build gives images of these sources, at these places",
    "readable-contents": "the manifest says of each image what whoever has its file can read in it",
    "options-repeated": "options that decide, beside configuration and profile, are given to verify again, or signed",
    "signing-keys": "the keys that boards will trust are those that were given to verify, and no others",
    "rehearsal": "this very bundle passed a rehearsal",
    "signed-statement": "the signed statement is about this very bundle",
    "statement-signature": "the statement is signed by the key that was given",
    "archive-form": "the archive is, byte by byte, the one this tool makes of its content",
    "archive-secrets": "the archive holds no keys and no board's records",
}
"""Name and meaning; people script against the names."""

COPY_AGAIN = "copy the whole bundle again, or make it again"
DO_NOT_USE = "do not use this bundle; make it again from the build"


def passed(name: str, place: str, evidence: str) -> Check:
    """A check that went well."""
    return Check(_known(name), place, Outcome.PASSED, evidence)


def failed(name: str, place: str, evidence: str, cure: str = DO_NOT_USE) -> Check:
    """A check that found something wrong."""
    return Check(_known(name), place, Outcome.FAILED, evidence, cure)


def unseen(name: str, place: str, why: str) -> Check:
    """A check that cannot be made with what is at hand."""
    return Check(_known(name), place, Outcome.NOT_VERIFIABLE, why)


def judged(name: str, place: str, fine: bool, evidence: str, wrong: str, *, cure: str = DO_NOT_USE) -> Check:
    """Passed with `evidence` if it is fine, failed with `wrong` if not."""
    return passed(name, place, evidence) if fine else failed(name, place, wrong, cure)


def refused(name: str, place: str, error: SecureProvisionError, cure: str = DO_NOT_USE) -> Check:
    """A check that ended in one of the package's errors."""
    return failed(name, place, f"{error.code}: {error.cause}", cure)


def _known(name: str) -> str:
    if name not in CHECKS:
        raise KeyError(name)
    return name
