# SPDX-License-Identifier: Apache-2.0
"""``keys``: makes keys and shows what identifies them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from secure_ext.cli.commands.key_care import destroy_keys, plan_key_rotation, sealing_pair, unseal_keys
from secure_ext.cli.front import shown_errors
from secure_ext.cli.secret_prompt import secrets_of_the_command
from secure_ext.errors import InputError

if TYPE_CHECKING:
    from secure_ext.keys.signing import VerificationKey

SIGNING_SCHEMES = ("rsa3072", "ecdsa256", "ecdsa384")
SECRET_LENGTHS = {"flash-encryption": 32, "flash-encryption-256": 64, "flash-encryption-128-derived": 16, "hmac": 32}


@click.group()
def keys() -> None:
    """Make keys and show what identifies them.

    \b
    Example:
        secure-provision keys generate rsa3072 signing_key.pem
        secure-provision keys digest signing_key.pem
    """


@keys.command("generate")
@click.argument("kind", type=click.Choice([*SIGNING_SCHEMES, *SECRET_LENGTHS]))
@click.argument("file", type=click.Path(path_type=Path, readable=False))
def generate_key(kind: str, file: Path) -> None:
    """Write a new random key of KIND to FILE, readable by you alone. Never overwrites.

    \b
    Example:
        secure-provision keys generate rsa3072 signing_key.pem
    """
    with shown_errors():
        from secure_ext.cli.show.new_secrets import warn_of_git  # noqa: PLC0415 (loaded when used)
        from secure_ext.keys.files import write_secret_file  # noqa: PLC0415
        from secure_ext.keys.signing import SignatureScheme, generate_signing_key  # noqa: PLC0415
        from secure_ext.keys.symmetric import generate_secret  # noqa: PLC0415

        if kind in SECRET_LENGTHS:
            secret = generate_secret(kind, SECRET_LENGTHS[kind])
            write_secret_file(file, secret.data)
            click.echo(f"{file}: {kind} key, fingerprint {secret.fingerprint}")
        else:
            write_secret_file(file, generate_signing_key(SignatureScheme(kind)))
            click.echo(f"{file}: {kind} signing key. Back it up where it cannot be lost or copied.")
        warn_of_git(file)


@keys.command("digest")
@click.argument("key", metavar="FILE|URI")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, readable=False), help="Write the 32 bytes to this file as well."
)
def key_digest(key: str, output: Path | None) -> None:
    """Show the secure boot digest of a signing key (PEM, or pkcs11: URI): what is burned into eFuse.

    \b
    Example:
        secure-provision keys digest signing_key.pem -o digest.bin
    """
    with shown_errors():
        from secure_ext.formats.secure_boot import public_key_digest  # noqa: PLC0415 (loaded when used)

        public = _public_half(key)
        digest = public_key_digest(public)
        if output is not None:
            try:
                with output.open("xb") as new:
                    new.write(digest)
            except OSError as error:
                raise InputError(
                    "SE702",
                    f"the output cannot be written: {error.strerror}",
                    cure="give another path; nothing is overwritten",
                    place=str(output),
                ) from None
        click.echo(f"{public.scheme.value} {digest.hex()}")


@keys.command("jtag-token")
@click.argument("key", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
def jtag_token(key: Path) -> None:
    """Show the token with which firmware opens JTAG of boards that have the HMAC key in FILE (lockdown.jtag: hmac).

    Whoever has the token can have a board debugged: it is as secret as the key.

    \b
    Example:
        secure-provision keys jtag-token build/secure/keys/extra_key_0.bin
    """
    with shown_errors():
        from secure_ext.keys.jtag_token import jtag_token_of  # noqa: PLC0415 (loaded when used)
        from secure_ext.keys.symmetric import load_secret  # noqa: PLC0415

        click.echo(jtag_token_of(load_secret(key, "jtag", (32,)).data).hex())


def _public_half(key: str) -> VerificationKey:
    from secure_ext.keys.signing import load_verification_key  # noqa: PLC0415 (loaded when used)
    from secure_ext.keys.uri_signers import open_uri_signer  # noqa: PLC0415
    from secure_ext.policy.key_uri import is_key_uri, parse_key_uri  # noqa: PLC0415

    secrets = secrets_of_the_command()
    if is_key_uri(key):
        return open_uri_signer(parse_key_uri(key, place="URI"), secrets).verification_key
    return load_verification_key(Path(key), secrets)


for command in (sealing_pair, unseal_keys, plan_key_rotation, destroy_keys):
    keys.add_command(command)
