# SPDX-License-Identifier: Apache-2.0
"""The options of `bundle` that the manifest names: they decide what a board gets, and a forger can write them.

So they count only if they are said again on verify's command line, or signed with the rest of the manifest. Naming a
key decides nothing but which key it is, which fingerprints show; a spare key is trusted though it has signed nothing
here, and is named again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from secure_ext.bundle.inputs import A_FILE, SIGNING_KEYS
from secure_ext.bundle.readable import ReadableFile, as_rows, readable_text
from secure_ext.checks import Check
from secure_ext.documents.read import MANIFEST
from secure_ext.formats.secure_boot import public_key_digest
from secure_ext.keys.signing import load_verification_key
from secure_ext.policy.profile import Profile
from secure_ext.policy.signing_entry import Signs, is_digest
from secure_ext.prove.verify.check import failed, judged, passed, unseen
from secure_ext.prove.verify.documents import Documents
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import document_data

_NAME, _KEYS = "options-repeated", "signing-keys"
_MODE, _ENABLED, _ACCEPT = "flash_encryption.mode", "secure_boot.enabled", "doctor.accept"
_KEY_FILES = {"flash_encryption.key": (A_FILE, "per-device"), "nvs.key": (A_FILE,)}


@frozen
class Repeated:
    """The options of `bundle`, as they are given to `verify`; keys by PEM file, of which the public half will do."""

    flash_encryption: str | None = None
    secure_boot: bool | None = None
    accept: tuple[str, ...] = ()
    signing_keys: tuple[str, ...] = ()
    digest_only_keys: tuple[str, ...] = ()


NOTHING_REPEATED = Repeated()


def check_options(documents: Documents, profile: Profile, repeated: Repeated, *, is_signed: bool) -> Check:
    """With the build and the profile at hand: all that decides beside them is said again."""
    missing = list(not_repeated(documents, profile, repeated))
    contradicted = list(_contradicted(documents, repeated))
    if contradicted:
        return failed(_NAME, MANIFEST, f"the bundle was made otherwise than it is asked for: {', '.join(contradicted)}")
    if is_signed or not missing:
        return passed(_NAME, MANIFEST, "signed with the manifest" if is_signed else "none decides that is not repeated")
    return failed(
        _NAME,
        MANIFEST,
        f"the bundle says that it was made with {', '.join(missing)}",
        "if you want boards to be made with that, give the same options to verify; else do not use the bundle",
    )


def check_options_without_build(documents: Documents, repeated: Repeated, *, is_signed: bool) -> Check:
    """Without the build nobody can see whether the plan follows from them."""
    missing = list(not_repeated(documents, Profile(Path()), repeated))
    if is_signed or not missing or list(_contradicted(documents, repeated)):
        return check_options(documents, Profile(Path()), repeated, is_signed=is_signed)
    return unseen(_NAME, MANIFEST, f"the bundle says that it was made with {', '.join(missing)}")


def not_repeated(documents: Documents, profile: Profile, repeated: Repeated) -> Iterator[str]:
    """The recorded options that decide and are not repeated, as they are typed."""
    for key, value in documents.manifest.inputs.options.items():
        if key == _MODE and value != repeated.flash_encryption:
            yield f"--flash-encryption {value}"
        elif key == _ENABLED and value is not repeated.secure_boot:
            yield "--secure-boot" if value is True else "--no-secure-boot"
        elif key == _ACCEPT:
            accepted = (*repeated.accept, *(profile.texts(_ACCEPT) or ()))
            yield from (f"--accept {code}" for code in _listed(value) if code not in accepted)
        elif key == SIGNING_KEYS:
            yield from _signing_keys(documents, profile, repeated, value)
        elif key not in (_MODE, _ENABLED) and value not in _KEY_FILES.get(key, ()):
            yield f"{key} = {value!r} (no option of `bundle`)"


def check_signing_keys(documents: Documents, repeated: Repeated) -> Iterator[Check]:
    """The digests in the plan, against the keys that are given; nothing if none are.

    Raises the InputErrors SE601 to SE611 for a file that is no key.
    """
    given = (*repeated.signing_keys, *repeated.digest_only_keys)
    if not given:
        return
    length = min((step.length for step, _ in documents.signing_keys), default=None)  # an ESP32-C2 burns half of it
    wanted = sorted(_fingerprint(key, length) for key in given)
    burned = sorted(str(step.fingerprint) for step, _ in documents.signing_keys)
    wrong = f"boards would trust {_or_nobody(burned)}, and the given keys are {', '.join(wanted)}"
    yield judged(_KEYS, "plan.json", burned == wanted, f"the {len(given)} given", wrong)


def closing_data(documents: Documents, readable: Sequence[ReadableFile]) -> dict[str, Any]:
    """What verify says at its end: things that nobody but the reader can judge."""
    return {
        "made_by": documents.manifest.tool,
        "options": documents.manifest.inputs.options,
        "trusted_signing_keys": [step.fingerprint for step, _ in documents.signing_keys],
        "readable": document_data(as_rows(readable)),
    }


def closing_text(documents: Documents, readable: Sequence[ReadableFile]) -> str:
    """The same for a terminal."""
    data = closing_data(documents, readable)
    options = ", ".join(f"{key} = {_shown(value)}" for key, value in data["options"].items())
    keys = ", ".join(map(str, data["trusted_signing_keys"]))
    return "\n".join(
        (
            f"made by {data['made_by']}, with these options beside configuration and profile: {options or 'none'}",
            f"signing keys that boards will trust, by the fingerprint of their digest: {keys or 'none'}",
            f"readable by whoever has these files, keys aside: {readable_text(readable)}",
        )
    )


def _signing_keys(documents: Documents, profile: Profile, repeated: Repeated, value: object) -> Iterator[str]:
    number = len(documents.signing_keys)
    if type(value) is not int or value != number:
        yield f"{value!r} signing keys (the plan has {number})"
    spares = sum(signs is Signs.NOTHING for _, signs in documents.signing_keys)
    known = [entry for entry in profile.signing_entries(SIGNING_KEYS) or () if entry.signs is Signs.NOTHING]
    if spares > len(known) + len(repeated.digest_only_keys):
        yield "--digest-only-key for a key that signs nothing here"


def _contradicted(documents: Documents, repeated: Repeated) -> Iterator[str]:
    mode = "off"
    if documents.encrypts:
        mode = "release" if documents.encrypts_for_release else "development"
    if repeated.flash_encryption not in (None, mode):
        yield f"flash encryption is {mode}"
    if repeated.secure_boot not in (None, documents.signs):
        yield f"secure boot is {'on' if documents.signs else 'off'}"


def _fingerprint(key: str, length: int | None) -> str:
    digest = bytes.fromhex(key) if is_digest(key) else public_key_digest(load_verification_key(Path(key)))
    return fingerprint(digest[:length])


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _or_nobody(fingerprints: list[str]) -> str:
    return ", ".join(fingerprints) or "nobody"
