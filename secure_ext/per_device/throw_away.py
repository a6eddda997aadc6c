# SPDX-License-Identifier: Apache-2.0
"""A bundle of a board with throw-away keys, to rehearse what each board will get."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from secure_ext.bundle.private_folder import private_folder
from secure_ext.bundle.read import FinishedBundle
from secure_ext.per_device.custom_macs import bundle_of_any_board
from secure_ext.per_device.device_bundle import write_device_bundle
from secure_ext.per_device.device_keys import new_keys, own_steps
from secure_ext.per_device.identity_choice import identity_of_a_rehearsal


@contextlib.contextmanager
def bundle_of_a_board(bundle: FinishedBundle) -> Iterator[FinishedBundle]:
    """`bundle` itself, or if its boards get keys of their own, one that was made for a board; gone with the block.

    Raises the errors of `write_device_bundle`.
    """
    own = bundle.manifest.per_device
    if own is None:
        yield bundle
        return
    keys = new_keys(own_steps(bundle.plan, own.keys))
    with private_folder() as (place, _):
        folder = place / "bundle"
        board = bundle_of_any_board(bundle)
        made = identity_of_a_rehearsal(bundle, keys)
        yield write_device_bundle(board, keys, folder, folder / "keys", identity=made)
