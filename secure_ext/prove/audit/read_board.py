# SPDX-License-Identifier: Apache-2.0
"""Reads a board for an audit and changes nothing: on a port, in a file of virtual eFuses, in an eFuse token."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from secure_ext.chips.efuse_table import load_efuse_table
from secure_ext.errors import DeviceError, InputError, SecureProvisionError, ToolError, UsageError
from secure_ext.prove.audit.board import Board
from secure_ext.prove.audit.summary_file import chip_of
from secure_ext.reading import KEY_FILE_LIMIT, read_file
from secure_ext.station.board_link import BoardLink, Connection
from secure_ext.station.chip_state import ChipState, read_chip, read_failure
from secure_ext.station.esp_tools import FAULTS_OF_COMPUTER, Stop
from secure_ext.station.port_lock import lock_port
from secure_ext.station.security_info import parse_security_info

ANY_CHIP = "auto"
TOKENS_SINCE = (5, 4)
"""The first espefuse that reads eFuse tokens."""
_ERROR_OF = {2: UsageError, 3: InputError, 4: ToolError, 5: DeviceError}


def as_error(stop: Stop) -> SecureProvisionError:
    """What stops the script, as an error of the package: same code, cause, cure and exit code."""
    return _ERROR_OF[stop.exit_code](stop.code, stop.cause, cure=stop.cure)


def read_port(port: str, chip: str | None, *, baud: int, before: str) -> Board:
    """The board on a serial port.

    Args:
        port: serial port, as esptool takes it.
        chip: the chip it has to be; None for whichever it is.
        baud: baud rate.
        before: reset mode before connecting, as esptool calls it.

    Raises DeviceError SE870 (nothing answers) and the errors of `read_chip`, `BoardLink` and `lock_port`.
    """
    try:
        with lock_port(port), BoardLink(Connection(chip or ANY_CHIP, port, before, baud)) as link:
            result = link.connect()
            if result.exit_code:
                raise read_failure(result)
            try:
                return _open_board(read_chip(link), chip, f"the board on {port}")
            except Stop as stop:
                if stop.code != "SE811":
                    raise
                return _sealed_board(link, chip)
    except Stop as stop:
        if "failed to connect" in stop.cause.lower():
            raise DeviceError(
                "SE870",
                f"no chip answers on {port}",
                cure="check cable, port and boot button; a board whose download mode is disabled never answers again, "
                "and can only be audited before that, or by an eFuse token that its firmware prints",
                place=port,
            ) from None
        raise as_error(stop) from None


def read_virtual(path: Path, chip: str) -> Board:
    """A virtual chip of espefuse, read from a copy: espefuse would make or complete the file.

    Raises InputError SE876 if it is none, and the errors of `BoardLink`.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "efuses.bin")
        try:
            copy.touch(mode=0o600)
            shutil.copyfile(path, copy)
            size = path.stat().st_size
            with BoardLink(Connection(chip, virtual_file=str(copy))) as link:
                state = read_chip(link)
        except OSError as error:
            raise _no_virtual_chip(path, chip, error.strerror or str(error)) from None
        except Stop as stop:
            if stop.code in FAULTS_OF_COMPUTER:
                raise as_error(stop) from None
            raise _no_virtual_chip(path, chip, stop.cause) from None
        if copy.stat().st_size != size:
            raise _no_virtual_chip(path, chip, f"it has {size} bytes")
    return Board(chip, f"the virtual chip {path.name}", state)


def read_token(path: Path, chip: str | None) -> Board:
    """The board whose eFuse token is in a file (``espefuse dump --format token``, or what a firmware printed).

    Raises InputError SE877 (no token), SE872 (of another chip), ToolError SE878 (espefuse knows no tokens).
    """
    try:
        token = read_file(path, KEY_FILE_LIMIT).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise _no_token(path, "it cannot be read as text") from None
    shape = re.fullmatch(r"EFSR:([a-z0-9]+):\d+:[\w:-]+", token)
    if shape is None:
        raise _no_token(path, "it does not have the form EFSR:chip:...")
    found = shape.group(1)
    if chip is not None and found != chip:
        raise InputError(
            "SE872",
            f"the token is of an {found}, not of an {chip}",
            cure="give the token of the right board, or the bundle for this one",
            place=str(path),
        )
    try:
        with BoardLink(Connection(found, token=token)) as link:
            if link.version < TOKENS_SINCE:
                raise ToolError(
                    "SE878",
                    "this espefuse reads no eFuse tokens",
                    cure="install esptool 5.4 or later for this Python: pip install --upgrade esptool",
                )
            state = read_chip(link)
    except Stop as stop:
        if stop.code in FAULTS_OF_COMPUTER:
            raise as_error(stop) from None
        # what espefuse says of it repeats the token
        raise _no_token(path, "espefuse does not take it: it is damaged, cut off, or of an unknown chip") from None
    return Board(found, f"the eFuse token {path.name}", state)


def _open_board(state: ChipState, chip: str | None, source: str) -> Board:
    found = chip or chip_of(state)
    if found is None:
        raise Stop(
            5,
            "SE814",
            "the chip is not one that is supported here",
            "if it is, name it with --chip, such as --chip esp32c6",
        )
    return Board(found, source, state)


def _sealed_board(link: BoardLink, chip: str | None) -> Board:
    result = link.esptool(["get-security-info"])
    if result.exit_code:
        raise Stop(
            4,
            "SE810",
            f"the chip cannot be read: {result.last_words()}",
            "check cable, port and boot button, and run again",
        )
    name = re.search(r"(ESP32[A-Z0-9-]*) in Secure Download Mode", result.output)
    found = chip or (name.group(1).lower().replace("-", "") if name else None)
    if found is None:
        raise Stop(5, "SE814", "the board is sealed and does not say which chip it is", "name it: --chip esp32c6")
    info = parse_security_info(result.output, load_efuse_table(found, 0).fields)
    return Board(found, f"the board on {link.connection.port}", security=info)


def _no_virtual_chip(path: Path, chip: str, why: str) -> InputError:
    return InputError(
        "SE876",
        f"this is not a file of virtual eFuses of an {chip}: {why}",
        cure="give the file that provision.py --virt or espefuse --virt --path-efuse-file wrote",
        place=str(path),
    )


def _no_token(path: Path, why: str) -> InputError:
    return InputError(
        "SE877",
        f"this is not an eFuse token: {why}",
        cure="make it with: espefuse --port PORT dump --format token --file-name FILE",
        place=str(path),
    )
