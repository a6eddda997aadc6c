# SPDX-License-Identifier: Apache-2.0
"""What stays of a board's identity in the journal: its certificate, and what names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from secure_ext.errors import InputError
from secure_ext.keys.certificates import name_of
from secure_ext.station.durable import make_folder_durably, write_durably
from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import Matching, Sha256, document_data


@frozen
class IdentityRecord:
    """A board and its certificate.

    Attributes:
        schema: number of this form of the document.
        mac: of the board.
        project: name of the project.
        subject: of the certificate, RFC 4514.
        serial: its number, hex.
        sha256: its fingerprint.
        not_after: when it ends, UTC.
    """

    schema: Literal[1]
    mac: Annotated[str, Matching("[0-9a-f]{12}")]
    project: str
    subject: str
    serial: Annotated[str, Matching("[0-9a-f]{40}")]
    sha256: Sha256
    not_after: str


def identity_files(journal: Path, mac: str) -> tuple[Path, Path]:
    """Where the certificate of a board is, and what names it."""
    return journal / f"{mac}.crt.pem", journal / f"{mac}.identity.json"


def keep_certificate(journal: Path, mac: str, project: str, certificate: x509.Certificate) -> None:
    """Writes both; on the disk on return. Raises InputError SE458 if that cannot be."""
    pem, record = identity_files(journal, mac)
    content = IdentityRecord(
        1,
        mac,
        project,
        name_of(certificate),
        f"{certificate.serial_number:040x}",
        certificate.fingerprint(hashes.SHA256()).hex(),
        f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    )
    try:
        make_folder_durably(journal)
        write_durably(pem, certificate.public_bytes(Encoding.PEM))
        write_durably(record, (json.dumps(document_data(content), indent=1) + "\n").encode())
    except OSError as error:
        raise InputError(
            "SE458",
            f"the certificate of the board cannot be kept in the journal: {error.strerror or error}",
            cure="check the permissions and the free space, or give another folder with --journal; no eFuse was burned",
            place=str(pem),
        ) from None


def forget_certificate(journal: Path, mac: str) -> None:
    """Removes both: nothing of that identity was burned."""
    for path in identity_files(journal, mac):
        path.unlink(missing_ok=True)
