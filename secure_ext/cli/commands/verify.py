# SPDX-License-Identifier: Apache-2.0
"""``verify``: checks a bundle, a folder or an archive."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from secure_ext.cli.command_names import as_typed_here
from secure_ext.cli.commands.which_bundle import bundle_options, bundle_place
from secure_ext.cli.front import format_option, print_json, shown_errors


@click.command()
@bundle_options
@click.option(
    "--profile", type=click.Path(path_type=Path, readable=False), help="Profile that the bundle was made with."
)
@click.option(
    "--flash-encryption-key",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Flash encryption key, if the bundle's folder keys is not there.",
)
@click.option(
    "--manifest-key",
    type=click.Path(path_type=Path, readable=False),
    metavar="PEM",
    help="Public key of who must have signed the bundle (bundle --sign-manifest).",
)
@click.option(
    "--flash-encryption",
    type=click.Choice(["off", "development", "release"]),
    help="Usage mode that the bundle must have; to be repeated if it was made with this option.",
)
@click.option(
    "--secure-boot/--no-secure-boot",
    default=None,
    help="Likewise: whether boards get Secure Boot V2.",
    show_default=False,
)
@click.option(
    "--accept", multiple=True, metavar="CODE", help="Likewise: a doctor's finding that was accepted. Repeatable."
)
@click.option(
    "--signing-key",
    multiple=True,
    metavar="PEM",
    help="Boards must trust these keys and no others; the public half is enough. Repeatable.",
)
@click.option(
    "--digest-only-key",
    multiple=True,
    metavar="PEM|DIGEST",
    help="A spare key that boards must trust, too. Repeatable.",
)
@click.option(
    "--archive",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE.zip",
    help="If nothing failed, write BUNDLE without its keys: what goes to a factory.",
)
@click.option(
    "--with-plaintext",
    is_flag=True,
    help="With --archive: also if it holds secrets that whoever has it can read, such as NVS without encryption.",
)
@click.option("--all", "all_of_them", is_flag=True, help="Also show what passed.")
@format_option()
def verify(
    *,
    bundle: Path | None,
    build_dir: Path,
    profile: Path | None,
    flash_encryption_key: Path | None,
    manifest_key: Path | None,
    flash_encryption: str | None,
    secure_boot: bool | None,
    accept: tuple[str, ...],
    signing_key: tuple[str, ...],
    digest_only_key: tuple[str, ...],
    archive: Path | None,
    with_plaintext: bool,
    all_of_them: bool,
    output_format: str,
) -> None:
    """Check BUNDLE, a folder or an archive, offline and without private keys.

    \b
    Example:
        secure-provision verify build/secure
        secure-provision verify build/secure --archive factory.zip
        secure-provision verify factory.zip --flash-encryption-key key.bin

    Options that a bundle was made with, and that decide what boards get, are given again: nobody believes the bundle.

    Hashes, signatures, decryption, manifest against plan, script against plan, plan against the build. What cannot be
    seen with what is at hand is listed as "not verifiable". Exit code 1 if one check failed.
    """
    with shown_errors(output_format):
        from secure_ext.build.menu import read_menu  # noqa: PLC0415
        from secure_ext.bundle.archive import check_archive_target, write_archive  # noqa: PLC0415 (loaded when used)
        from secure_ext.checks import checks_data, checks_text, has_failures  # noqa: PLC0415
        from secure_ext.prove.verify.options import Repeated, closing_data, closing_text  # noqa: PLC0415
        from secure_ext.prove.verify.rebuild import BuildAtHand  # noqa: PLC0415 (loaded when used)
        from secure_ext.prove.verify.verify import AtHand, verify_place  # noqa: PLC0415

        if with_plaintext and archive is None:
            raise click.UsageError("--with-plaintext needs --archive")
        menu = read_menu(build_dir)
        named = profile is not None or _is_named("build_dir")
        repeated = Repeated(flash_encryption, secure_boot, tuple(accept), tuple(signing_key), tuple(digest_only_key))
        build = BuildAtHand(build_dir, profile or menu.profile, named, repeated)
        at_hand = AtHand(build, flash_encryption_key, manifest_key)
        place = bundle_place(bundle, build_dir)
        click.echo(f"bundle: {place}", err=True)
        if archive:
            check_archive_target(archive, place)
        verified = verify_place(place, at_hand)
        checks, documents = verified.checks, verified.documents
        if archive and not has_failures(checks):
            write_archive(place, archive, with_plaintext=with_plaintext)
    if archive and not has_failures(checks):
        click.echo(f"{archive}: written, no keys in it", err=True)
    if output_format == "json":
        print_json({**checks_data(checks), **({} if documents is None else closing_data(documents, verified.readable))})
    else:
        click.echo(as_typed_here(checks_text(checks, all_of_them=all_of_them)))
        if documents is not None:
            click.echo(closing_text(documents, verified.readable))
    if has_failures(checks):
        sys.exit(1)


def _is_named(parameter: str) -> bool:
    """Whether somebody typed it; the build directory of idf.py is always given."""
    context = click.get_current_context(silent=True)
    if context is None or context.command is not verify:
        return False
    return context.get_parameter_source(parameter) is click.core.ParameterSource.COMMANDLINE
