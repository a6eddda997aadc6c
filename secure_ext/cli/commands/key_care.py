# SPDX-License-Identifier: Apache-2.0
"""``keys``: what is done with keys after they were made: opening sealed copies, planning a rotation, destroying."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secure_ext.cli.front import format_option, print_json, shown_errors
from secure_ext.cli.secret_prompt import passphrase_option, secrets_of_the_command
from secure_ext.errors import CheckError, UsageError

if TYPE_CHECKING:
    from secure_ext.bundle.secrets_left import SecretFile


@click.command("sealing-pair")
@click.argument("private", type=click.Path(path_type=Path, readable=False))
@click.argument("public", type=click.Path(path_type=Path, readable=False))
def sealing_pair(private: Path, public: Path) -> None:
    """Make a key pair to seal copies of per-device keys with: PRIVATE opens them, PUBLIC goes into the profile.

    \b
    Example:
        secure-provision keys sealing-pair sealing_private.pem sealing_public.pem

    Do this on a machine that is no station. Stations need PUBLIC alone.
    """
    with shown_errors():
        from secure_ext.cli.show.new_secrets import warn_of_git  # noqa: PLC0415 (loaded when used)
        from secure_ext.keys.files import write_secret_file  # noqa: PLC0415
        from secure_ext.keys.sealing import generate_sealing_pair  # noqa: PLC0415

        private_text, public_text = generate_sealing_pair()
        write_secret_file(private, private_text)
        write_secret_file(public, public_text)
        click.echo(f"{private}: opens sealed copies. Keep it off every station, and back it up.")
        click.echo(f"{public}: name it in the profile, as per_device.seal_to.")
        warn_of_git(private)


@click.command("unseal")
@click.argument("file", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--key", type=click.Path(path_type=Path, readable=False), required=True, metavar="PEM", help="The private key."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    metavar="DIR",
    help="Where the keys are written.",
)
@passphrase_option
def unseal_keys(file: Path, key: Path, output: Path, passphrase_fd: int | None) -> None:
    """Open the sealed copy FILE of a board's keys, and write them into a folder, readable by you alone.

    \b
    Example:
        secure-provision keys unseal 0200000000ab.sealed --key sealing_private.pem -o board-0200000000ab
    """
    with shown_errors():
        from secure_ext.cli.show.new_secrets import warn_of_git  # noqa: PLC0415 (loaded when used)
        from secure_ext.keys.files import write_secret_file  # noqa: PLC0415
        from secure_ext.keys.sealing import unseal  # noqa: PLC0415
        from secure_ext.station.one_line import printable  # noqa: PLC0415

        opened = unseal(file, key, secrets_of_the_command(passphrase_fd))
        for name, data in opened.files().items():
            write_secret_file(output / name, data)
        told = printable(f"{opened.label.get('chip')}, MAC {opened.label.get('mac')}")
        click.echo(f"{told}: {', '.join(opened.files())} in {output}")
        for name in opened.files():
            warn_of_git(output / name)


@click.command("plan-rotation")
@click.option(
    "--fleet",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    metavar="BUNDLE",
    help="The bundle that provisioned the boards, or its plan.json.",
)
@click.option(
    "--update", type=click.Path(path_type=Path, readable=False), metavar="IMAGE", help="A signed image, not encrypted."
)
@click.option(
    "--signing-key",
    type=click.Path(path_type=Path, readable=False),
    multiple=True,
    metavar="PEM",
    help="In place of an image: a key (private or public) that an update is to be signed with. Repeatable.",
)
@click.option(
    "--revoked", type=int, multiple=True, metavar="SLOT", help="A slot (0 to 2) revoked in the field. Repeatable."
)
@format_option()
def plan_key_rotation(
    *, fleet: Path, update: Path | None, signing_key: tuple[Path, ...], revoked: tuple[int, ...], output_format: str
) -> None:
    """Tell whether boards in the field take an update, and in which order their signing key is replaced.

    \b
    Example:
        secure-provision keys plan-rotation --fleet release-1 --update app-signed.bin --revoked 0

    Exit code 1 if no board would take the update. Touches no board and no private key.
    """
    with shown_errors(output_format):
        from secure_ext.cli.show.rotation import rotation_text  # noqa: PLC0415
        from secure_ext.field.rotation import (  # noqa: PLC0415 (loaded when used)
            plan_rotation,
            read_signing_slots,
            read_update,
            update_signed_with,
        )

        if (update is None) == (not signing_key):
            raise click.UsageError("give either --update or --signing-key")
        boards = read_signing_slots(fleet, revoked)
        wanted = read_update(update, boards.chip) if update else update_signed_with(signing_key)
        rotation = plan_rotation(boards, wanted)
        if output_format == "json":
            print_json(rotation.as_dict())
        else:
            click.echo(rotation_text(rotation))
            if rotation.refusal:
                raise rotation.refusal
    if rotation.refusal:
        sys.exit(1)


DESTROY = "DESTROY"
_DELETED = (
    "Whoever gets the disk, a snapshot or a backup of it may still find them there: on flash storage nothing can be "
    "overwritten for sure. Where that matters, encrypt the disk or destroy it. Copies elsewhere (backups, stations) "
    "are your own to find."
)


@click.command("destroy")
@click.argument("bundle", type=click.Path(path_type=Path, readable=False))
@click.option("--yes", is_flag=True, help="Do not ask for the word DESTROY.")
@click.option("--with-signing-keys", is_flag=True, help="Signing keys too, which are otherwise left alone.")
def destroy_keys(bundle: Path, yes: bool, with_signing_keys: bool) -> None:
    """Show every secret of BUNDLE and of its keys' home, which boards carry it and what is lost; then delete them.

    \b
    Example:
        secure-provision keys destroy release-1

    Do it when the last board is done. Boards whose keys are burned can still be finished. If the bundle is gone, name
    the home itself: a folder in secure_keys.
    """
    with shown_errors():
        from secure_ext.bundle import secrets_left as left  # noqa: PLC0415 (loaded when used)
        from secure_ext.bundle.read import read_bundle  # noqa: PLC0415

        home: Path | None = bundle
        number = 0
        if left.is_home(bundle):
            folder = bundle
            found = left.secrets_at_home(bundle)
        else:
            left.destroy_left_over(bundle.resolve(), click.echo)
            opened = read_bundle(bundle)
            folder, home = opened.folder / "keys", left.recorded_home(opened)
            found, number = left.secrets_left(opened), left.boards_of_other_keys(opened)
        chosen = [secret for secret in found if with_signing_keys or not secret.is_signing_key]
        for secret in found:
            _show_secret(secret, bundle, number, is_chosen=secret in chosen)
        if home is not None and not left.is_home(home):
            click.echo(f"Not here: {home}, the home of these keys. Where the bundle was made they may still be.")
        unseen = left.not_looked_into(folder, home)
        for path in unseen:
            click.echo(f"Not looked into: {path} is a link to the folder {path.resolve()}. Keys in there stay.")
        if not chosen:
            click.echo("Nothing to destroy: the bundle holds no key that goes into boards.")
            return
        if not yes:
            _confirm(sum(len(secret.paths) for secret in chosen))
        remains = left.destroy(chosen, folder, home)
        for rest in remains:
            click.echo(f"STILL THERE: {rest.path}: {rest.where}")
        click.echo(f"{sum(len(secret.paths) for secret in chosen)} file(s) deleted, not overwritten. {_DELETED}")
        if remains:
            raise CheckError(
                "SE671",
                f"{len(remains)} of the secrets are still there, though their files here are gone",
                cure="delete them where they are, by hand; they are named above",
                place=str(bundle),
            )


def _show_secret(secret: SecretFile, bundle: Path, of_other_keys: int, *, is_chosen: bool) -> None:
    first, *copies = (path.relative_to(bundle) if bundle in path.parents else path for path in secret.paths)
    left_alone = "" if is_chosen else "   (left alone without --with-signing-keys)"
    click.echo(f"{first}  fingerprint {secret.fingerprint}{left_alone}")
    for copy in copies:
        click.echo(f"  also: {copy}")
    if secret.boards is None:
        told = f"; {of_other_keys} in the journal were begun with other keys than the present" if of_other_keys else ""
        click.echo(f"  boards: not known{told}")
    else:
        click.echo(f"  boards: {', '.join(secret.boards) or 'none in the journal'}")
    click.echo(f"  lost with it: {secret.lost}")


def _confirm(number: int) -> None:
    if not _has_operator():
        raise UsageError("SE695", "this is not a terminal, so nobody can be asked to confirm", cure="give --yes")
    if click.prompt(f"Type {DESTROY} to delete {number} file(s) for ever", default="", show_default=False) != DESTROY:
        raise UsageError("SE695", "not confirmed; nothing was deleted", cure=f"type {DESTROY}, or give --yes")


def _has_operator() -> bool:
    return sys.stdin.isatty()
