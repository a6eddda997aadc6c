# SPDX-License-Identifier: Apache-2.0
"""What the fronts share: the options of a project, how they become a decision, and how errors are shown."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from secure_ext.cli.command_names import BUILD_COMMANDS, as_typed_here, command_line
from secure_ext.errors import InputError, SecureProvisionError, UsageError
from secure_ext.station.one_line import harmless

if TYPE_CHECKING:
    from secure_ext.doctor.decide import Decision
    from secure_ext.doctor.rule import Making
    from secure_ext.policy.profile import Profile

Function = TypeVar("Function", bound=Callable[..., Any])
_SPINNER = "secure_ext.spinner"


class Failed(click.ClickException):
    """Shows an error of the package and ends with its exit code."""

    def __init__(self, error: SecureProvisionError, *, as_json: bool) -> None:
        super().__init__(error.cause)
        self.error = error
        self.told = as_typed_here(error.cause), as_typed_here(error.cure)  # while it is known which front is running
        self.as_json = as_json

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """Each class of errors has its own."""
        return self.error.exit_code

    def show(self, file: Any = None) -> None:
        """Text goes to stderr; with ``--format json`` the error is the document on stdout."""
        if self.as_json:
            click.echo(json.dumps({"error": self.error.as_dict(), "exit_code": self.exit_code}, indent=2))
        place = f"\n  where: {self.error.place}" if self.error.place else ""
        cause, cure = self.told
        text = f"error {self.error.code}: {cause}{place}\n  what to do: {cure}"
        click.echo(harmless(text), err=True, file=file)


@contextlib.contextmanager
def shown_errors(output_format: str = "text") -> Iterator[None]:
    """Turns the package's errors into exits, and a file or folder that nobody thought of into SE943."""
    try:
        yield
    except SecureProvisionError as error:
        raise Failed(error, as_json=output_format == "json") from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # nobody reads any more: click ends the command
            raise
        raise Failed(_unusable(error), as_json=output_format == "json") from None


def _unusable(error: OSError) -> InputError:
    return InputError(
        "SE943",
        f"a file or a folder cannot be used: {error.strerror or error}",
        cure="check that you may enter the folder and read (or write) what is in it, the free space, and the folder "
        "for temporary files (TMPDIR)",
        place=str(error.filename or ""),
    )


