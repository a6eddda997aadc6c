# SPDX-License-Identifier: Apache-2.0
"""``update``: new images by cable onto a board that was provisioned with a bundle."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from secure_ext.cli.command_names import as_typed_here
from secure_ext.cli.commands.which_bundle import bundle_place
from secure_ext.cli.front import build_dir_option, format_option, print_json, shown_errors, shown_progress
from secure_ext.cli.secret_prompt import passphrase_option, secrets_of_the_command
from secure_ext.errors import UsageError
from secure_ext.station.one_line import harmless

if TYPE_CHECKING:
    from secure_ext.field.cable.prepare import Prepared
    from secure_ext.field.cable.update import Updated
    from secure_ext.keys.secret_source import SecretSource

_FILE = click.Path(path_type=Path, readable=False)


@click.command()
@build_dir_option("ESP-IDF build directory of the new images.")
@click.option(
    "--fleet",
    "--bundle",
    type=_FILE,
    metavar="BUNDLE",
    help="The bundle, folder or archive, that the board was made with. [default: that of the build directory]",
)
@click.option("-p", "--port", envvar="ESPPORT", metavar="PORT", help="Serial port of the board. [env: ESPPORT]")
@click.option("-b", "--baud", type=int, help="Baud rate at which the flash is written [default: what holds].")
@click.option("--before", default="default-reset", show_default=True, help="Reset before connecting.")
@click.option("--after", default="no-reset", show_default=True, help="Reset at the end, such as hard-reset.")
@click.option("--mac", metavar="MAC", help="Stop if the board has another MAC address than this one.")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="What to write: app, bootloader, or the label of a data partition. Repeatable. [default: app]",
)
@click.option(
    "--everything", is_flag=True, help="Write the app and the data partitions of the build, as far as changed."
)
@click.option("--bootloader", is_flag=True, help="Write the bootloader, too.")
@click.option(
    "--slot",
    metavar="LABEL",
    help="App partition that the board is to start. [default: the other OTA slot, if there is one]",
)
@click.option(
    "--signing-key",
    multiple=True,
    metavar="PEM|URI",
    help="Secure boot signing key, a file or a pkcs11: URI; up to three times. Not needed for images signed already.",
)
@passphrase_option
@click.option(
    "--flash-encryption-key",
    type=_FILE,
    metavar="FILE",
    help="The board's flash encryption key, if it is not in the fleet's bundle.",
)
@click.option(
    "--least-secure-version",
    type=click.IntRange(min=0),
    metavar="N",
    help="Anti-rollback: what the board wants at least, if it shows it to nobody. [default: that of the fleet's app]",
)
@click.option("--accept", multiple=True, metavar="CODE", help="A finding of the doctor to accept. Repeatable.")
@click.option(
    "--allow-files-in",
    type=_FILE,
    multiple=True,
    metavar="DIR",
    help="The build may have files of this folder, too. Repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Look at the board and show; write nothing.")
@click.option("--rehearse", is_flag=True, help="No board: on a virtual chip that the bundle provisions first.")
@click.option(
    "--until",
    type=click.Choice(["burn", "seal"]),
    default="seal",
    show_default=True,
    help="With --rehearse: the last stage of provisioning that the virtual chip has seen.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option()
def update(
    *,
    build_dir: Path,
    fleet: Path | None,
    port: str | None,
    baud: int | None,
    before: str,
    after: str,
    mac: str | None,
    only: tuple[str, ...],
    everything: bool,
    bootloader: bool,
    slot: str | None,
    signing_key: tuple[str, ...],
    passphrase_fd: int | None,
    flash_encryption_key: Path | None,
    least_secure_version: int | None,
    accept: tuple[str, ...],
    allow_files_in: tuple[Path, ...],
    dry_run: bool,
    rehearse: bool,
    until: str,
    yes: bool,
    output_format: str,
) -> None:
    """Write new images by cable onto a provisioned board: signed, and encrypted on this host with the board's key.

    \b
    Example:
        secure-provision update --fleet release --signing-key signing_key.pem --port COM5

    The fleet's plan is the policy, as for `ota`: what the board would not start is refused before the first byte. A
    board with two OTA slots starts the old app until the new one is whole. Run again, it goes on where it stopped.
    """
    with shown_errors(output_format):
        from secure_ext.cli.show.findings import findings_text  # noqa: PLC0415 (loaded when used)
        from secure_ext.field.cable.update import Port, update_board  # noqa: PLC0415 (loaded when used)

        if not port and not rehearse:
            raise UsageError("SE733", "no port is given", cure="name the board's serial port with -p")
        place = bundle_place(fleet, build_dir)
        click.echo(f"bundle of the fleet: {place}", err=True)
        secrets = secrets_of_the_command(passphrase_fd)
        asked = _Asked(
            build_dir=build_dir,
            signing_keys=signing_key,
            secrets=secrets,
            least_secure_version=least_secure_version,
            accept=accept,
            only=only,
            everything=everything,
            bootloader=bootloader,
            slot=slot,
            allow_files_in=allow_files_in,
        )
        if rehearse:
            _rehearse(place, asked, until, output_format)
            return
        prepared = _prepared(place, asked, flash_encryption_key)

        if prepared.findings:
            click.echo(findings_text(prepared.findings), err=output_format == "json")
        screen = _Screen(is_json=output_format == "json")

        def confirm(question: str) -> bool:
            return yes or _confirmed(question)

        where = Port(str(port), baud, before, after, mac)
        done = update_board(prepared, where, screen.say, confirm, dry_run=dry_run, progress=screen.progress)
        _show(prepared, done, output_format)


class _Screen:
    """What is said while a board is updated; on a terminal also how far the piece is that is being written."""

    def __init__(self, *, is_json: bool) -> None:
        self._to_stderr = is_json
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._is_open = False

    def say(self, line: str) -> None:
        if self._is_open:
            click.echo("\r" + " " * 40 + "\r", nl=False, err=True)
            self._is_open = False
        click.echo(harmless(line), err=self._to_stderr)

    def progress(self, offset: int, percent: int) -> None:
        if self._is_terminal:
            click.echo(f"\r  0x{offset:06x}  {percent:3} %".ljust(40), nl=False, err=True)
            self._is_open = True


class _Asked(NamedTuple):
    """The options that say what is written."""

    build_dir: Path
    signing_keys: tuple[str, ...]
    secrets: SecretSource
    least_secure_version: int | None
    accept: tuple[str, ...]
    only: tuple[str, ...]
    everything: bool
    bootloader: bool
    slot: str | None
    allow_files_in: tuple[Path, ...]


def _prepared(place: Path, asked: _Asked, key_file: Path | None) -> Prepared:
    """The update before it meets a board."""
    from secure_ext.build.build import read_build  # noqa: PLC0415 (loaded when used)
    from secure_ext.build.menu import read_menu  # noqa: PLC0415
    from secure_ext.build.outside import require_inside  # noqa: PLC0415
    from secure_ext.field.cable.prepare import prepare  # noqa: PLC0415
    from secure_ext.field.cable.wish import CableWish  # noqa: PLC0415
    from secure_ext.field.fleet_signatures import Wanted  # noqa: PLC0415
    from secure_ext.field.ota.fleet import read_fleet  # noqa: PLC0415
    from secure_ext.sign.signers import open_signer  # noqa: PLC0415

    menu, build = read_menu(asked.build_dir), read_build(asked.build_dir)
    require_inside(build, asked.allow_files_in)
    fleet = read_fleet(place, key_file, least_secure_version=asked.least_secure_version)
    names = asked.signing_keys or tuple(str(path) for path in (menu.signing_keys if fleet.boards.slots else ()))
    keys = tuple(open_signer(name, asked.secrets, n, place="--signing-key") for n, name in enumerate(names, 1))
    wanted = Wanted(keys, frozenset(asked.accept))
    return prepare(
        build, fleet, place, CableWish(wanted, asked.only, asked.everything, asked.bootloader, asked.slot), key_file
    )


def _rehearse(place: Path, asked: _Asked, until: str, output_format: str) -> None:
    from secure_ext.bundle.read import read_bundle  # noqa: PLC0415 (loaded when used)
    from secure_ext.field.cable.rehearsal import rehearse_update  # noqa: PLC0415
    from secure_ext.per_device.throw_away import bundle_of_a_board  # noqa: PLC0415
    from secure_ext.prove.verify.keys import KEY_FILE  # noqa: PLC0415

    fleet = read_bundle(place)
    has_own_key = any(role.startswith("flash_encryption_key") for role in fleet.own_roles)
    with shown_progress() as progress, bundle_of_a_board(fleet) as ready:
        key_file = ready.folder / KEY_FILE if has_own_key else None
        outcome = rehearse_update(ready, _prepared(place, asked, key_file), progress, until)
    if output_format == "json":
        print_json(outcome.as_dict())
    else:
        click.echo(harmless(as_typed_here("\n".join(outcome.lines()))))
    if not outcome.passed:
        sys.exit(1)


def _confirmed(question: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    return click.confirm(question, default=False)


def _show(prepared: Prepared, done: Updated, output_format: str) -> None:
    from secure_ext.checks import checks_text  # noqa: PLC0415 (loaded when used)

    if output_format == "json":
        print_json({**done.as_dict(), "findings": [finding.as_dict() for finding in prepared.findings]})
        return
    click.echo(as_typed_here(checks_text(done.checks)))
    for line in _closing(done):
        click.echo(line)


def _closing(done: Updated) -> Iterator[str]:
    names = ", ".join(done.written)
    if done.is_dry_run:
        yield f"Dry run: {names or 'nothing'} would be written. Nothing was changed."
    elif not done.written:
        yield "Nothing to do: the board has all of it already."
    elif done.board.is_sealed:
        yield f"WRITTEN, not verified: {names}. Secure download mode reads nothing: see that the board starts."
    else:
        yield f"DONE: {names}. The MD5 in flash is right."
