# SPDX-License-Identifier: Apache-2.0
"""What is wrong with this computer, and not with the board, when esptool or espefuse ends with an error.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import re
import sys
from typing import Optional

from secure_ext.station.frozen import frozen

_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|NotFound|Conflict|Interrupt))(?::|$)")
_NOT_AN_INSTALLATION = {"MemoryError", "KeyboardInterrupt"}
_OF_IMPORTS = {
    *("ModuleNotFoundError", "ImportError", "SyntaxError", "IndentationError"),
    *("PackageNotFoundError", "DistributionNotFound", "VersionConflict", "ContextualVersionConflict"),
}
_NO_MODULE = re.compile(r"No module named '?(?:esptool|espefuse)\b")
_BANNER = re.compile(r"^(?:esptool|espefuse)(?:\.py)? v(\d+)\.(\d+)", re.MULTILINE)
"""The first line of both programs; nothing has been done to a board before it."""
_OF_A_PORT = re.compile(r"^.*\bport\b.*$", re.MULTILINE | re.IGNORECASE)
_BUSY = re.compile(
    r"Errno 16\b|resource busy|exclusively lock|temporarily unavailable|PermissionError\(13", re.IGNORECASE
)
_FORBIDDEN = re.compile(r"Errno 13\b|permission denied", re.IGNORECASE)
_NO_ROOM = ("No space left on device", "Cannot allocate memory")
_NOT_FOUND_OR_NOT_EXECUTABLE = (126, 127)
_KILLED = 128


@frozen
class ToolFault:
    """A fault of the computer: its code, the cause, what to do about it."""

    code: str
    cause: str
    cure: str


_AGAIN = "the board is not at fault: then run this again, it reads the chip and continues"


def fault_of_computer(program: str, exit_code: int, output: str) -> Optional[ToolFault]:
    """Why `program` failed, if that says nothing about the board; None if it may be the board.

    Args:
        program: what is shown as its name.
        exit_code: as `subprocess` gives it: negative for a signal.
        output: all it printed.

    The codes: SE833 (the installation), SE834 (ended by the system), SE836 and SE837 (the port may not be opened).
    """
    if exit_code == 0:
        return None
    exception = _last_exception(output)
    if exit_code < 0 or exit_code > _KILLED or exception == "MemoryError" or any(text in output for text in _NO_ROOM):
        return _ended(program, exit_code, exception, output)
    if _is_broken(exit_code, exception, output):
        return ToolFault(
            "SE833",
            f"{program} is broken on this computer, and not the board: {_last_line(output)}",
            f"install it anew for {sys.executable}: pip uninstall -y esptool, then pip install esptool; {_AGAIN}",
        )
    return _fault_of_port(program, output)


def other_version(version: tuple[int, int], installed: tuple[int, int]) -> Optional[ToolFault]:
    """SE835 if the esptool that was loaded is not the one that pip knows as installed."""
    if version == installed:
        return None
    return ToolFault(
        "SE835",
        f"this esptool is {version[0]}.{version[1]}, but the one that is installed is "
        f"{installed[0]}.{installed[1]}: there are two, or it was replaced just now",
        f"keep one esptool: pip install --upgrade esptool, look for others on PATH and PYTHONPATH; {_AGAIN}",
    )


def _is_broken(exit_code: int, exception: Optional[str], output: str) -> bool:
    """It cannot be imported, or did not even come to say its name."""
    if _NO_MODULE.search(output) or (exception or "").rsplit(".", 1)[-1] in _OF_IMPORTS:
        return True
    has_begun = _BANNER.search(output) is not None
    is_shell = exit_code in _NOT_FOUND_OR_NOT_EXECUTABLE
    return not has_begun and (is_shell or (exception is not None and exception not in _NOT_AN_INSTALLATION))


def _ended(program: str, exit_code: int, exception: Optional[str], output: str) -> ToolFault:
    if exception == "MemoryError" or any(text in output for text in _NO_ROOM):
        how = f"had no room left ({_last_line(output)})"
    elif exit_code < 0:
        how = f"was ended by signal {-exit_code}"
    else:
        how = f"was killed or crashed (exit code {exit_code:#x})"
    return ToolFault(
        "SE834",
        f"{program} {how}",
        f"look at this computer's memory, disk and virus scanner, close other programs; {_AGAIN}",
    )


def _fault_of_port(program: str, output: str) -> Optional[ToolFault]:
    told = " ".join(line for line in _OF_A_PORT.findall(output) if "open" in line.lower() or "lock" in line.lower())
    if _BUSY.search(told):
        return ToolFault(
            "SE837",
            f"another program has the port open: {program} cannot open it",
            "close serial monitors, IDEs and other runs that use this port, and run this again",
        )
    if _FORBIDDEN.search(told):
        return ToolFault(
            "SE836",
            f"this user may not open the port: {program} was denied it",
            "on Linux: sudo usermod -a -G dialout $USER (Arch: uucp), log out and in; then run this again",
        )
    return None


def _last_exception(output: str) -> Optional[str]:
    """The class of the exception that a Python program ended with."""
    if "Traceback (most recent call last)" not in output:
        return None
    found = [match.group(1) for match in map(_EXCEPTION.match, output.splitlines()) if match]
    return found[-1] if found else None


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
