# SPDX-License-Identifier: Apache-2.0
"""Every command and option that a message names is there: a cure that cannot be typed cures nothing."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import secure_ext
from secure_ext.cli.main import cli

PACKAGE = Path(secure_ext.__file__).parent
CODE = re.compile(r"S[EP]\d{3}")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
COMMAND = re.compile(r"secure-provision((?: [a-z][a-z-]*)+)([^`]*)")
OTHER_PROGRAMS = re.compile(r"\b(pip|espefuse|espsecure|esptool|pkcs11-tool|openssl|ssh-keygen)\b")
HOLE = "\N{HORIZONTAL ELLIPSIS}"


def text_of(node: ast.expr) -> str | None:
    """A string as it is written, with a hole for each value that is put in; None for what is not a string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or HOLE for part in node.values)
    if isinstance(node, ast.BinOp):
        return (text_of(node.left) or HOLE) + (text_of(node.right) or HOLE)
    return None


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def messages() -> Iterator[tuple[str, str]]:
    """The texts of every error, doctor rule and finding: of each call that has a code among its arguments."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Call):
                continue
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            texts = [text for argument in arguments for text in _texts_in(argument)]
            if any(CODE.fullmatch(text) for text in texts):
                yield from ((f"{path.relative_to(PACKAGE)}:{node.lineno}", text) for text in texts)


def _texts_in(argument: ast.expr) -> Iterator[str]:
    text = text_of(argument)
    if text is not None:
        yield text
    elif isinstance(argument, ast.IfExp):
        yield from (*_texts_in(argument.body), *_texts_in(argument.orelse))


def all_strings() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(tree_of(path)):
            text = text_of(node) if isinstance(node, (ast.Constant, ast.JoinedStr)) else None
            if text and "secure-provision " in text:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", text  # type: ignore[attr-defined]


def options_of(command: click.Command) -> set[str]:
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own | {"--help", "--version"}


def commands(command: click.Command = cli) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from commands(inner)


def options_of_the_script() -> set[str]:
    """What provision.py takes: the arguments of its parser, which is built in the part that becomes it."""
    return {
        text
        for path in (PACKAGE / "station").glob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"
        for text in map(text_of, node.args)
        if text
    }


def find(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that some words name, and the words that are left; those are its arguments, or prose."""
    command: click.Command = cli
    while words and isinstance(command, click.Group) and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_every_command_in_a_text_exists() -> None:
    wrong = []
    for place, text in all_strings():
        for found in COMMAND.finditer(text):
            command, rest = find(found[1].split())
            if not text[: found.start()].endswith("`"):
                continue  # prose, in which the name of the program is followed by other words
            if isinstance(command, click.Group) and rest:
                wrong.append(f"{place}: {command.name} {' '.join(rest)}")
            unknown = set(OPTION.findall(found[2])) - options_of(command)
            wrong += [f"{place}: {command.name} has no {option}" for option in unknown]
    assert not wrong, "\n".join(wrong)


def test_every_option_in_a_message_exists() -> None:
    known = {option for command in commands() for option in options_of(command)} | options_of_the_script()
    wrong = {
        f"{place}: {option}: {text}"
        for place, text in messages()
        if not OTHER_PROGRAMS.search(text)
        for option in OPTION.findall(text)
        if option not in known
    }
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("words", [["nothing"], ["keys", "nothing"]])
def test_a_command_that_is_not_there_is_seen(words: list[str]) -> None:
    command, rest = find(words)
    assert rest == ["nothing"] and isinstance(command, click.Group)
