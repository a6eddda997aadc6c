# SPDX-License-Identifier: Apache-2.0
"""What a profile wants in the eFuse block of user data: a custom MAC address, data, a write protection."""

from __future__ import annotations

from pathlib import Path

from secure_ext.chips.mac_address import parse_mac
from secure_ext.chips.mac_list import MacList, parse_mac_list
from secure_ext.errors import InputError, UsageError
from secure_ext.policy.paths import given_path
from secure_ext.policy.profile import Profile
from secure_ext.reading import DOCUMENT_LIMIT, read_file
from secure_ext.station.frozen import frozen

_LIST = ".csv"
_LIMIT = 0x1000
"""Bytes; more than any block holds, so that the message can say how many there are."""


@frozen
class UserBlockPolicy:
    """What goes into the block.

    Attributes:
        custom_mac: the address of all boards, None for none.
        macs: the list from which each board gets an address of its own, None for none.
        macs_file: where it comes from.
        user_data: the bytes, None for none.
        user_data_file: where they come from.
        write_protect: nobody can burn more bits of the block.
    """

    custom_mac: bytes | None = None
    macs: MacList | None = None
    macs_file: Path | None = None
    user_data: bytes | None = None
    user_data_file: Path | None = None
    write_protect: bool = False

    @property
    def has_mac(self) -> bool:
        """Whether boards get a custom MAC address."""
        return self.custom_mac is not None or self.macs is not None

    @property
    def is_wanted(self) -> bool:
        """Whether anything is burned into the block."""
        return self.has_mac or self.user_data is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it comes from."""
        return tuple(path for path in (self.macs_file, self.user_data_file) if path is not None)


def user_block_policy(profile: Profile) -> UserBlockPolicy:
    """From the keys ``custom_mac``, ``user_data`` and ``write_protect_user_block`` of a profile.

    Raises UsageError SE430 for what is no address, SE434 for what is no list of them; InputError SE431 for a file that
    cannot be read.
    """
    address, name = profile.text("custom_mac"), profile.text("user_data")
    path = None if name is None else given_path(profile.folder, name)
    macs_file = given_path(profile.folder, address) if address is not None and address.endswith(_LIST) else None
    return UserBlockPolicy(
        custom_mac=_address(address) if address is not None and macs_file is None else None,
        macs=None if macs_file is None else _list(macs_file),
        macs_file=macs_file,
        user_data=None if path is None else _content(path),
        user_data_file=path,
        write_protect=bool(profile.flag("write_protect_user_block")),
    )


def _list(path: Path) -> MacList:
    try:
        return parse_mac_list(read_file(path, DOCUMENT_LIMIT))
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = str(error)
    raise UsageError(
        "SE434",
        f"this is no list of custom MAC addresses: {why}",
        cure="give a CSV whose first line is custom_mac, or mac,custom_mac; each address stands there once",
        place=str(path),
    )


def _address(text: str) -> bytes:
    try:
        return parse_mac(text)
    except ValueError as error:
        raise UsageError(
            "SE430",
            f"custom_mac cannot be burned: {error}",
            cure="give a unicast address of your own, in quotes: custom_mac: '02:00:00:12:34:56'; a list ends in .csv",
            place="profile: custom_mac",
        ) from None


def _content(path: Path) -> bytes:
    try:
        return read_file(path, _LIMIT)
    except OSError as error:
        raise InputError(
            "SE431",
            f"the file of user_data cannot be read: {error.strerror or error}",
            cure="check the path; it is relative to the folder of the profile",
            place=str(path),
        ) from None
