# SPDX-License-Identifier: Apache-2.0
"""The board on a port: is it one of the fleet, and in which state is its security really?

Open boards show their eFuses, and are compared with the plan. Boards in secure download mode show little
(`security_info`): what they do not show is listed as not verifiable. Neither is believed for what the plan says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secure_ext.checks import Check, Outcome
from secure_ext.errors import DeviceError
from secure_ext.station.board_link import BoardLink
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.chip_state import ChipState, read_chip, read_failure
from secure_ext.station.efuse_features import CRYPT_COUNTS, DOWNLOAD_FIELDS, SECURE_BOOT_SWITCHES, Download
from secure_ext.station.flash_images import detected_flash_size
from secure_ext.station.frozen import frozen
from secure_ext.station.key_places import place_keys, place_keys_as_shown
from secure_ext.station.plan_document import FieldStep, KeyStep, PlanDocument
from secure_ext.station.refusals import check_layout
from secure_ext.station.security_info import SecurityInfo, parse_security_info
from secure_ext.station.step_status import Status, StepStatus, compare

_REVOKE = "SECURE_BOOT_KEY_REVOKE"
_SLOTS = 3
_SEALED = "a board in secure download mode does not show it"


@frozen
class Board:
    """What was found.

    Attributes:
        values: the eFuse fields that it shows.
        is_sealed: it is in secure download mode.
        mac: its MAC address, None if it does not show it.
        revision: of the chip, major * 100 + minor; None likewise.
        flash_size: bytes; None likewise.
    """

    values: Mapping[str, int]
    is_sealed: bool
    mac: str | None = None
    revision: int | None = None
    flash_size: int | None = None

    @property
    def encrypts(self) -> bool:
        """Whether flash encryption is on: an odd number of bits of the counter, whatever the plan says."""
        return any(bin(self.values.get(name, 0)).count("1") % 2 for name in CRYPT_COUNTS)

    @property
    def verifies(self) -> bool:
        """Whether secure boot is on."""
        return any(self.values.get(name) for name in SECURE_BOOT_SWITCHES)

    @property
    def revoked(self) -> frozenset[int]:
        """The numbers of the digest slots that are revoked now."""
        return frozenset(number for number in range(_SLOTS) if self.values.get(f"{_REVOKE}{number}"))

    def secure_version(self, bits: int) -> int | None:
        """What anti-rollback has reached, of so many bits; None if the board does not show it."""
        value = self.values.get("SECURE_VERSION")
        return None if value is None else bin(value & ((1 << bits) - 1)).count("1")


def look_at_board(link: BoardLink, plan: PlanDocument) -> tuple[Board, tuple[Check, ...]]:
    """Connects to a board and compares it with the plan. Changes nothing.

    Raises DeviceError SE988 (its download mode is disabled, so far as can be seen), SE972 (not of this fleet), SE973
    (never provisioned), SE974 (not to its end), SE985 (it was not reset); the Stops of `read_chip` and `check_layout`.
    """
    result = link.connect()
    if not result.exit_code:
        if link.is_stub:
            raise DeviceError(
                "SE985",
                "the board still runs esptool's flasher stub: connecting did not reset it",
                cure="put it into its download mode (hold BOOT, press RESET) and run this again; nothing was written",
            )
        result = link.esptool(["flash-id"])
    if "in Secure Download Mode" in result.output:
        return _sealed(link, plan)
    if result.exit_code:
        stop = read_failure(result)
        if stop.code == "SE810" and _is_disabled(plan):
            raise DeviceError(
                "SE988",
                f"no chip answers on {link.connection.port}, and this plan disables the download mode for ever",
                cure="a finished board of this fleet takes nothing by cable: update it over the air, `secure-provision "
                "ota`. One that was stopped before the seal answers: check cable, port and boot button",
            )
        raise stop
    state = read_chip(link)
    check_layout(plan, state)
    board = Board(state.values, False, state.mac, state.revision, detected_flash_size(result.output))
    checks = tuple(_compared(plan, state, board))
    return board, checks


def _is_disabled(plan: PlanDocument) -> bool:
    return any(DOWNLOAD_FIELDS.get(step.field) is Download.DISABLED for step in plan.fields)


def _compared(plan: PlanDocument, state: ChipState, board: Board) -> Iterator[Check]:
    """Raises DeviceError SE972, SE973, SE974."""
    place = f"board {board.mac}"
    if state.coding_errors:
        raise _foreign(f"its eFuses are damaged, {'; '.join(state.coding_errors)}")
    statuses = compare(place_keys(plan, state).efuse_steps, state)
    other = [item for item in statuses if item.status is Status.CONFLICT and not _is_count(item)]
    for item in other:
        if isinstance(item.step, KeyStep):
            raise _foreign(item.reason)
    burned = [item for item in statuses if item.status in (Status.DONE, Status.BEGUN)]
    if plan.efuse_steps and not burned and not board.encrypts and not board.verifies:
        raise DeviceError(
            "SE973",
            "this board was never provisioned: nothing of the plan is burned on it",
            cure="provision it: `secure-provision flash`, with the fleet's bundle. Nothing was written",
            place=place,
        )
    _require_security(plan, board)
    missing = [item.step.title for item in statuses if item.step.stage == "burn" and _is_missing(item)]
    if missing:
        raise _half(missing, place)
    hidden = sum(isinstance(item.step, KeyStep) and item.hidden for item in statuses)
    yield Check("board-fleet", place, Outcome.PASSED, f"all {len(statuses)} eFuse steps of the plan were looked at")
    if other:
        why = "burned otherwise than planned, or since: " + "; ".join(item.reason for item in other)
        yield Check("board-efuses", place, Outcome.NOT_VERIFIABLE, why)
    if hidden:
        why = f"{hidden} of its keys are hidden; the flash encryption key is proved by what it decrypts"
        yield Check("board-keys", place, Outcome.NOT_VERIFIABLE, why)
    unsealed = [item.step.title for item in statuses if item.step.stage == "seal" and not item.is_done]
    if unsealed:
        yield Check("board-seal", place, Outcome.NOT_VERIFIABLE, "its download mode is open: it was not sealed yet")


def _is_count(item: StepStatus) -> bool:
    return isinstance(item.step, FieldStep) and item.step.field in CRYPT_COUNTS


def _is_missing(item: StepStatus) -> bool:
    return item.status in (Status.MISSING, Status.BEGUN)


def _require_security(plan: PlanDocument, board: Board) -> None:
    """What is on is what the plan turns on. Flash encryption may be off again, which development mode allows.

    Raises DeviceError SE972, SE974.
    """
    planned = {step.field for step in plan.fields}
    count, switch = FACTS[plan.chip].crypt_count, FACTS[plan.chip].secure_boot_enable
    if board.encrypts and count not in planned:
        raise _foreign("flash encryption is on, and the plan leaves it off: its key is not known")
    if board.verifies and switch not in planned:
        raise _foreign("secure boot is on, and the plan leaves it off")
    switches = ((count, "flash encryption"), (switch, "secure boot"))
    lacking = [what for name, what in switches if name in planned and not board.values.get(name)]
    if lacking:
        raise _half([f"{' and '.join(lacking)} is not on"], f"board {board.mac or ''}".rstrip())


def _sealed(link: BoardLink, plan: PlanDocument) -> tuple[Board, tuple[Check, ...]]:
    """Raises DeviceError SE972, SE974; Stop SE810."""
    result = link.esptool(["get-security-info"])
    if result.exit_code:
        raise read_failure(result)
    facts = FACTS[plan.chip]
    shown = {row.field for row in plan.layout} | {
        *(f"{_REVOKE}{number}" for number in range(_SLOTS)),
        *(facts.secure_boot_enable, facts.crypt_count, "ENABLE_SECURITY_DOWNLOAD"),
    }
    info = parse_security_info(result.output, shown)
    board = Board(info.values, True)
    if facts.crypt_count not in info.values or facts.secure_boot_enable not in info.values:
        raise _foreign("it does not say whether flash encryption and secure boot are on")
    _require_security(plan, board)
    _require_purposes(plan, info)
    return board, tuple(_unseen(plan, board, info))


def _require_purposes(plan: PlanDocument, info: SecurityInfo) -> None:
    for key in place_keys_as_shown(plan, info.purposes).keys:
        purpose = info.purposes.get(key.purpose_field or "")
        if purpose is not None and purpose != key.purpose:
            raise _foreign(f"{key.block} has the purpose {purpose}, and the plan gives it {key.purpose}")


def _unseen(plan: PlanDocument, board: Board, info: SecurityInfo) -> Iterator[Check]:
    place = "the board"
    on = [what for is_on, what in ((board.verifies, "secure boot"), (board.encrypts, "flash encryption")) if is_on]
    seen = sum(key.purpose_field in info.purposes for key in plan.keys)
    evidence = f"{' and '.join(on) or 'nothing'} is on, as planned; {seen} key purposes are the plan's"
    yield Check("board-security", place, Outcome.PASSED, evidence)
    if board.verifies:
        yield Check("board-digests", place, Outcome.NOT_VERIFIABLE, f"whose signatures it takes: {_SEALED}")
    if board.encrypts:
        yield Check("board-flash-key", place, Outcome.NOT_VERIFIABLE, f"which key it decrypts with: {_SEALED}")
    yield Check("board-mac", place, Outcome.NOT_VERIFIABLE, f"which board it is, its MAC address: {_SEALED}")


def _foreign(why: str) -> DeviceError:
    return DeviceError(
        "SE972",
        f"this board is not one of the fleet: {why}",
        cure="take a board of this fleet, or give the bundle that this one was made with; nothing was written",
    )


def _half(missing: list[str], place: str) -> DeviceError:
    shown = "; ".join(missing[:3]) + ("; ..." if len(missing) > 3 else "")
    return DeviceError(
        "SE974",
        f"this board was not provisioned to its end: {shown}",
        cure="finish it first: `secure-provision flash`, with the bundle that began it. Nothing was written",
        place=place,
    )
