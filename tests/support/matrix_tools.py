# SPDX-License-Identifier: Apache-2.0
"""The real espefuse, espsecure and ``provision.py`` as subprocesses, spelled for esptool 4 and 5."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.release_oracle import Efuses

TIME_LIMIT = 300
"""Seconds after which a program hangs."""


@functools.cache
def esptool_version() -> tuple[int, int]:
    """Major and minor version of the installed esptool."""
    major, minor = importlib.metadata.version("esptool").split(".")[:2]
    return int(major), int(minor)


@dataclass(frozen=True)
class Done:
    """A finished program: its exit code, and stdout and stderr together."""

    exit_code: int
    output: str


def run(line: list[str], *, environment: dict[str, str] | None = None) -> Done:
    """Runs a program to its end, with no one to answer questions."""
    done = subprocess.run(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=environment,
        check=False,
        timeout=TIME_LIMIT,
    )
    return Done(done.returncode, done.stdout)


def espefuse(chip: str, chip_file: Path, *words: str) -> str:
    """Runs espefuse on virtual eFuses; `words` start with a command in hyphens. The output, if it succeeds."""
    start = [sys.executable, "-m", "espefuse", "--chip", chip, "--virt", "--path-efuse-file", str(chip_file)]
    done = run([*start, "--do-not-confirm", *(_spelled(word) for word in words)])
    assert done.exit_code == 0, done.output
    return done.output


def read_efuses(chip: str, chip_file: Path) -> Efuses:
    """What espefuse says of a virtual chip."""
    return Efuses.of_output(espefuse(chip, chip_file, "dump", "summary", "--format", "json"))


_SEVERAL_COMMANDS = """
import json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv = ["espsecure", *words]
    try:
        runpy.run_module("espsecure", run_name="__main__")
    except SystemExit as end:
        if end.code:
            sys.exit(f"espsecure {words}: {end.code}")
"""


def espsecure(*commands: list[str]) -> Done:
    """Runs several espsecure commands in one process, up to the first that fails; names are written with hyphens."""
    spelled = [[_spelled(word) for word in words] for words in commands]
    return run([sys.executable, "-c", _SEVERAL_COMMANDS, json.dumps(spelled)])


def _spelled(word: str) -> str:
    """A command or option as this esptool writes it; espefuse's own options keep their hyphens in version 4."""
    keeps_hyphens = word in ("--no-read-protect", "--no-write-protect") or "/" in word
    if esptool_version() >= (5, 0) or keeps_hyphens:
        return word
    prefix = "--" if word.startswith("--") else ""
    return prefix + word.removeprefix("--").replace("-", "_")


def provision(
    bundle: Path, chip_file: Path, *options: str, yes: bool = True, environment: dict[str, str] | None = None
) -> Done:
    """Runs the bundle's script on virtual eFuses, with no one to answer questions."""
    line = [sys.executable, str(bundle / "provision.py"), "--virt", str(chip_file), *options]
    return run(line + (["--yes"] if yes else []), environment=environment)
