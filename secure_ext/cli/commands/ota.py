# SPDX-License-Identifier: Apache-2.0
"""``ota``: update packages for boards that were provisioned with a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from secure_ext.cli.command_names import as_typed_here
from secure_ext.cli.commands.which_bundle import bundle_place
from secure_ext.cli.front import build_dir_option, format_option, print_json, shown_errors, shown_progress
from secure_ext.cli.secret_prompt import passphrase_option, secrets_of_the_command


def _labelled_files(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    """Labels of partitions, each with a file."""
    files = [value.partition("=") for value in values]
    for label, _, path in files:
        if not label or not path:
            raise click.BadParameter("give LABEL=FILE: the partition, and the data that go there")
    if len({label for label, _, _ in files}) < len(files):
        raise click.BadParameter("a partition is named twice")
    return tuple((label, Path(path)) for label, _, path in files)


@click.command()
@build_dir_option("ESP-IDF build directory of the new app.")
@click.option(
    "--fleet",
    "--bundle",
    type=click.Path(path_type=Path, readable=False),
    metavar="BUNDLE",
    help="The bundle, folder or archive, that the boards were made with. [default: that of the build directory]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    help="Directory of the package. [default: <build-dir>/ota]",
)
@click.option(
    "--signing-key",
    multiple=True,
    metavar="PEM|URI",
    help="Secure boot signing key, a file or a pkcs11: URI; up to three times. Not needed for an app signed already.",
)
@passphrase_option
@click.option(
    "--revoked-slot",
    type=click.IntRange(0, 2),
    multiple=True,
    metavar="N",
    help="A digest slot that was revoked in the field since. Repeatable.",
)
@click.option(
    "--least-secure-version",
    type=click.IntRange(min=0),
    metavar="N",
    help="Anti-rollback: what boards in the field want at least. [default: that of the fleet's app, if readable]",
)
@click.option(
    "--data",
    "data_files",
    multiple=True,
    metavar="LABEL=FILE",
    callback=_labelled_files,
    help="Also data for a data partition, signed as CONFIG_SECURE_SIGNED_DATA_PARTITION wants it. Repeatable.",
)
@click.option("--accept", multiple=True, metavar="CODE", help="A finding of the doctor to accept. Repeatable.")
@click.option("--pre-encrypted", is_flag=True, help="Also one encrypted image a slot, for boards that share one key.")
@click.option(
    "--flash-encryption-key",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="The fleet's flash encryption key, if it is not in its bundle.",
)
@click.option(
    "--allow-files-in",
    type=click.Path(path_type=Path, readable=False),
    multiple=True,
    metavar="DIR",
    help="The build may have files of this folder, too. Repeatable.",
)
@format_option()
def ota(
    *,
    build_dir: Path,
    fleet: Path | None,
    output: Path | None,
    signing_key: tuple[str, ...],
    passphrase_fd: int | None,
    revoked_slot: tuple[int, ...],
    least_secure_version: int | None,
    data_files: tuple[tuple[str, Path], ...],
    accept: tuple[str, ...],
    pre_encrypted: bool,
    flash_encryption_key: Path | None,
    allow_files_in: tuple[Path, ...],
    output_format: str,
) -> None:
    """Make an update package: the app of a build, signed and checked against the boards that are to boot it.

    \b
    Example:
        secure-provision ota --fleet release --signing-key signing_key.pem -o update

    The doctor looks at the build and the fleet as one pair, and stops what the boards would refuse, or what would be
    their last update.
    """
    with shown_errors(output_format):
        from secure_ext.build.build import read_build  # noqa: PLC0415
        from secure_ext.build.menu import read_menu  # noqa: PLC0415
        from secure_ext.build.outside import require_inside  # noqa: PLC0415
        from secure_ext.checks import checks_text  # noqa: PLC0415 (loaded when used)
        from secure_ext.cli.show.findings import findings_text  # noqa: PLC0415
        from secure_ext.field.fleet_signatures import Wanted  # noqa: PLC0415
        from secure_ext.field.ota.fleet import read_fleet  # noqa: PLC0415
        from secure_ext.field.ota.write import write_package  # noqa: PLC0415
        from secure_ext.sign.signers import open_signer  # noqa: PLC0415 (loaded when used)

        menu = read_menu(build_dir)
        build = read_build(build_dir)
        require_inside(build, allow_files_in)
        place = bundle_place(fleet, build_dir)
        click.echo(f"bundle of the fleet: {place}", err=True)
        boards = read_fleet(
            place,
            flash_encryption_key,
            revoked=frozenset(revoked_slot),
            least_secure_version=least_secure_version,
        )
        names = signing_key or tuple(str(path) for path in (menu.signing_keys if boards.boards.slots else ()))
        secrets = secrets_of_the_command(passphrase_fd)
        keys = tuple(open_signer(name, secrets, n, place="--signing-key") for n, name in enumerate(names, 1))
        wanted = Wanted(keys, frozenset(accept))
        with shown_progress() as progress:
            progress("signing and checking")
            to = output or build_dir / "ota"
            made = write_package(build, boards, wanted, to, pre_encrypted=pre_encrypted, data_files=data_files)
    if output_format == "json":
        print_json({"package": str(made.folder), "manifest": made.manifest})
    else:
        if made.findings:
            click.echo(findings_text(made.findings))
        click.echo(as_typed_here(checks_text(made.checks, all_of_them=True)))
        click.echo(f"Update package: {made.folder}")
