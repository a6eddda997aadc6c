# SPDX-License-Identifier: Apache-2.0
"""``configure``: the security settings and the partition table of a project, before it is built."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_ext.cli.command_names import as_typed_here, command_line
from secure_ext.cli.front import build_dir_option, format_option, print_json, shown_errors

if TYPE_CHECKING:
    from secure_ext.configure.configuration import Configuration
    from secure_ext.configure.wishes import Wishes

_MODES = ("off", "development", "release")
_SCHEMES = ("rsa3072", "ecdsa256", "ecdsa384")
_NVS = ("off", "hmac", "flash-encryption")
_DOWNLOAD = ("secure", "disabled", "open")
_RECOMMENDED = "recommended"


@click.command()
@build_dir_option("ESP-IDF build directory; the project must be configured, not built.")
@click.option("--profile", type=click.Path(path_type=Path, readable=False), help="Profile that says what is wanted.")
@click.option("--flash-encryption", type=click.Choice(_MODES), help="Usage mode. [default: release]")
@click.option(
    "--key-size", type=click.Choice(["128", "256", "128-derived"]), help="AES bits. [default: as ESP-IDF chooses]"
)
@click.option("--secure-boot/--no-secure-boot", default=None, help="Secure Boot V2. [default: on where it is sound]")
@click.option(
    "--scheme",
    type=click.Choice(_SCHEMES),
    help="Kind of signature. [default: RSA where the chip has it]",
)
@click.option("--nvs", type=click.Choice(_NVS), help="Where NVS keys come from. [default: hmac where the chip has it]")
@click.option(
    "--download-mode", type=click.Choice(_DOWNLOAD), help="UART download mode. [default: secure where there is one]"
)
@click.option(
    "--signed-by-build",
    metavar="PEM",
    help="The build signs with this key, named from the project. [default: the bundle signs]",
)
@click.option(
    "--anti-rollback", type=click.IntRange(0), metavar="VERSION", help="Refuse older apps; the secure version of this."
)
@click.option("--move-partitions", is_flag=True, help="Take offsets out of the CSV where the table needs the room.")
@click.option("--apply", "apply_", is_flag=True, help="Also change the present sdkconfig.")
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if the project lacks something.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@format_option()
def configure(
    build_dir: Path,
    profile: Path | None,
    *,
    move_partitions: bool,
    apply_: bool,
    check: bool,
    yes: bool,
    output_format: str,
    **options: Any,
) -> None:
    """Give a project the security settings and the partition table that it needs.

    \b
    Example, in a project:
        idf.py set-target esp32c3
        secure-provision configure --apply
        idf.py build

    Goes through the project's own Kconfig files, so that nothing is set that its ESP-IDF does not take; writes
    sdkconfig.defaults.secure with a reason for each line, and rows that the partition table lacks.
    """
    with shown_errors(output_format):
        from secure_ext.build.configured import read_configured  # noqa: PLC0415 (loaded when used)
        from secure_ext.cli.show.configuration import configuration_data, configuration_text  # noqa: PLC0415
        from secure_ext.cli.show.findings import findings_text  # noqa: PLC0415 (loaded when used)
        from secure_ext.configure.configuration import decide_configuration  # noqa: PLC0415 (loaded when used)
        from secure_ext.configure.write import write_configuration  # noqa: PLC0415 (loaded when used)
        from secure_ext.policy.profile import Profile, load_profile  # noqa: PLC0415 (loaded when used)

        project = read_configured(build_dir)
        given = load_profile(profile) if profile else Profile(Path.cwd())
        wishes = _wishes(options).completed_by(given)
        asks = not (yes or check) and output_format == "text" and sys.stdin.isatty()
        if asks:
            wishes = _asked(wishes)
        configuration = decide_configuration(project, wishes, given, move=move_partitions)
        written: tuple[Path, ...] = ()
        if output_format == "text":
            click.echo(configuration_text(configuration))
            if configuration.findings:
                click.echo(findings_text(configuration.findings))
            if asks:
                click.confirm("Write this?", default=True, abort=True)
        if not check:
            written = write_configuration(configuration, to_sdkconfig=apply_)
        if output_format == "json":
            print_json(configuration_data(configuration, written))
        else:
            for path in written:
                click.echo(f"written: {path}")
            if not (written or check):
                click.echo("nothing to write: all of it is there already")
            if not check:
                _show_next(configuration, is_applied=apply_)
    if check and not configuration.is_complete:
        sys.exit(1)


def _show_next(configuration: Configuration, *, is_applied: bool) -> None:
    """The build, and the key that it takes, on stderr."""
    from secure_ext.build.platformio import made_by_platformio  # noqa: PLC0415 (loaded when used)

    project, csv = configuration.project, configuration.table.csv
    if made_by_platformio(project.build_dir):
        own = csv.relative_to(project.project_dir).as_posix() if project.project_dir in csv.parents else csv.name
        click.echo(f"PlatformIO takes the table that platformio.ini names: board_build.partitions = {own}", err=True)
    if is_applied or not configuration.applied.lacking:
        click.echo(as_typed_here("next: idf.py build"), err=True)
    else:
        click.echo("next, to have it in the present sdkconfig: the same command with --apply", err=True)
    scheme = configuration.signature_scheme
    if scheme and not any(configuration.project.project_dir.glob("*.pem")):
        key = f"{command_line('keys')} generate {scheme} signing_key.pem"
        click.echo(f"a signing key, once for the product, to be backed up: {key}", err=True)


def _wishes(options: dict[str, Any]) -> Wishes:
    from secure_ext.configure.wishes import Wishes  # noqa: PLC0415 (loaded when used)

    return Wishes(
        flash_encryption=options["flash_encryption"],
        key_size=options["key_size"],
        secure_boot=options["secure_boot"],
        scheme=options["scheme"],
        nvs=options["nvs"],
        download_mode=options["download_mode"],
        build_signs_with=options["signed_by_build"],
        secure_version=options["anti_rollback"],
    )


def _asked(wishes: Wishes) -> Wishes:
    """One question for each choice that nobody has made."""
    questions = (
        ("flash_encryption", "Flash encryption", _MODES),
        ("secure_boot", "Secure boot", ("on", "off")),
        ("nvs", "NVS encryption", _NVS),
        ("download_mode", "UART download mode", _DOWNLOAD),
    )
    answers: dict[str, Any] = {}
    for name, question, choices in questions:
        if getattr(wishes, name) is None:
            answer = click.prompt(question, type=click.Choice((_RECOMMENDED, *choices)), default=_RECOMMENDED)
            if answer != _RECOMMENDED:
                answers[name] = answer == "on" if name == "secure_boot" else answer
    return replace(wishes, **answers)
