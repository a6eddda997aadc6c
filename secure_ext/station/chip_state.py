# SPDX-License-Identifier: Apache-2.0
"""What is burned on a chip, read through espefuse.

Field values are taken from espefuse's raw dump at the positions its summary gives, because older summaries say
"Enable" for different values. Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

from secure_ext.station.board_link import BoardLink
from secure_ext.station.esp_tools import Stop, ToolResult
from secure_ext.station.frozen import frozen

_OTHER_ESPTOOL = (
    "nothing was changed, and the board is not at fault; install the newest esptool on this computer: "
    f'"{sys.executable}" -m pip install --upgrade esptool'
)
_CODING_ERROR = re.compile(r"Error\(s\) in (BLOCK\d+) \[ERRORS:(\d+) FAIL:(\w+)\]")
_DUMP_LINE = re.compile(r"\[\s*(\d+)\s*\] dump: ((?:[0-9a-fA-F]{8}\s*)+)")


@frozen
class ChipState:
    """The eFuses of a chip.

    Attributes:
        values: raw number of each field.
        texts: espefuse's word for each field's value, such as the name of a key purpose.
        writable: whether each field can still be burned.
        places: block, first bit and width of each field.
        blocks: content of each block, as bytes in the order of espefuse's dump, by block number.
        revision: chip revision, major * 100 + minor.
        mac: factory MAC address, lower case, without separators.
        coding_errors: what espefuse says of blocks whose content does not fit its own check bytes.
    """

    values: dict[str, int]
    texts: dict[str, str]
    writable: dict[str, bool]
    places: dict[str, tuple[int, int, int]]
    blocks: dict[int, bytes]
    revision: int
    mac: str
    coding_errors: tuple[str, ...] = ()

    def has_bit(self, field: str, bit: int) -> bool:
        """Whether `bit` of a field is set."""
        return bool(self.values[field] >> bit & 1)


def read_chip(link: BoardLink) -> ChipState:
    """Reads all eFuses.

    Raises Stop: SE810 (cannot read), SE811 (the chip is closed to espefuse), SE813 (espefuse printed
    something unexpected), SE814 (another chip).
    """
    return read_state(link.espefuse)


def read_state(espefuse: Callable[[list[str]], ToolResult]) -> ChipState:
    """The same from whatever `espefuse` connects to: it is called with the commands, written with hyphens."""
    result = espefuse(["dump", "check-error", "summary", "--format", "json"])
    if result.exit_code and _CODING_ERROR.search(result.output):
        result = espefuse(["dump", "summary", "--format", "json"])
    if result.exit_code:
        raise read_failure(result)
    start = result.output.rfind("\n{")
    try:
        summary, _ = json.JSONDecoder().raw_decode(result.output[start:].lstrip())
    except ValueError:
        raise Stop(4, "SE813", "espefuse printed no summary", _OTHER_ESPTOOL) from None
    return parse_state(summary, result.output)


def read_failure(result: ToolResult) -> Stop:
    """Why a board cannot be read: SE811, SE814, SE810."""
    words, lowered = result.last_words(), result.output.lower()
    if "secure download mode" in lowered:
        return Stop(
            5,
            "SE811",
            "the chip is in secure download mode: its eFuses cannot be read any more",
            "it was sealed by an earlier run or by its own firmware, and takes no eFuses any more: check it with the "
            "functional test, and set it aside if that fails",
        )
    if "this chip is" in lowered or "wrong chip" in lowered or "wrong --chip" in lowered:
        return Stop(
            5, "SE814", f"another chip is connected: {words}", "connect the right board, or use the bundle for this one"
        )
    return Stop(
        4,
        "SE810",
        f"the chip cannot be read: {words}",
        "check cable, port and boot button; close other programs that use the port",
    )


def parse_state(summary: dict[str, dict[str, Any]], output: str) -> ChipState:
    """The state from espefuse's JSON summary and its dump."""
    blocks: dict[int, bytes] = {}
    for match in _DUMP_LINE.finditer(output):
        words = match.group(2).split()
        blocks[int(match.group(1))] = b"".join(int(word, 16).to_bytes(4, "little") for word in words)
    if 0 not in blocks:
        raise Stop(4, "SE813", "espefuse printed no dump", _OTHER_ESPTOOL)
    return state_of(summary, blocks, coding_errors(output))


def coding_errors(output: str) -> tuple[str, ...]:
    """What ``espefuse check-error`` found."""
    return tuple(sorted({f"{match.group(1)} has coding errors" for match in _CODING_ERROR.finditer(output)}))


def state_of(summary: dict[str, dict[str, Any]], blocks: dict[int, bytes], errors: tuple[str, ...]) -> ChipState:
    """The state from espefuse's JSON summary and the content of each block. Raises Stop SE813."""
    values: dict[str, int] = {}
    for name, field in summary.items():
        raw = _raw_value(field, blocks)
        if raw is not None:
            values[name] = raw
    texts = {name: _text(field) for name, field in summary.items()}
    writable = {name: bool(field.get("writeable")) for name, field in summary.items()}
    mac = re.search(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", texts.get("MAC", "").lower())
    places = {
        name: (field["block"], field["word"] * 32 + field["pos"], field["bit_len"])
        for name, field in summary.items()
        if field.get("word") is not None
    }
    if mac is None:
        raise Stop(4, "SE813", "espefuse showed no MAC address", _OTHER_ESPTOOL)
    return ChipState(
        places=places,
        values=values,
        texts=texts,
        writable=writable,
        blocks=blocks,
        revision=_number(texts.get("WAFER_VERSION_MAJOR")) * 100 + _number(texts.get("WAFER_VERSION_MINOR")),
        mac=mac.group(0).replace(":", ""),
        coding_errors=errors,
    )


def _text(field: dict[str, Any]) -> str:
    """The value in words; a purpose that newer versions of espefuse have another name for has the older one."""
    value = str(field.get("value", ""))
    return {"ECDSA_KEY_P256": "ECDSA_KEY"}.get(value, value)


def _raw_value(field: dict[str, Any], blocks: dict[int, bytes]) -> int | None:
    if field.get("word") is None or field.get("block") not in blocks:
        return None
    number = int.from_bytes(blocks[field["block"]], "little")
    return number >> int(field["word"] * 32 + field["pos"]) & ((1 << int(field["bit_len"])) - 1)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
