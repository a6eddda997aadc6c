# SPDX-License-Identifier: Apache-2.0
"""``flash``: a bundle's script on a board, with keys of its own if the bundle wants that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secure_ext.cli.command_names import as_typed_here
from secure_ext.cli.commands.which_bundle import bundle_options, older_option, open_bundle, refuse_older
from secure_ext.cli.front import shown_errors
from secure_ext.errors import UsageError

if TYPE_CHECKING:
    from secure_ext.bundle.read import FinishedBundle
    from secure_ext.per_device.board import BoardRun


@click.command()
@bundle_options
@click.option("-p", "--port", envvar="ESPPORT", metavar="PORT", help="Serial port of the board. [env: ESPPORT]")
@click.option("-b", "--baud", type=int, help="Baud rate at which the flash is written [default: what holds].")
@click.option("--before", default="default-reset", show_default=True, help="Reset before connecting.")
@click.option("--after", default="no-reset", show_default=True, help="Reset at the end, such as hard-reset.")
@click.option(
    "--until",
    type=click.Choice(["flash", "burn", "seal"]),
    default="seal",
    show_default=True,
    help="Stop after this stage.",
)
@click.option("--dry-run", is_flag=True, help="Read and show; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for the word BURN.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Folder of the records that let a board be continued. [default: in the bundle]",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Log file. [default: in the journal folder]",
)
@click.option(
    "--sealed",
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Folder of the sealed copies of per-device keys. [default: in the bundle]",
)
@click.option(
    "--private",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Where per-device keys are while a board is made, such as a RAM disk. [default: memory, or TMPDIR]",
)
@click.option(
    "--ca-key",
    metavar="KEYFILE",
    help="Private key (PEM) of the CA, for boards that get a certificate. [passphrase: SECURE_PROVISION_PASSPHRASE]",
)
@click.option("--flash-is-written", is_flag=True, help="The flash was written before: compare it, and write nothing.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Take over a board whose flash encryption key is hidden, if the chip shows that it is this bundle's.",
)
@older_option
@click.option("--without-rehearsal", is_flag=True, help="Also take a bundle that was not rehearsed.")
def flash(
    *,
    bundle: Path | None,
    build_dir: Path,
    port: str | None,
    baud: int | None,
    before: str,
    after: str,
    until: str,
    dry_run: bool,
    yes: bool,
    journal: Path | None,
    log: Path | None,
    sealed: Path | None,
    private: Path | None,
    ca_key: str | None,
    flash_is_written: bool,
    adopt: bool,
    without_rehearsal: bool,
    older_bundle: bool,
) -> None:
    """Provision the board on PORT with the script of BUNDLE. Asks before anything that cannot be undone.

    \b
    Example:
        secure-provision flash build/secure --port COM5

    Takes only a bundle that passed its rehearsal. Run again, it goes on where it stopped.
    With per-device keys it makes the board's own, encrypts the images with them, and destroys its copy.
    """
    with shown_errors():
        from secure_ext.bundle.read import has_passed_rehearsal  # noqa: PLC0415 (loaded when used)

        if not port:
            raise UsageError("SE733", "no port is given", cure="name the board's serial port with -p")
        opened = open_bundle(bundle, build_dir)
        refuse_older(opened, build_dir, accepted=older_bundle or dry_run)
        if not without_rehearsal and not dry_run and not has_passed_rehearsal(opened):
            raise UsageError(
                "SE732",
                "this bundle has not passed a rehearsal",
                cure="run `secure-provision rehearse` on it first, or give --without-rehearsal",
                place=str(opened.folder),
            )
    options = ["--after", after]
    options += ["--yes"] if yes else []
    options += ["--log", str(log)] if log else []
    options += ["--flash-is-written"] if flash_is_written else []
    options += ["--adopt"] if adopt else []
    if opened.has_per_device_keys:
        from secure_ext.cli.secret_prompt import secrets_of_the_command  # noqa: PLC0415 (loaded when used)
        from secure_ext.per_device.board import BoardRun  # noqa: PLC0415

        run = BoardRun(
            port,
            before,
            baud,
            journal or opened.folder / "journal",
            sealed or opened.folder / "sealed",
            tuple(options),
            until,
            dry_run,
            private,
            ca_key,
            secrets_of_the_command(None),
        )
        exit_code = _flash_with_own_keys(opened, run)
    else:
        from secure_ext.per_device.call_script import call_script  # noqa: PLC0415 (loaded when used)

        line = [sys.executable, str(opened.script), "--port", port, "--before", before]
        line += ["--baud", str(baud)] if baud else []
        line += ["--until", until, *options]
        line += ["--dry-run"] if dry_run else []
        line += ["--journal", str(journal)] if journal else []
        line += [] if _holds_keys(opened) else ["--without-keys"]
        exit_code = call_script(line)
        if not exit_code and sys.stdout.isatty() and any((opened.folder / "keys").glob("*.bin")):
            click.echo(f"The keys of this bundle still exist, in {opened.folder / 'keys'}.")
            done = as_typed_here("secure-provision keys destroy")
            click.echo(f"When the last board is done:  {done} {opened.folder}")
    if exit_code:
        sys.exit(exit_code)


def _holds_keys(bundle: FinishedBundle) -> bool:
    """False once the bundle's keys were destroyed; boards that have them can still be finished."""
    names = [step.file for step in bundle.plan.steps if step.kind == "burn_key" and step.rd_dis_bits]
    return not names or any((bundle.folder / name).exists() for name in names)


def _flash_with_own_keys(bundle: FinishedBundle, run: BoardRun) -> int:
    from secure_ext.per_device.board import flash_board  # noqa: PLC0415
    from secure_ext.station.esp_tools import Stop, redact  # noqa: PLC0415 (loaded when used)

    with shown_errors():
        if "--adopt" in run.options:
            raise UsageError(
                "SE869",
                "a board cannot be taken over with this bundle: each of its boards has a key of its own",
                cure="leave out --adopt; with the board's key, from its sealed copy, make a bundle for it alone",
                place="--adopt",
            )
        if "--flash-is-written" in run.options and bundle.own_roles:
            raise UsageError(
                "SE864",
                "the flash of a board with a key of its own cannot be written before: it is encrypted with that key",
                cure="leave out --flash-is-written; the script writes and encrypts the flash of each board",
            )
        if run.until == "flash" and not run.dry_run and bundle.own_roles:
            raise UsageError(
                "SE851",
                "the keys of this board are destroyed at the end of the run, so its flash cannot be written alone",
                cure="run up to 'burn' at least: no one could decrypt what --until flash writes",
            )
        try:
            return flash_board(bundle, run, click.echo)
        except Stop as stop:
            click.echo(f"STOP {stop.code}: {redact(stop.cause)}\n  What to do: {as_typed_here(stop.cure)}")
            return stop.exit_code
