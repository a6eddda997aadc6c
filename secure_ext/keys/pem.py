# SPDX-License-Identifier: Apache-2.0
"""Find the one key in a PEM file, before anything is parsed: its label says what it is and whether it is locked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from secure_ext.errors import InputError
from secure_ext.reading import KEY_FILE_LIMIT, read_file
from secure_ext.station.frozen import frozen

_BOUNDARY = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----")
_OPENSSH_LABEL = "OPENSSH PRIVATE KEY"


@frozen
class PemKey:
    """One PEM key: its file, whether it is a private key and needs a passphrase, and its text (not in ``repr``)."""

    place: str
    is_private: bool
    is_locked: bool
    text: bytes = field(repr=False)


def read_pem_key(path: Path) -> PemKey:
    """Read the only key of a PEM file; blocks that are no key (EC parameters, certificates beside a key) are skipped.

    Raises:
        InputError: SE601 unreadable, SE602 not PEM, SE605 no private or public key in it,
            SE606 cut off, SE611 more than one key.
    """
    place = str(path)
    try:
        data = read_file(path, KEY_FILE_LIMIT)
    except OSError as error:
        raise unreadable_key(path, error) from error
    if b"-----BEGIN " not in data:
        raise InputError(
            "SE602",
            "the key file is not in PEM format (there is no line '-----BEGIN ...')",
            cure="give a PEM file; a DER file becomes one with: openssl pkey -inform DER -in key.der -out key.pem",
            place=place,
        )
    blocks = list(_blocks(data, place))
    if not blocks:
        raise damaged_key(place)
    keys = [(label, text) for label, text in blocks if label.endswith(("PRIVATE KEY", "PUBLIC KEY"))]
    if not keys or keys[0][0] == _OPENSSH_LABEL:
        raise InputError(
            "SE605",
            f"the PEM file holds no usable key but: {', '.join(label for label, _ in blocks)}",
            cure="give the file with the PRIVATE KEY or PUBLIC KEY block; "
            "an OpenSSH key is converted in place with: ssh-keygen -p -m PEM -f KEYFILE",
            place=place,
        )
    if len(keys) > 1:
        raise InputError(
            "SE611",
            f"the PEM file holds {len(keys)} keys, so it is not clear which one is meant",
            cure="put each key into a file of its own",
            place=place,
        )
    label, text = keys[0]
    is_locked = "ENCRYPTED" in label or b"Proc-Type: 4,ENCRYPTED" in text
    return PemKey(place=place, is_private=label.endswith("PRIVATE KEY"), is_locked=is_locked, text=text + b"\n")


def _blocks(data: bytes, place: str) -> Iterator[tuple[str, bytes]]:
    """Label and text of each block. Raises InputError SE606 if one has no end, or another one's."""
    begun: re.Match[bytes] | None = None
    for boundary in _BOUNDARY.finditer(data):
        word, label = boundary.groups()
        if (word == b"END") != (begun is not None and begun.group(2) == label):
            raise damaged_key(place)
        if begun is not None:
            yield label.decode("ascii"), data[begun.start() : boundary.end()]
        begun = boundary if word == b"BEGIN" else None
    if begun is not None:
        raise damaged_key(place)


def damaged_key(place: str) -> InputError:
    """The error for PEM text that starts like a key and is none."""
    return InputError(
        "SE606",
        "the key in the PEM file is damaged or incomplete",
        cure="restore the file from its backup; 'openssl pkey -in KEYFILE -noout -check' must accept it",
        place=place,
    )


def unreadable_key(path: Path, error: OSError) -> InputError:
    """The error for a key file that is missing or that may not be read."""
    return InputError(
        "SE601",
        f"the key file cannot be read: {error.strerror}",
        cure="check the path (in a profile it is relative to the profile) and the permissions of the file",
        place=str(path),
    )
