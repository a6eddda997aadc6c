# SPDX-License-Identifier: Apache-2.0
"""Where passphrases and PINs come from: a file descriptor, the environment, or a hidden prompt at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

import click

from secure_ext.cli.front import paused_progress
from secure_ext.errors import UsageError
from secure_ext.station.frozen import frozen

if TYPE_CHECKING:
    from secure_ext.keys.secret_source import SecretWanted

_META = "secure_ext.secrets"
_NAMES = ("SECURE_PROVISION_PASSPHRASE", "SECURE_PROVISION_PIN")
_VARIABLES = tuple(f"{name}{suffix}" for name in _NAMES for suffix in ("", "_0", "_1", "_2", "_3"))
_LIMIT = 64 * 1024


passphrase_option = click.option(
    "--passphrase-fd",
    type=int,
    metavar="N",
    help="Read passphrases and PINs of signing keys from this file descriptor, one a line.",
)
"""The option of every command that signs; `secrets_of_the_command` takes its value."""


def take_secrets_from_environment(context: click.Context) -> None:
    """Moves the secret variables out of the environment, so that no child process gets them, into the context."""
    taken = context.meta.setdefault(_META, {})
    taken.update({name: os.environ.pop(name) for name in _VARIABLES if name in os.environ})


def secrets_of_the_command(passphrase_fd: int | None = None) -> PromptedSecrets:
    """The secrets of the running command.

    Raises UsageError SE658 if the descriptor cannot be read.
    """
    context = click.get_current_context()
    take_secrets_from_environment(context)
    lines = None if passphrase_fd is None else iter(_lines(passphrase_fd))
    return PromptedSecrets(context.meta[_META], lines)


@frozen
class PromptedSecrets:
    """The `SecretSource` of the fronts; it asks for each secret once, and shows none of them.

    Attributes:
        environment: what was in the environment: a variable with the key's number counts more than one without.
        lines: of the descriptor, one for each secret that is needed, in the order of the keys; None for no descriptor.
    """

    environment: Mapping[str, str] = field(repr=False)
    lines: Iterator[str] | None = field(repr=False)
    _known: dict[SecretWanted, str | None] = field(default_factory=dict, repr=False)

    def secret(self, wanted: SecretWanted) -> str | None:
        """The secret; None when there is none and no terminal to ask at. Raises UsageError SE658."""
        if wanted not in self._known:
            self._known[wanted] = self._found(wanted)
        return self._known[wanted]

    def _found(self, wanted: SecretWanted) -> str | None:
        if self.lines is not None:
            line = next(self.lines, None)
            if line is None:
                raise _bad_descriptor(f"it has no line for the {wanted.kind.value} of {wanted.key_name}")
            return line
        variable = f"SECURE_PROVISION_{wanted.kind.value.upper()}"
        given = self.environment.get(f"{variable}_{wanted.key_number}") or self.environment.get(variable)
        if given or not sys.stdin.isatty():
            return given
        with paused_progress():
            text = f"{wanted.kind.value} of {wanted.key_name} ({wanted.place})"
            answer: str = click.prompt(text, hide_input=True, default="", show_default=False, err=True)
        return answer or None


def _lines(descriptor: int) -> list[str]:
    try:
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_LIMIT)
        return [line.rstrip("\r") for line in content.decode("utf-8").removesuffix("\n").split("\n")]
    except (OSError, UnicodeDecodeError, ValueError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise _bad_descriptor(f"it cannot be read: {why}") from None


def _bad_descriptor(why: str) -> UsageError:
    return UsageError(
        "SE658",
        f"the secrets cannot be taken from the file descriptor: {why}",
        cure="give one line for each key that needs a passphrase or a PIN, in the order of the keys, as in: "
        "--passphrase-fd 3 3<FILE",
        place="--passphrase-fd",
    )
