# SPDX-License-Identifier: Apache-2.0
"""``bundle``: everything a factory needs, or what a signing service has to sign first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_ext.cli.front import (
    circumstances,
    decision_from_options,
    print_json,
    project_options,
    shown_errors,
    shown_progress,
)
from secure_ext.cli.secret_prompt import passphrase_option, secrets_of_the_command
from secure_ext.errors import UsageError

if TYPE_CHECKING:
    from secure_ext.bundle.merged import Merged
    from secure_ext.bundle.write import Bundle
    from secure_ext.doctor.decide import Decision


@click.command()
@project_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    help="Directory of the bundle. [default: <build-dir>/secure]",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Replace a bundle of another chip, project or build directory; its keys stay in their home.",
)
@click.option(
    "--key-home",
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Where generated keys are kept, for good. [default: secure_keys in the project]",
)
@click.option(
    "--sign-manifest",
    metavar="PEM|URI",
    help="Sign the manifest with this private key, so that `verify --manifest-key` tells who made the bundle.",
)
@click.option(
    "--archive",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE.zip",
    help="Also write the bundle without its keys.",
)
@click.option(
    "--with-plaintext",
    is_flag=True,
    help="With --archive: also if it holds secrets that whoever has it can read, such as NVS without encryption.",
)
@click.option(
    "--merged",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Also write all images as one file for flash address 0, as gang programmers and flash houses take it.",
)
@click.option(
    "--to-be-signed",
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Write what a signing service has to sign into this new directory, and make no bundle.",
)
@click.option(
    "--signatures",
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Use the signatures in this directory.",
)
@passphrase_option
def bundle(
    *,
    output: Path | None,
    replace: bool,
    key_home: Path | None,
    sign_manifest: str | None,
    archive: Path | None,
    with_plaintext: bool,
    merged: Path | None,
    to_be_signed: Path | None,
    signatures: Path | None,
    passphrase_fd: int | None,
    output_format: str,
    build_dir: Path,
    **options: Any,
) -> None:
    """Sign, encrypt, check, and write the bundle with its provisioning script.

    \b
    Example:
        secure-provision bundle --profile production.yaml -o release/board-0001
        secure-provision bundle --signing-key public_key.pem --to-be-signed to-sign
        secure-provision bundle --signing-key public_key.pem --signatures to-sign

    Keys that no file is named for are generated, and kept in secure_keys in the project: a bundle that is made again in
    the same place has the same ones, even after its directory was deleted.
    """
    with shown_errors(output_format):
        from secure_ext.build.menu import read_menu, with_menu  # noqa: PLC0415 (loaded when used)
        from secure_ext.bundle.archive import check_archive_target, write_archive  # noqa: PLC0415 (loaded when used)
        from secure_ext.bundle.merged import check_merged_target, write_merged  # noqa: PLC0415 (loaded when used)
        from secure_ext.bundle.of_build import record_bundle  # noqa: PLC0415 (loaded when used)
        from secure_ext.bundle.write import write_bundle  # noqa: PLC0415 (loaded when used)
        from secure_ext.cli.show.findings import findings_text  # noqa: PLC0415 (loaded when used)
        from secure_ext.keys.secret_source import MANIFEST_KEY  # noqa: PLC0415 (loaded when used)
        from secure_ext.sign.signers import SigningHelp, open_signer  # noqa: PLC0415 (loaded when used)

        if to_be_signed is not None and any(other is not None for other in (signatures, output, merged)):
            raise _not_together()
        if with_plaintext and archive is None:
            raise click.UsageError("--with-plaintext needs --archive")
        if merged is not None and archive is not None and os.path.realpath(merged) == os.path.realpath(archive):
            raise click.UsageError("--merged and --archive name the same file")
        folder = output or read_menu(build_dir).output
        if archive:
            check_archive_target(archive, folder)
        secrets = secrets_of_the_command(passphrase_fd)
        decision = decision_from_options(build_dir, key_home=key_home, **options)
        if merged:
            check_merged_target(merged, folder, decision.policy)
        stopping = [finding for finding in decision.findings if finding.stops]
        if len(stopping) > 1:
            click.echo(findings_text(stopping), err=True)
        if to_be_signed is not None:
            _write_requests(decision, to_be_signed, output_format)
            return
        manifest_key = None
        if sign_manifest is not None:
            manifest_key = open_signer(sign_manifest, secrets, MANIFEST_KEY, place="--sign-manifest")
        signing = SigningHelp(secrets, signatures)
        profile = with_menu(build_dir, options)["profile"]
        with shown_progress() as progress:
            made = write_bundle(
                decision,
                folder,
                progress,
                signing,
                manifest_key=manifest_key,
                circumstances=circumstances(
                    archived=archive is not None, with_plaintext=with_plaintext, output_format=output_format
                ),
                keep_others=not replace,
            )
            record_bundle(build_dir, folder, decision, profile)
            if archive:
                write_archive(folder, archive, with_plaintext=with_plaintext)
            whole = write_merged(folder, merged) if merged else None
        _show(decision, made, archive, whole, output_format)


def _show(decision: Decision, made: Bundle, archive: Path | None, merged: Merged | None, output_format: str) -> None:
    from secure_ext.bundle.readable import from_rows, readable_text  # noqa: PLC0415 (loaded when used)
    from secure_ext.cli.show.bundle import bundle_data, bundle_text, merged_text  # noqa: PLC0415 (loaded when used)

    if output_format == "json":
        print_json(bundle_data(decision, made, merged))
        return
    click.echo(bundle_text(decision, made))
    if archive:
        click.echo(f"Archive, no keys in it:    {archive}")
        click.echo(f"Readable by whoever has the archive: {readable_text(tuple(from_rows(made.manifest)))}")
    if merged:
        click.echo(merged_text(decision, made, merged))


def _write_requests(decision: Decision, folder: Path, output_format: str) -> None:
    from secure_ext.sign.to_be_signed import write_signature_requests  # noqa: PLC0415 (loaded when used)

    document = write_signature_requests(decision, folder)
    if output_format == "json":
        print_json({"to_be_signed": str(folder), "requests": document["requests"]})
        return
    for request in document["requests"]:
        click.echo(f"{request['request']:32} {request['scheme']}  {request['digest']}")
    click.echo(f"To be signed: {folder}   (README.txt says how; each answer goes into the file that ends in .sig)")
    click.echo(f"next, with the same options: --signatures {folder} in place of --to-be-signed", err=True)


def _not_together() -> UsageError:
    return UsageError(
        "SE669",
        "--to-be-signed makes no bundle: it goes with none of --signatures, --output and --merged",
        cure="give --to-be-signed first, and the others when the signatures are there",
        place="--to-be-signed",
    )
