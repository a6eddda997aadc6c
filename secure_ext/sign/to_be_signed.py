# SPDX-License-Identifier: Apache-2.0
"""Writes what a signing service needs: digests, contents, a description of every request, and how to answer them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from secure_ext import __version__
from secure_ext.atomic import Kind, replaced_directory
from secure_ext.doctor.decide import Decision
from secure_ext.errors import InputError
from secure_ext.keys.signing import SignatureScheme
from secure_ext.sign.answers import nothing_to_sign
from secure_ext.sign.signature_requests import REQUESTS, SignatureRequest, signature_requests
from secure_ext.sign.signers import signers_without_secrets

_SALT_BYTES = 32


def write_signature_requests(decision: Decision, output: Path) -> dict[str, Any]:
    """Writes the signature requests of a decision into the new or empty directory `output`, whole or not at all.

    No private key is used, no passphrase is asked for, no token is opened, and no bundle is made.

    Returns the document of requests.json.

    Raises CheckError SE404 if the doctor found errors; UsageError SE666 if no signature is to be made elsewhere;
    InputError SE667 if the directory holds something, SE702 if it cannot be written; the errors of the key files.
    """
    decision.require_healthy()
    enabled = decision.policy.secure_boot.enabled
    requests = signature_requests(decision.images, signers_without_secrets(decision.policy) if enabled else ())
    if not requests:
        raise nothing_to_sign("--to-be-signed")
    if output.is_symlink() or (output.exists() and (not output.is_dir() or any(output.iterdir()))):
        raise InputError(
            "SE667",
            "the directory for the signature requests holds something already, answers perhaps",
            cure="give a new directory; requests of different builds must not mix",
            place=str(output),
        )
    document = {
        "schema": 1,
        "tool": f"idf-secure-provision {__version__}",
        "chip": decision.build.chip,
        "project": decision.build.project_name,
        "requests": [_entry(request) for request in requests],
    }
    with replaced_directory(output, Kind.SIGNATURE_REQUESTS) as folder:
        for request in requests:
            (folder / request.content_file).write_bytes(request.content)
            (folder / request.digest_file).write_bytes(request.digest)
        text = json.dumps(document, indent=2) + "\n"
        (folder / REQUESTS).write_text(text, encoding="utf-8", newline="\n")
        (folder / "README.txt").write_text(_readme(requests), encoding="utf-8", newline="\n")
    return document


def _entry(request: SignatureRequest) -> dict[str, Any]:
    is_rsa = request.key.scheme is SignatureScheme.RSA3072
    return {
        "image": request.image,
        "source": request.source,
        "key": request.key_number,
        "public_key_digest": request.key_digest.hex(),
        "scheme": request.key.scheme.value,
        "hash": request.key.scheme.hash_name,
        "mgf": "mgf1-sha256" if is_rsa else None,
        "salt_length": _SALT_BYTES if is_rsa else None,
        "content": request.content_file,
        "content_size": len(request.content),
        "content_sha256": hashlib.sha256(request.content).hexdigest(),
        "request": request.digest_file,
        "digest": request.digest.hex(),
        "answer": request.answer_file,
    }


def _readme(requests: tuple[SignatureRequest, ...]) -> str:
    scheme = requests[0].key.scheme
    name = scheme.hash_name
    commands = "\n".join(f"  {_signing_command(request)}" for request in requests)
    if scheme is SignatureScheme.RSA3072:
        form = f"""RSA-PSS over the digest: SHA-256, MGF1 with SHA-256, {_SALT_BYTES} bytes of salt.
An answer is the bare signature: 384 bytes, big-endian."""
    else:
        form = f"""ECDSA over the digest as it is ({name}).
An answer is the bare signature: DER as OpenSSL writes it, or r and s in a row, big-endian."""
    return f"""Signatures wanted for Secure Boot V2
====================================

For each request in {REQUESTS}: sign the digest (NAME.keyN.digest, raw bytes) with the private key whose
public_key_digest is named there, and write the signature to NAME.keyN.sig in this folder.
N is the number of the key in the profile. NAME.bin is the content the digest is of: {name} of the whole file.

{form}

With OpenSSL, in this folder, where key1.pem is the private key 1:

{commands}

Then, with the same options as before:

  secure-provision bundle --signatures THIS_FOLDER

Every signature is verified with the public key before it is used.
"""


def _signing_command(request: SignatureRequest) -> str:
    """How OpenSSL answers a request, in the folder of the requests."""
    command = (
        f"openssl pkeyutl -sign -inkey key{request.key_number}.pem -in {request.digest_file} "
        f"-out {request.answer_file} -pkeyopt digest:{request.key.scheme.hash_name}"
    )
    if request.key.scheme is SignatureScheme.RSA3072:
        command += f" -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:{_SALT_BYTES} -pkeyopt rsa_mgf1_md:sha256"
    return command