def format_option(formats: Sequence[str] = ("text", "json")) -> Callable[[Function], Function]:
    """The option of every command that reports something."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(formats),
        default="text",
        show_default=True,
        help="JSON goes to stdout alone; messages go to stderr.",
    )


def build_dir_option(help_text: str = "ESP-IDF build directory.") -> Callable[[Function], Function]:
    """The option of every command that works with one; how people build it decides how they are told to."""

    def with_commands(context: click.Context, _: click.Parameter, build_dir: Path) -> Path:
        from secure_ext.build.platformio import COMMANDS, made_by_platformio  # noqa: PLC0415 (loaded when used)

        context.meta[BUILD_COMMANDS] = COMMANDS if made_by_platformio(build_dir) else {}
        return build_dir

    return click.option(
        "-B",
        "--build-dir",
        type=click.Path(path_type=Path, readable=False),
        default="build",
        show_default=True,
        callback=with_commands,
        help=help_text,
    )


def project_options(command: Function, formats: Sequence[str] = ("text", "json")) -> Function:
    """The options that every command on a project takes; `formats` are those of ``--format``."""
    for option in reversed(
        (
            build_dir_option(),
            click.option(
                "--profile", type=click.Path(path_type=Path, readable=False), help="Profile that overrides sdkconfig."
            ),
            click.option(
                "--signing-key",
                multiple=True,
                metavar="PEM|URI",
                help="Secure boot signing key, a file or a pkcs11: URI; up to three times. Overrides the profile.",
            ),
            click.option(
                "--digest-only-key",
                multiple=True,
                metavar="PEM|URI|DIGEST",
                help="Spare secure boot key that signs nothing: only its digest is burned. Its public half, or the "
                "digest itself, is enough. Repeatable; joins the other keys.",
            ),
            click.option(
                "--flash-encryption-key",
                type=click.Path(path_type=Path, readable=False),
                metavar="FILE",
                help="Flash encryption key file, or per-device. Overrides the profile.",
            ),
            click.option(
                "--nvs-key",
                type=click.Path(path_type=Path, readable=False),
                metavar="FILE",
                help="NVS HMAC key file, or the NVS keys of the nvs_keys partition. Overrides the profile.",
            ),
            click.option(
                "--flash-encryption",
                type=click.Choice(["off", "development", "release"]),
                help="Usage mode of flash encryption. Overrides the profile.",
            ),
            click.option("--secure-boot/--no-secure-boot", default=None, help="Secure Boot V2. Overrides the profile."),
            click.option(
                "--allow-files-in",
                type=click.Path(path_type=Path, readable=False),
                multiple=True,
                metavar="DIR",
                help="The build may put files from this folder, too, into the flash. Repeatable.",
            ),
            click.option(
                "--accept", multiple=True, metavar="CODE", help="Accept a doctor's finding, such as SP020. Repeatable."
            ),
            format_option(formats),
        )
    ):
        command = option(command)
    return command


def profile_from_options(
    *,
    profile: Path | None,
    signing_key: tuple[Path | str, ...],
    flash_encryption_key: Path | None,
    flash_encryption: str | None,
    secure_boot: bool | None,
    accept: tuple[str, ...],
    nvs_key: Path | None = None,
    key_home: Path | None = None,
    digest_only_key: tuple[Path | str, ...] = (),
) -> Profile:
    """The profile file, overridden by the options, whose paths are relative to the working directory."""
    from secure_ext.policy.profile import Profile, load_profile  # noqa: PLC0415 (loaded when used)
    from secure_ext.policy.signing_entry import SigningEntry, Signs, is_digest  # noqa: PLC0415 (loaded when used)

    loaded = load_profile(profile) if profile else Profile(Path.cwd())
    values = dict(loaded.values)
    before = dict(values)
    if signing_key:
        values["secure_boot.keys"] = tuple(_key_as_profile_text(key) for key in signing_key)
    if digest_only_key:
        spare = (
            SigningEntry(digest=str(key).lower(), signs=Signs.NOTHING)
            if is_digest(str(key))
            else SigningEntry(_key_as_profile_text(key), signs=Signs.NOTHING)
            for key in digest_only_key
        )
        others = replace(loaded, values=values).signing_entries("secure_boot.keys") or ()
        values["secure_boot.keys"] = (*others, *spare)
    if flash_encryption_key:
        is_file = str(flash_encryption_key) != "per-device"
        values["flash_encryption.key"] = str(flash_encryption_key.absolute()) if is_file else "per-device"
    if nvs_key:
        values["nvs.key"] = str(nvs_key.absolute())
    if key_home:
        values["keys.home"] = str(key_home.absolute())
    if flash_encryption:
        values["flash_encryption.mode"] = flash_encryption
    if secure_boot is not None:
        values["secure_boot.enabled"] = secure_boot
    if accept:
        values["doctor.accept"] = (*(loaded.texts("doctor.accept") or ()), *accept)
    changed = frozenset(key for key, value in values.items() if before.get(key) != value)
    return Profile(loaded.folder, values, from_options=changed, sha256=loaded.sha256)


def _key_as_profile_text(key: Path | str) -> str:
    from secure_ext.policy.key_uri import is_key_uri  # noqa: PLC0415 (loaded when used)

    return key if isinstance(key, str) and is_key_uri(key) else str(Path(key).absolute())


def decision_from_options(
    build_dir: Path, *, allow_files_in: Sequence[Path] = (), configuration: bool = False, **options: Any
) -> Decision:
    """Reads and decides; `configuration` is for a project that is not built.

    Raises InputError SE670, UsageError SE659 for what only the person here may ask for.
    """
    from secure_ext.build.menu import with_menu  # noqa: PLC0415 (loaded when used)
    from secure_ext.build.outside import require_inside  # noqa: PLC0415 (loaded when used)
    from secure_ext.doctor.decide import decide  # noqa: PLC0415 (loaded when used)

    completed = with_menu(build_dir, options)
    profile = profile_from_options(**completed)
    if completed["profile"] and not options["profile"]:
        _refuse_modules(profile)
    if configuration:
        from secure_ext.build.configured import read_configured  # noqa: PLC0415 (loaded when used)
        from secure_ext.configure.examine import decide_as_configured  # noqa: PLC0415 (loaded when used)

        return decide_as_configured(read_configured(build_dir), profile)
    decision = decide(build_dir, profile)
    require_inside(decision.build, allow_files_in)
    return decision


def _refuse_modules(profile: Profile) -> None:
    """A library is loaded into this process: a profile that the build names, and no person, has no say in which."""
    from secure_ext.keys.token import MODULE_VARIABLE  # noqa: PLC0415 (loaded when used)
    from secure_ext.policy.key_uri import is_key_uri, parse_key_uri  # noqa: PLC0415 (loaded when used)

    for entry in profile.signing_entries("secure_boot.keys") or ():
        if is_key_uri(entry.key):
            module = parse_key_uri(entry.key, place="secure_boot.keys").library
            if module and module != os.environ.get(MODULE_VARIABLE):
                raise UsageError(
                    "SE659",
                    f"the profile that the build's configuration names wants a PKCS#11 library loaded: {module}",
                    cure=f"if it is the right one, set {MODULE_VARIABLE} to it, or name the profile yourself with "
                    "--profile; else do not use this build",
                    place="secure_boot.keys",
                )


def circumstances(*, archived: bool = False, with_plaintext: bool = False, output_format: str = "text") -> Making:
    """What a front knows of the run that makes a bundle; build servers set CI in the environment."""
    from secure_ext.doctor.rule import Making  # noqa: PLC0415 (loaded when used)

    build_server = os.environ.get("CI", "").lower() not in {"", "0", "n", "no", "off", "false"}
    return Making(
        build_server=build_server,
        archived=archived,
        with_plaintext=with_plaintext,
        read_by_a_program=output_format == "json",
    )


def show_next(command: str) -> None:
    """Names the command that comes next, on stderr, as the running front spells it."""
    click.echo(f"next, with the same options: {command_line(command)}", err=True)


def print_json(data: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(data, indent=2))


@contextlib.contextmanager
def shown_progress() -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 (slow to import, and only needed on a terminal)

    meta = click.get_current_context().meta
    with Console(stderr=True).status("...") as status:
        meta[_SPINNER] = status
        try:
            yield status.update
        finally:
            del meta[_SPINNER]


@contextlib.contextmanager
def paused_progress() -> Iterator[None]:
    """Stops the spinner of `shown_progress`, if there is one, while a question is asked."""
    spinner = click.get_current_context().meta.get(_SPINNER)
    if spinner is not None:
        spinner.stop()
    yield
    if spinner is not None:
        spinner.start()
