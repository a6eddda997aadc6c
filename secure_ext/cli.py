"""The console script ``secure-provision``: reads options, calls the package, prints, exits."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from secure_ext import __version__
from secure_ext.device_commands import flash, rehearse
from secure_ext.errors import InputError, UsageError
from secure_ext.esp_idf.setup import component_dir, idf
from secure_ext.front import (
    decision_from_options,
    print_json,
    project_options,
    show_next,
    shown_errors,
    shown_progress,
)

SIGNING_SCHEMES = ("rsa3072", "ecdsa256", "ecdsa384")
SECRET_LENGTHS = {"flash-encryption": 32, "flash-encryption-256": 64, "flash-encryption-128-derived": 16, "hmac": 32}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="secure-provision")
def cli() -> None:
    """Sign, encrypt and provision ESP-IDF projects from the host.

    \b
    Example, from an ESP-IDF project:
        idf.py build
        secure-provision doctor
        secure-provision bundle --signing-key signing_key.pem
        python build/secure/provision.py --port PORT

    Exit codes: 0 done, 1 a check found something wrong, 2 wrong usage, 3 input missing or unsupported, 4 an external
    tool failed, 5 the device is in a state that forbids going on.
    """


@cli.command()
@project_options
def doctor(output_format: str, **options: Any) -> None:
    """Find what would brick, weaken or surprise, before anything is made.

    \b
    Example:
        secure-provision doctor -B build --profile production.yaml
    """
    with shown_errors(output_format):
        from secure_ext.bundle.key_material import check_key_files  # noqa: PLC0415 (loaded when used)
        from secure_ext.report import findings_data, findings_text  # noqa: PLC0415 (loaded when used)

        decision = decision_from_options(**options)
        check_key_files(decision.policy)
        stops = any(finding.stops for finding in decision.findings)
        if output_format == "json":
            print_json({"findings": findings_data(decision.findings), "exit_code": int(stops)})
        else:
            click.echo(findings_text(decision.findings))
            if not stops:
                show_next("plan")
    if stops:
        sys.exit(1)


@cli.command()
@project_options
def plan(output_format: str, **options: Any) -> None:
    """Show the plan: every step, its reason, and what becomes irreversible. Touches no key.

    \b
    Example:
        secure-provision plan --format json
    """
    with shown_errors(output_format):
        from secure_ext.report import plan_data, plan_text  # noqa: PLC0415 (loaded when used)

        decision = decision_from_options(**options)
        if output_format == "json":
            print_json(plan_data(decision))
        else:
            click.echo(plan_text(decision))
            show_next("bundle")


@cli.command()
@project_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Directory of the bundle. [default: <build-dir>/secure]"
)
def bundle(output: Path | None, output_format: str, build_dir: Path, **options: Any) -> None:
    """Sign, encrypt, check, and write the bundle with its provisioning script.

    \b
    Example:
        secure-provision bundle --profile production.yaml -o release/board-0001

    Keys that are generated for a bundle are kept when it is made again in the same place.
    """
    with shown_errors(output_format):
        from secure_ext.bundle.write import write_bundle  # noqa: PLC0415 (loaded when used)
        from secure_ext.esp_idf.menu import read_menu  # noqa: PLC0415 (loaded when used)
        from secure_ext.report import bundle_data, bundle_text, findings_text  # noqa: PLC0415 (loaded when used)

        decision = decision_from_options(build_dir, **options)
        stopping = [finding for finding in decision.findings if finding.stops]
        if len(stopping) > 1:
            click.echo(findings_text(stopping), err=True)
        with shown_progress() as progress:
            made = write_bundle(decision, output or read_menu(build_dir).output, progress)
        if output_format == "json":
            print_json(bundle_data(decision, made))
        else:
            click.echo(bundle_text(decision, made))


@cli.group()
def keys() -> None:
    """Make keys and show what identifies them.

    \b
    Example:
        secure-provision keys generate rsa3072 signing_key.pem
        secure-provision keys digest signing_key.pem
    """


@keys.command("generate")
@click.argument("kind", type=click.Choice([*SIGNING_SCHEMES, *SECRET_LENGTHS]))
@click.argument("file", type=click.Path(path_type=Path))
def generate_key(kind: str, file: Path) -> None:
    """Write a new random key of KIND to FILE, readable by you alone. Never overwrites.

    \b
    Example:
        secure-provision keys generate rsa3072 signing_key.pem
    """
    with shown_errors():
        from secure_ext.keys.files import write_secret_file  # noqa: PLC0415 (loaded when used)
        from secure_ext.keys.signing import SignatureScheme, generate_signing_key  # noqa: PLC0415
        from secure_ext.keys.symmetric import generate_secret  # noqa: PLC0415

        if kind in SECRET_LENGTHS:
            secret = generate_secret(kind, SECRET_LENGTHS[kind])
            write_secret_file(file, secret.data)
            click.echo(f"{file}: {kind} key, fingerprint {secret.fingerprint}")
        else:
            write_secret_file(file, generate_signing_key(SignatureScheme(kind)))
            click.echo(f"{file}: {kind} signing key. Back it up where it cannot be lost or copied.")


@keys.command("digest")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the 32 bytes to this file as well.")
def key_digest(file: Path, output: Path | None) -> None:
    """Show the secure boot digest of a signing key (private or public PEM): what is burned into eFuse.

    \b
    Example:
        secure-provision keys digest signing_key.pem -o digest.bin
    """
    with shown_errors():
        from secure_ext.images.secure_boot import public_key_digest  # noqa: PLC0415 (loaded when used)
        from secure_ext.keys.signing import load_verification_key  # noqa: PLC0415

        key = load_verification_key(file)
        digest = public_key_digest(key)
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
        click.echo(f"{key.scheme.value} {digest.hex()}")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--init", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE", help="Write a new profile.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of profiles.")
def profile(file: Path | None, init: Path | None, schema: bool) -> None:
    """Check a profile FILE, or start one with every setting explained.

    \b
    Example:
        secure-provision profile --init production.yaml
        secure-provision profile production.yaml
    """
    with shown_errors():
        from secure_ext.policy.profile import load_profile  # noqa: PLC0415 (loaded when used)
        from secure_ext.policy.settings import json_schema, template  # noqa: PLC0415

        if schema:
            print_json(json_schema())
        elif init is not None and str(init) == "-":
            click.echo(template(), nl=False)
        elif init is not None:
            try:
                with init.open("x", encoding="utf-8") as new:
                    new.write(template())
            except OSError as error:
                raise UsageError(
                    "SE305",
                    f"the profile cannot be written: {error.strerror}",
                    cure="give another path",
                    place=str(init),
                ) from None
            click.echo(f"{init}: written; take the # from what you want to change")
        elif file is not None:
            settings = load_profile(file).values
            number = len(settings) - 1
            click.echo(f"{file}: valid, with {number} setting{'' if number == 1 else 's'} besides the schema version")
        else:
            raise click.UsageError("give a FILE, --init FILE or --schema")


@cli.command()
@click.option("--chip", default="esp32c6", show_default=True, help="Target of the sample.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="secure-demo",
    show_default=True,
    help="New directory for the sample, its bundle and the virtual chip.",
)
def demo(chip: str, output: Path) -> None:
    """The main job on a sample build, and a rehearsal of it on a virtual chip. Needs no ESP-IDF and no device.

    \b
    Example:
        secure-provision demo --chip esp32s3
    """
    with shown_errors():
        from secure_ext.demo import run_demo  # noqa: PLC0415 (loaded when used)

        for line in run_demo(chip, output):
            click.echo(line)


cli.add_command(rehearse)
cli.add_command(flash)
cli.add_command(idf)
cli.add_command(component_dir)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script."""
    # A polite kill cleans up like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    cli(arguments, prog_name="secure-provision")
