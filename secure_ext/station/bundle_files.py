# SPDX-License-Identifier: Apache-2.0
"""The files that a plan names: where they are, whether they are the right ones, and which of them may be gone.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Callable, Optional

from secure_ext.station.esp_tools import Stop
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.plan_document import KeyStep, PlanDocument
from secure_ext.station.step_status import Status, StepStatus

_KEYS = "keys/"


class BundleFiles:
    """The files of a bundle.

    Args:
        plan: the plan document.
        bundle: folder of the bundle.
        keys: folder of the secret keys, if it is not the one in the bundle.
        without_keys: whether secret keys whose files are gone are on the board already.
    """

    def __init__(self, plan: PlanDocument, bundle: Path, keys: Optional[str], without_keys: bool) -> None:
        self.plan = plan
        self.bundle = bundle
        self._keys = keys
        self._without_keys = without_keys

    def path_of(self, name: str) -> Path:
        """Where a file is that the plan names; whole, because the tools run in another folder."""
        if self._keys and name.startswith(_KEYS):
            return Path(self._keys, name[len(_KEYS) :]).absolute()
        return (self.bundle / name).absolute()

    def check(self) -> None:
        """Every file that may not be gone is there and unchanged. Raises Stop SE820."""
        for image in self.plan.images:
            self._check(image.file, image.sha256, lambda data: hashlib.sha256(data).hexdigest())
        for data in self.plan.data:
            self._check(data.file, data.data, bytes.hex)
        for key in self.plan.keys:
            if not self._is_gone(key):
                self._check_key(key)

    def check_needed_keys(self, statuses: list[StepStatus]) -> None:
        """Every key that is still to be burned is there. Raises Stop SE820."""
        for item in statuses:
            if item.step.kind == "burn_key" and item.status is Status.MISSING:
                self._check_key(item.step)

    def key_as_burned(self, step: KeyStep) -> bytes:
        """The bytes of a key as they lie in its block; zeros if its file is gone."""
        if self._is_gone(step):
            return bytes(step.length)
        key = self.path_of(step.file).read_bytes()[: step.length]
        return key[::-1] if step.reversed else key

    def flash_encryption_key(self) -> bytes:
        """The flash encryption key, its halves in their order. Raises Stop SE820 if it is not at hand."""
        parts = []
        for key in sorted(self.plan.keys, key=lambda key: key.role):
            if key.role.startswith("flash_encryption"):
                self._check_key(key)
                parts.append(self.path_of(key.file).read_bytes()[: key.length])
        return b"".join(parts)

    def _is_gone(self, step: KeyStep) -> bool:
        return self._without_keys and bool(step.rd_dis_bits) and not self.path_of(step.file).exists()

    def _check_key(self, step: KeyStep) -> None:
        self._check(step.file, step.fingerprint, lambda data: fingerprint(data[: step.length]))
        if step.pem:
            key = self.path_of(step.file).read_bytes()[: step.length].lstrip(b"\0")
            self._check(step.pem, "the same key", lambda text: "the same key" if _pem_holds(text, key) else "")

    def _check(self, name: str, expected: Optional[str], digest: Callable[[bytes], str]) -> None:
        try:
            actual = digest(self.path_of(name).read_bytes())
        except OSError as error:
            cure = "copy the whole bundle again"
            if name.startswith(_KEYS):
                cure = "put the bundle's folder keys beside this script: archives of a bundle hold no keys"
            raise Stop(3, "SE820", f"{name} cannot be read: {error.strerror}", cure) from None
        if actual != expected:
            raise Stop(3, "SE820", f"{name} is not the file the plan was made for", "copy the whole bundle again")


def _pem_holds(pem: bytes, key: bytes) -> bool:
    """Whether a PEM file has the bytes of a key in it: it is then that one, for it is too short for two."""
    lines = pem.split(b"-----\n")
    try:
        content = base64.b64decode(lines[1].partition(b"-----")[0]) if len(lines) > 1 else b""
    except ValueError:
        return False
    return content.count(key) == 1
